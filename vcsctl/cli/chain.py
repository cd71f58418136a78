"""What decides about one KEY of a timed service, link by link, each with its fact. Gathers; prints nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from vcsctl.cli.context import Context
from vcsctl.cli.decisions import service_seen
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import age, elsewhere, listed, local, seconds, when
from vcsctl.cli.targets import Place, places
from vcsctl.domain.calendar import AtTimes, next_slot
from vcsctl.domain.decision import Decision, Idle, KeyView, Start, Wait
from vcsctl.domain.explain import Ahead, next_step
from vcsctl.domain.reconcile import decide
from vcsctl.domain.run import CAUSES, Claim, Dropped, is_lock, to_text
from vcsctl.errors import StorageError
from vcsctl.store import state
from vcsctl.store.mounts import Storage, storage_of
from vcsctl.store.records import Stored
from vcsctl.vcsd.observe import Observer

_MOST_DROPPED = 3  # `history` has them all


@dataclass(frozen=True, slots=True)
class Link:
    """`label` is what people read in place of its name, of blanks alone: nothing; `data` is for scripts."""

    link: str
    fact: str
    label: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.label + self.fact if self.label.isspace() else f"{self.label or self.link}: {self.fact}"


class KeyChain:
    """What is on record of one KEY and what vcsd decides of it, by the same functions."""

    def __init__(self, overview: Overview, name: str, key: str) -> None:
        self.overview, self.context, self.name, self.key = overview, overview.context, name, key
        self.service = service_seen(overview, name, key)
        observer = Observer(overview.paths, state.StateReader(overview.paths, overview.faults))
        self.found = observer.state(key)
        self.pending = overview.pending.get(key)
        self.groups = self.context.catalogs.groups(name)
        self.view: KeyView = observer.view(
            self.service, self.found, self.pending, self.groups, live=key in overview.running
        )
        self.now = datetime.now(UTC)

    @cached_property
    def decision(self) -> Decision:
        return decide(self.view, self.now)

    @cached_property
    def in_the_way(self) -> list[Stored[Claim]]:
        return self.overview.in_its_way(self.key)

    def links(self) -> Iterator[Link]:
        yield from self._schedule()
        yield from self._last_claim()
        if isinstance(self.decision, Start | Wait):
            yield self._queue()
            for run in self.in_the_way:
                yield self._holder(run)
        yield Link("now", self.now_text, data={"decision": type(self.decision).__name__.lower()})
        if step := self._next():
            yield Link("next", step)
        for run in self.in_the_way:
            yield from of_a_silent_node(self.context, run)

    def _schedule(self) -> Iterator[Link]:
        view, now = self.view, self.now
        if view.schedule is None or view.unit is None or not view.unit.enabled:
            return
        counted = max(now, view.moment, view.watermark or now)
        first = next_slot(view.schedule, counted)
        second = next_slot(view.schedule, first)
        data = {"at": to_text(first), "timezone": view.schedule.timezone}
        zone = elsewhere(first, view.schedule.timezone) if isinstance(view.schedule, AtTimes) else ""
        yield Link("next slot", f"{when(first, now)}{zone}, then {local(second)}", data=data)
        day_ago = now - timedelta(days=1)
        if view.moment > max(day_ago, view.watermark or day_ago):  # else it was long ago, or more than that is claimed
            fact = f"only slots after {when(view.moment, now)}, when its schedule or its status last changed"
            yield Link("counts", fact, data={"after": to_text(view.moment)})

    def _last_claim(self) -> Iterator[Link]:
        run, end, now = self.found.run, self.found.end, self.now
        if self.found.watermark:
            fact = f"slots up to {when(self.found.watermark, now)} are claimed"
            yield Link("watermark", fact, data={"at": to_text(self.found.watermark)})
        if run is not None:
            claim = run.value
            outcome = f"{end.value.outcome}: {end.value.why}" if end else "no outcome yet"
            data = {"run": claim.run_id, "node": claim.node, "at": to_text(run.at)}
            data |= {"slot": to_text(claim.slot)} if claim.slot else {}
            data |= {"outcome": end.value.outcome} if end else {}
            fact = f"{claim.run_id} on {claim.node}, {claim.why}, {when(self._began(run), now)}; {outcome}"
            yield Link("last claim", fact, data=data)
        yield from self._disposed_of()

    def _disposed_of(self) -> Iterator[Link]:
        """Of the newest claims, the oldest first."""
        run = self.found.run
        claims = (*((run.value,) if run else ()), *reversed(self.found.closes))
        found = [(claim, dropped) for claim in claims for dropped in claim.dropped]
        if len(found) > _MOST_DROPPED:
            fact = f"{len(found) - _MOST_DROPPED} more were disposed of; `vcsctl history {self.name}` lists them"
            yield Link("before", fact)
        for claim, dropped in found[-_MOST_DROPPED:]:
            at = state.written_at(self.overview.paths.claim(self.key, claim.fence))
            yield _dropped(dropped, at, self.now)

    def _began(self, run: Stored[Claim]) -> datetime:
        """By the clock of its node, as its slot is: by the file server's it might come before that."""
        started, end = self.found.started, self.found.end
        began = (started.value.at if started else None) or (end.value.started_at if end else None) or run.at
        return max(began, run.value.slot or began)

    def _queue(self) -> Link:
        pending = self.pending
        if pending is None or pending.place is None:
            return Link("queue", "not in the queue yet")
        order = [one.key for one in self.overview.queue]
        number = order.index(self.key) + 1
        what = [f"slots from {local(pending.slots_first)} on"] if pending.slots_first else []
        what += [f"request {one.request.id} of {one.request.by}" for one in pending.requests]
        before = [key for key in order[: number - 1] if set(self.overview.groups_of(key)) & set(self.groups)]
        sharing = f", behind {listed(before)} in its groups" if before else ""
        fact = (
            f"in queue since {when(pending.place, self.now)}, number {number} of {len(order)}{sharing}: {listed(what)}"
        )
        data = {"since": to_text(pending.place), "number": number, "of": len(order), "behind": before}
        return Link("queue", fact, data=data)

    def _holder(self, run: Stored[Claim]) -> Link:
        claim = run.value
        groups = [group for group in self.groups if self.overview.holds(claim, group)]
        is_own = claim.key == self.key
        usual_s = None if is_lock(claim.key) else self._usual_s(claim.service)
        usually = f"; usually it takes {seconds(usual_s)}" if usual_s is not None else ""
        who = claim.run_id if is_own else f"held by {claim.run_id} of {claim.service}"
        fact = f"{who} on {claim.node} for {age((self.now - run.at).total_seconds())}{usually}"
        data: dict[str, Any] = {"run": claim.run_id, "service": claim.service, "node": claim.node}
        data |= {"since": to_text(run.at), "usual_s": usual_s, "groups": groups}
        if is_own:
            return Link("own run", fact, data=data)
        return Link("group", fact, f"group{'s' if len(groups) > 1 else ''} {listed(groups)}", data)

    def _usual_s(self, service: str) -> float | None:
        from vcsctl.cli.outset import known_lasting  # here, since only what waits for a run asks

        lasting = known_lasting(self.context, service)
        return lasting.usual_s if lasting else None

    @cached_property
    def now_text(self) -> str:
        """The sentence of the decision, and the one of what hinders its start, or the next."""
        decision = self.decision
        if isinstance(decision, Start | Wait):
            obstacles = self.overview.obstacles(self.key) or ["starts next"]
            return "; ".join(dict.fromkeys((decision.why, *obstacles)))
        if not (isinstance(decision, Idle) and decision.next_at and self.unable):
            return decision.why
        return f"{decision.why}; no node can start the next as things are{self._each_hindrance()}"

    @cached_property
    def _places(self) -> list[Place]:
        return [place for place in places(self.context, self.name) if place.key == self.key]

    def _each_hindrance(self) -> str:
        nodes = self.context.nodes
        each = listed(f"{place.node} ({place.hindrance(nodes.get(place.node))})" for place in self._places)
        return f": {each}" if each else ""

    @cached_property
    def unable(self) -> list[str]:
        """What would let each node take it that may run it; none where one can already."""
        remedies = [place.remedy(self.context.nodes.get(place.node)) for place in self._places]
        if not remedies:
            return ["a node that may run it is known"]
        return remedies if all(remedies) else []

    def _next(self) -> str:
        runs = [run.value.run_id for run in self.in_the_way]
        return next_step(self.view, self.decision, runs, self.unable, self._ahead())

    def _ahead(self) -> Ahead | None:
        """What its groups are kept for."""
        found = self.overview.reservation_before(self.key)
        if found is None:
            return None
        group, by = found
        runs = tuple(run.value.run_id for run in self.overview.in_its_way(by.key))
        return Ahead(by.key, group, self.overview.waits_for(by.key), runs)


