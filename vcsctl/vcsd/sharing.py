"""What this node leaves to others, and what it leaves free for them: for fairness, never for safety."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vcsctl.config import Config
from vcsctl.domain.decision import Close, Decision, Idle, Start, Wait
from vcsctl.domain.holder import Holder
from vcsctl.domain.reservations import Entry, count_free_looks, reserving
from vcsctl.domain.run import is_lock, service_of
from vcsctl.runners.supervise import Runs
from vcsctl.store.queue import Pending
from vcsctl.store.running import RunningReader
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.log import say
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.presence import Presence


@dataclass(slots=True)
class Sharing:
    """`missing` tells the program that this machine does not have for a KEY."""

    config: Config
    peers: Peers
    presence: Presence
    runs: Runs
    index: RunningReader
    clocks: Clocks
    missing: Callable[[str], str | None]
    _free_looks: dict[str, int] = field(default_factory=dict)
    _lapsed: set[str] = field(default_factory=set)
    _next_look_s: float = 0.0

    def hold_back(self, decision: Decision, held_back: str, now: datetime) -> Decision:
        """What this node may not start, or has no program for, is left to nodes that can; else it waits.

        `held_back`: why it claims nothing, if so.
        """
        key = decision.key
        is_daemon = isinstance(decision, Start) and decision.plan.trigger == "daemon"
        why = self.presence.starts_nothing() if is_daemon else held_back
        if isinstance(decision, Close) and (unfit := self.presence.closes_nothing()):
            return Idle(key, unfit, now + timedelta(seconds=self.config.heartbeat))
        # By a clock that is off, slots stand in the queue that have not come.
        enters = (
            decision.enters_queue if isinstance(decision, Start | Wait) and not self.presence.clock_fault() else None
        )
        if isinstance(decision, Wait):
            return replace(decision, enters_queue=enters)
        if not isinstance(decision, Start):
            return decision
        able = [] if self.peers.alone else self.peers.able_for(key)
        if not why and able and (missing := self.missing(key)):
            why = f"program missing on node {self.config.node}: {missing}"
        if not why:
            return decision
        if able:
            again_at = now + timedelta(seconds=self.config.heartbeat)
            return Idle(key, f"{why}; left to {', '.join(able)}", again_at)
        return Wait(key, why, decision.place, enters, patient=True)

    def held(self) -> dict[str, Holder]:
        """Groups held by live runs of this machine: those they took, and those their services are in by now.

        Of other runs the locks tell, and the index: their end is no event here.
        """
        held = {}
        for run in self.runs.by_key.values():
            if run.grant is None and run.descriptor is None:
                continue
            for group in (*run.claim.groups, *self.peers.groups_of(run.claim.service)):
                held[group] = Holder(run.claim.run_id, run.claim.node)
        return held

    def entries_elsewhere(self, decisions: Iterable[Decision], pending: dict[str, Pending]) -> list[Entry]:
        """Entries that this node does not start and one that says it can does: they may reserve groups.

        Not those whose groups were free at several looks in a row: nobody seems to come for them.
        """
        own = {decision.key for decision in decisions if isinstance(decision, Start)}
        if not own:
            return []
        entries = [
            Entry(key, entry.place, entry.groups or self.peers.groups_of(service_of(key)))
            for key, entry in pending.items()
            if key not in own and entry.place is not None and self._starts_elsewhere(key)
        ]
        if not entries:
            self._free_looks = {}
        if entries and self.clocks.monotonic() >= self._next_look_s:
            self._next_look_s = self.clocks.monotonic() + self.config.poll  # the pace at which any node looks
            self._free_looks = count_free_looks(self._free_looks, entries, self._busy_groups())
        standing = reserving(entries, self._free_looks)
        self._tell_lapsed([entry for entry in entries if entry not in standing])
        return standing

    def _starts_elsewhere(self, key: str) -> bool:
        """By another node, or by the `vcsctl lock` that waits for it."""
        return is_lock(key) or (not self.peers.alone and bool(self.peers.able_for(key)))

    def _busy_groups(self) -> frozenset[str]:
        live = [run.claim for run in self.runs.by_key.values()]
        live += [stored.value for stored in self.index.read().values()]
        return frozenset(group for one in live for group in (*one.groups, *self.peers.groups_of(one.service)))

    def _tell_lapsed(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.key not in self._lapsed:
                groups = ", ".join(entry.groups)
                say(f"{entry.key}: its place reserves {groups} no longer: they were free and nobody started it")
        self._lapsed = {entry.key for entry in entries}
