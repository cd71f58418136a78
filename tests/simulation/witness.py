"""What really happened in a simulation, in true time, as the checker wants it. Sees effects, not what nodes believe."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from tests.checker import (
    Asked,
    Claimed,
    Disabled,
    Due,
    Entry,
    Execution,
    Forbidden,
    History,
    Queued,
    Recorded,
    Withdrawn,
)
from tests.simulation.commands import Began
from tests.simulation.disk import Disk
from tests.simulation.scheduler import Scheduler
from vcsctl.domain.history import Row
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import TimedUnit, Unit
from vcsctl.runners.base import Job

_ENTRY = re.compile(r".*/queue/([^/]+)\.slots\.json")
_RECORD = re.compile(r".*/state/([^/]+)/(\d+)(\.end)?\.json")
_UNITS = re.compile(r".*/nodes/([^/]+)\.units\.json")
_BEAT = re.compile(r".*/nodes/([^/.]+)\.json")
_LOCK = re.compile(r".*/locks/(key|group)/([^/]+)")
_OVERRIDE = re.compile(r".*/overrides/([^/.]+)\.json")
_DRAIN = re.compile(r".*/overrides/([^/]+)\.drained")
DRAINED = "is drained"
CLOCK_S = 10.0  # a node whose clock is further ahead claims no slot


class Witness:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.executions: list[Execution] = []
        self.claimed: dict[str, float] = {}
        self.asked: list[Asked] = []
        self.queued: list[Queued] = []
        self.withdrawn: list[Withdrawn] = []
        self.disabled: list[Disabled] = []
        self.forbidden: list[Forbidden] = []
        self._open: dict[tuple[str, str | None, str], Forbidden] = {}
        self._ended: set[str] = set()  # runs with an outcome on record
        self._taken: dict[str, float] = {}  # request → when a claim first listed it
        self._watermarks: dict[str, list[tuple[float, str]]] = defaultdict(list)  # KEY → claims' moments and watermarks
        self._declared: dict[str, dict[str, set[str]]] = {}  # node → service → groups, as published last
        self._undeclared: dict[str, float] = {}  # service → when the last node stopped declaring it
        self._switched_off: set[str] = set()  # services with an override that says so
        self._in_group_since: dict[tuple[str, str], float] = {}  # service and group, while some node declares it
        self._wished_drained: set[str] = set()
        self._going_on: set[str] = set()  # runs that do not stop when they lose their locks
        self._given_away: dict[str, dict[str, float]] = defaultdict(dict)  # and when each lock of theirs was

    # Names on the share, at the moment at which they are there.

    def named(self, path: str, data: bytes) -> None:
        if match := _RECORD.fullmatch(path):
            self._recorded(f"{match[1]}.{match[2]}", match[1], data, is_end=bool(match[3]))
        elif match := _ENTRY.fullmatch(path):
            self.queued.append(Queued(match[1], json.loads(data)["first"], self._scheduler.now))
        elif match := _UNITS.fullmatch(path):
            self._published(match[1], data)
        elif match := _BEAT.fullmatch(path):
            drained = json.loads(data).get("drained", False)
            if drained and match[1] in self._wished_drained:
                self.forbid(match[1], None, DRAINED)  # everybody can read now that it knows
        elif match := _OVERRIDE.fullmatch(path):
            self._overridden(match[1], off="enabled" in json.loads(data)["fields"])
        elif match := _DRAIN.fullmatch(path):
            self._wished_drained.add(match[1])

    def unnamed(self, path: str) -> None:
        if match := _ENTRY.fullmatch(path):
            key, now = match[1], self._scheduler.now
            self.queued = [replace(one, to_at=min(one.to_at, now)) if one.key == key else one for one in self.queued]
        elif match := _OVERRIDE.fullmatch(path):
            self._overridden(match[1], off=False)
        elif match := _DRAIN.fullmatch(path):
            self._wished_drained.discard(match[1])
            self.allow(match[1], None, DRAINED)

    def _recorded(self, run: str, key: str, data: bytes, *, is_end: bool) -> None:
        """Of a claim: each row that must come of it."""
        if is_end:
            self._ended.add(run)
            self._let_go(run)
            return
        claim, now = json.loads(data), self._scheduler.now
        rows = [f"{run}+{number}" for number, _ in enumerate(claim.get("dropped", ()), 1)]
        for row in [run, *rows] if claim.get("unit") else rows:
            self.claimed.setdefault(row, now)
        for request in (*claim.get("requests", ()), *(row.get("request") for row in claim.get("dropped", ()))):
            self._taken.setdefault(request, now)
        if claim.get("watermark"):
            self._watermarks[key].append((now, claim["watermark"]))

    def lock_lost(self, node: str, path: str) -> None:
        if match := _LOCK.fullmatch(path):
            shared = f"{'KEY' if match[1] == 'key' else 'group'} {match[2]}"
            for number, one in enumerate(self.executions):
                holds = match[2] == one.key if match[1] == "key" else match[2] in one.groups
                if holds and one.node == node and one.run in self._going_on and shared not in one.let_go:
                    let_go = self._given_away[one.run]
                    let_go.setdefault(shared, self._scheduler.now)
                    self.executions[number] = replace(one, let_go=dict(let_go))

    def _published(self, node: str, data: bytes) -> None:
        units = json.loads(data)["units"]
        before = {name for units in self._declared.values() for name in units}
        self._declared[node] = {
            name: set(row["plain"].get("groups", ())) for name, row in units.items() if row["plain"] is not None
        }
        gone = before - {name for units in self._declared.values() for name in units}
        self._undeclared |= dict.fromkeys(gone, self._scheduler.now)
        now = {(name, group) for units in self._declared.values() for name, groups in units.items() for group in groups}
        for pair in self._in_group_since.keys() - now:
            self._joined(pair, self._in_group_since.pop(pair), self._scheduler.now)
        for pair in now - self._in_group_since.keys():
            self._in_group_since[pair] = self._scheduler.now
            self._joined(pair, self._scheduler.now, inf)

    # What is disabled.

    def told_disabled(self, key: str) -> int | None:
        """An operator was told so: its number, for whoever enables it. None when the unit, and with it the operator's
        change, was taken back meanwhile by a push."""
        if key.partition("@")[0] not in self._switched_off:
            return None
        self.disabled.append(Disabled(key, self._scheduler.now))
        return len(self.disabled) - 1

    def enabled_again(self, number: int) -> None:
        off = self.disabled[number]
        self.disabled[number] = replace(off, to_at=min(off.to_at, self._scheduler.now))

    def _overridden(self, service: str, *, off: bool) -> None:
        """What an operator changed ends when the declaration changes, as when no node has the unit for a moment."""
        if off:
            self._switched_off.add(service)
            return
        self._switched_off.discard(service)
        declared = any(service in units for units in self._declared.values())
        for number, one in enumerate(self.disabled):
            was_gone = not declared or self._undeclared.get(service, -inf) > one.from_at
            if one.key.partition("@")[0] == service and was_gone:
                self.enabled_again(number)

    def _has_let_go(self, run: str) -> bool:
        """A run that goes on without its locks (`on_storage_loss: continue`) may have its outcome before it ends: then
        neither it nor a process that it begins yet counts as holding what a push gave its service."""
        return run in self._going_on and run in self._ended

    def _let_go(self, run: str) -> None:
        for number, execution in enumerate(self.executions):
            if execution.run == run and execution.ended_at is None and self._has_let_go(run):
                now = self._scheduler.now
                joined = {
                    group: tuple((since, min(until, now)) for since, until in spans)
                    for group, spans in execution.joined.items()
                }
                self.executions[number] = replace(execution, joined=joined)

    def _joined(self, pair: tuple[str, str], since: float, until: float) -> None:
        """Tells the executions of a service that live: it came into a group, or left it."""
        service, group = pair
        for number, execution in enumerate(self.executions):
            is_of_it = execution.ended_at is None and execution.key.partition("@")[0] == service
            if is_of_it and not self._has_let_go(execution.run):
                before = (one for one in execution.joined.get(group, ()) if one[0] != since)
                joined = {**execution.joined, group: (*before, (since, until))}
                self.executions[number] = replace(execution, joined=joined)

    def forget_what_was_lost(self, disk: Disk) -> None:
        """After a power cut of the only machine: claims that were not durable never were."""
        for row in list(self.claimed):
            key, _, number = row.partition("+")[0].rpartition(".")
            folder = disk.folders.get(f"/share/state/{key}")
            if folder is None or f"{number}.json" not in folder.names:
                del self.claimed[row]

    # Runs.

    def on_node(self, node: str) -> Began:
        def began(job: Job, decided_at: float | None) -> Callable[[], None]:
            claim, number, now = job.claim, len(self.executions), self._scheduler.now
            since = () if self._has_let_go(claim.run_id) else self._in_group_since.items()
            joined = {group: ((at, inf),) for (name, group), at in since if name == claim.service}
            execution = Execution(
                claim.run_id,
                claim.key,
                node,
                frozenset(claim.groups),
                to_text(claim.slot) if claim.slot else None,
                claim.attempt,
                now,
                fences=dict(job.fences),
                requests=claim.requests,
                decided_at=decided_at,
                joined=joined,
                let_go=dict(self._given_away.get(claim.run_id, {})),
                repeats=claim.trigger == "daemon",
                follows=_may_follow(job.unit, claim.attempt),
            )
            self.executions.append(execution)
            if _may_go_on(job.unit, frozenset(job.fences)):
                self._going_on.add(claim.run_id)

            def over() -> None:
                self.executions[number] = replace(self.executions[number], ended_at=self._scheduler.now)

            return over

        return began

    # What is not allowed.

    def forbid(self, node: str, key: str | None, why: str) -> None:
        if (node, key, why) not in self._open:
            self._open[node, key, why] = Forbidden(node, key, self._scheduler.now, why=why)

    def allow(self, node: str, key: str | None, why: str) -> None:
        rule = self._open.pop((node, key, why), None)
        if rule is not None:
            self.forbidden.append(replace(rule, to_at=self._scheduler.now))

    # All of it.

    def is_settled(self, before: float, due: Sequence[Due], calm_from: float) -> bool:
        """Whether all that was claimed, executed, due or asked for before a moment has an end: no longer to wait for."""
        taken = [self._taken.get(one.request) for one in self.asked if one.at < before]
        taken += [self._claimed_at(one) for one in due if one.at < before]
        executed = [self._executed_at(one) for one in _first_in_calm(due, calm_from)]
        if None in taken or None in executed:
            return False
        last = max((before, *(at for at in taken if at is not None)))
        return all(run in self._ended for run, at in self.claimed.items() if at <= last and "+" not in run) and all(
            one.ended_at is not None for one in self.executions if one.began_at <= last
        )

    def _claimed_at(self, due: Due) -> float | None:
        """When a claim disposed of a slot, as a run or otherwise."""
        moments = (at for at, watermark in self._watermarks[due.key] if watermark >= due.slot)
        return min(moments, default=None)

    def _executed_at(self, due: Due) -> float | None:
        """When its KEY was executed then or later, by a clock that may be ahead: for that slot, or for another into which
        it was coalesced."""
        since = due.at - CLOCK_S
        return min(
            (one.began_at for one in self.executions if one.key == due.key and one.began_at >= since), default=None
        )

    def history(
        self, rows: list[Row], due: list[Due], *, calm_from: float, bound_s: float, settled_until: float
    ) -> History:
        entries = [Entry(one.key, one.at, self._taken.get(one.request)) for one in self.asked]
        entries += [Entry(one.key, one.at, self._claimed_at(one)) for one in due]
        entries += [Entry(one.key, one.at, self._executed_at(one)) for one in _first_in_calm(due, calm_from)]
        return History(
            executions=self.executions,
            recorded=[_recorded(row) for row in rows],
            claimed=[Claimed(row, at) for row, at in self.claimed.items()],
            asked=self.asked,
            withdrawn=self.withdrawn,
            due=due,
            queued=self.queued,
            disabled=self.disabled,
            forbidden=[*self.forbidden, *self._open.values()],
            entries=entries,
            calm_from=calm_from,
            bound_s=bound_s,
            seen_until=self._scheduler.now,
            settled_until=settled_until,
        )


def _first_in_calm(due: Sequence[Due], calm_from: float) -> list[Due]:
    """Of each KEY. A slot may be disposed of without a run, but not one after the other."""
    first: dict[str, Due] = {}
    for one in sorted(due, key=lambda one: one.at):
        if one.at >= calm_from:
            first.setdefault(one.key, one)
    return list(first.values())


def _may_go_on(unit: Unit, groups: frozenset[str]) -> bool:
    """Without its locks. The rule of the documentation, not the code's."""
    if unit.on_storage_loss is None:
        return unit.run_on == "each" and not groups
    return unit.on_storage_loss == "continue"


def _may_follow(unit: Unit, attempt: int) -> frozenset[str] | None:
    """The outcomes of the attempt before after which this one may be made; None: there was none before."""
    if attempt == 1 or not isinstance(unit, TimedUnit):
        return None
    further = attempt - 1
    failed = ("failed", "timeout") if further <= unit.retries.attempts else ()
    lost = ("lost",) if unit.on_lost == "rerun" and further <= max(1, unit.retries.attempts) else ()
    return frozenset((*failed, *lost))


def _recorded(row: Row) -> Recorded:
    return Recorded(
        row.id,
        row.key,
        row.outcome,
        row.cause,
        to_text(row.slot) if row.slot else None,
        row.attempt,
        row.requests,
        row.at.timestamp(),
        to_text(row.last) if row.last else None,
    )