def _dropped(dropped: Dropped, at: datetime | None, now: datetime) -> Link:
    """`at`: when it was put on record, unless that is pruned by now."""
    outcome = CAUSES[dropped.cause].outcome if dropped.cause in CAUSES else "skipped"
    first, last = dropped.first, dropped.last
    span = f" ({dropped.count} slots, {local(first)} to {local(last)})" if dropped.count > 1 else ""
    data: dict[str, Any] = {"cause": dropped.cause, "count": dropped.count}
    data |= {"first": to_text(first)} if first else {}
    data |= {"last": to_text(last)} if last else {}
    data |= {"request": dropped.request} if dropped.request else {}
    data |= {"at": to_text(at)} if at else {}
    which = f" ({local(first)})" if first and not span else ""
    recorded = f", {when(at, now)}" if at else ""
    if dropped.request:
        return Link(outcome, f"{outcome}, {dropped.why}{recorded}", f"request {dropped.request}", data)
    return Link(outcome, f"{dropped.why}{span or which}{recorded}", data=data)


def of_a_silent_node(context: Context, run: Stored[Claim]) -> Iterator[Link]:
    """Others try the lock of such a run at each heartbeat: while it has no outcome its lock is held."""
    node = context.nodes.get(run.value.node)
    if node is None or not node.is_silent:
        return
    told = f"vcsd on its node {node.name} has been {node.silence}"
    if all(other.is_silent for other in context.nodes.values()):
        fact = f"{told}, and no other node is up that could look whether its lock is free"
        yield Link("silent node", fact, run.value.run_id)
        return
    fact = f"{told}; its lock is still held, or it would be recorded lost: it may go on there"
    yield Link("silent node", fact, run.value.run_id)
    with contextlib.suppress(StorageError):  # where the kernel does not say, there is no advice to give
        yield from _advice(node.name, storage_of(context.paths.root))


def _advice(node: str, storage: Storage) -> Iterator[Link]:
    label = f"if {node} is dead"
    if storage.mount.nfs_version == "3":
        address = storage.mount.value("addr") or "ADDRESS"
        fact = (
            "NFS 3 keeps its locks until it is up again, or until the file server is told:\n"
            f"see that {node} is off, stop the other nodes' runs (their locks are freed too), and on the server do\n"
            f"  echo {address} > /proc/fs/nfsd/unlock_ip    # the server's own address; see docs/storage.md"
        )
        yield Link("advice", fact, label)
    elif storage.lease_s is not None:
        fact = f"the file server gives its locks away when its lease of {storage.lease_s:g} s is over"
        yield Link("advice", fact, label)
