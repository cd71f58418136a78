"""What a chaos run has to answer for: all that was asked of it, beside what it did. Does nothing to the cell."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cell import Cell
from checker import Asked, Due, Entry, Forbidden, History, Withdrawn, violations
from load import Load
from witness import Witness, claimed, recorded

from vcsctl.store import locks, queue, state
from vcsctl.store.records import Faults

SETTLED_AFTER_S = 10.0  # by then all have put their schedules on record, from when on slots count


@dataclass(slots=True)
class Judge:
    """`told` holds what commands said to operators. Once it is calm everything has `bound_s` to end."""

    cell: Cell
    witness: Witness
    load: Load
    told: Path
    bound_s: float
    asked: list[Asked] = field(default_factory=list)
    forbidden: list[Forbidden] = field(default_factory=list)
    ever_toggled: set[str] = field(default_factory=set)
    began_at: float = field(default_factory=time.time)  # by the wall clock, which names the slots
    calm_at: float = 0.0
    calm_from: float = 0.0  # the same by the clock of the witness
    late: list[str] = field(default_factory=list)  # what was unsettled when the bound was over

    def calm(self) -> None:
        self.calm_at, self.calm_from = time.time(), time.monotonic()

    def unsettled(self) -> list[str]:
        """What still waits, runs, or has no outcome in the history."""
        rows = recorded(self.cell.shared)
        known = {row.id for row in rows}
        ended = {request for row in rows for request in row.requests}
        found = [
            f"{key} waits: {pending}"
            for key, pending in queue.QueueReader(self.cell.paths, Faults()).read().items()
            if not self._is_stale(pending)
        ]
        found += [f"{one.run} has no row" for one in claimed(self.cell.shared) if one.run not in known]
        found += [f"{run} has no row" for run in self.witness.begun() if run not in known]
        return found + [f"{one.key} ({one.request}) has no row" for one in self.asked if one.request not in ended]

    def _is_stale(self, pending: queue.Pending) -> bool:
        """An entry of slots that were claimed already says nothing any more."""
        watermark = state.read_key(self.cell.paths, pending.key, Faults()).watermark
        return not pending.requests and bool(watermark and pending.slots_first and pending.slots_first <= watermark)

    def verdict(self) -> list[str]:
        now = time.monotonic()
        rows = recorded(self.cell.shared)
        executions = self.witness.executions(now)
        began = {one.run: one.began_at for one in executions}
        started = {request: began[row.id] for row in rows for request in row.requests if row.id in began}
        ended = {request for row in rows for request in row.requests}
        late = [Entry(one.key, one.at, started.get(one.request)) for one in self.asked if one.request not in ended]
        history = History(
            executions,
            rows,
            claimed(self.cell.shared),
            self.asked,
            self._withdrawn(now),
            self._due(),
            self.forbidden,
            entries=late,
            calm_from=self.calm_from,
            bound_s=self.bound_s,
            seen_until=now,
        )
        found = self.witness.overlaps() + violations(history) + self.unsettled() + self._not_allowed()
        found += [f"still so {self.bound_s:g} s after the faults had stopped: {text}" for text in self.late]
        found += [f"{path} is still locked" for path in self._locked()]
        return found + [f"{path} was left behind" for path in self._left_behind()]

    def _withdrawn(self, now: float) -> list[Withdrawn]:
        """What operators were told to be cancelled."""
        lines = [line.split() for line in self.told.read_text().splitlines()]
        return [Withdrawn(line[0].rstrip(":"), now) for line in lines if line[1:] == ["cancelled"]]

    def _due(self) -> list[Due]:
        """Each minute of the trouble, for whatever was never disabled."""
        first = ((self.began_at + SETTLED_AFTER_S) // 60 + 1) * 60
        minutes = range(int(first), int(self.calm_at), 60)
        keys = [
            key
            for service in self.load.services
            if service.timed and service.name not in self.ever_toggled
            for key in ([f"{service.name}@{node}" for node in service.nodes] if service.each else [service.name])
        ]
        return [
            Due(key, f"{datetime.fromtimestamp(minute, UTC):%Y-%m-%dT%H:%M:%SZ}", minute)
            for key in keys
            for minute in minutes
        ]

    def _not_allowed(self) -> list[str]:
        allowed = {service.name: service.nodes for service in self.load.services}
        return [
            f"{run} ran on {one.execution.node}, which may not"
            for run, one in self.witness.begun().items()
            if one.execution.node not in allowed[one.execution.key.partition("@")[0]]
            or ("@" in one.execution.key and not one.execution.key.endswith(f"@{one.execution.node}"))
        ]

    def _locked(self) -> list[Path]:
        found = []
        for path in (*self.cell.shared.glob("locks/key/*"), *self.cell.shared.glob("locks/group/*")):
            if (lock := locks.try_lock(str(path))) is None:
                found.append(path)
            else:
                os.close(lock.descriptor)
        return found

    def _left_behind(self) -> list[Path]:
        """Marks of what is gone. Temporary files of dead writers may be there for an hour, longer than we look."""
        return [*self.cell.shared.glob("running/*.json"), *self.cell.shared.glob("queue/[!.]*")]
