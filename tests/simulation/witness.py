"""What really happened in a simulation, in true time, as the checker wants it. Sees effects, not what nodes believe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from tests.checker import Asked, Claimed, Entry, Execution, Forbidden, History, Recorded
from tests.simulation.disk import Disk
from tests.simulation.scheduler import Scheduler
from vcsctl.domain.history import Row
from vcsctl.domain.run import to_text
from vcsctl.runners.oneshot import Job

_RECORD = re.compile(r".*/state/([^/]+)/(\d+)(\.end)?\.json")


class Witness:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.executions: list[Execution] = []
        self.claimed: dict[str, float] = {}
        self.asked: list[Asked] = []
        self._ended: set[str] = set()  # runs with an outcome on record
        self._taken: set[str] = set()  # requests that a claim lists
        self.forbidden: list[Forbidden] = []
        self.entries: list[Entry] = []
        self._open: dict[tuple[str, str | None, str], Forbidden] = {}
        self.decided: dict[str, float] = {}  # run → when a node began to read under its locks

    # Runs.

    def linked(self, path: str, data: bytes) -> None:
        """A new name on the share, at the moment at which it is there: of a claim, each row that must come of it."""
        if (match := _RECORD.fullmatch(path)) is None:
            return
        run, now = f"{match[1]}.{match[2]}", self._scheduler.now
        if match[3]:
            self._ended.add(run)
            return
        claim = json.loads(data)
        rows = [f"{run}+{number}" for number, _ in enumerate(claim.get("dropped", ()), 1)]
        for row in [run, *rows] if claim.get("unit") else rows:
            self.claimed.setdefault(row, now)
        for request in (*claim.get("requests", ()), *(row.get("request") for row in claim.get("dropped", ()))):
            self._taken.add(request)

    def is_settled(self, before: float) -> bool:
        """Whether all that was claimed, executed or asked for before a moment has an end: no longer to wait for."""
        open_runs = (run for run, at in self.claimed.items() if at < before and "+" not in run)
        return (
            all(run in self._ended for run in open_runs)
            and all(one.request in self._taken for one in self.asked if one.at < before)
            and all(one.ended_at is not None for one in self.executions if one.began_at < before)
        )

    def forget_what_was_lost(self, disk: Disk) -> None:
        """After a power cut of the only machine: claims that were not durable never were."""
        for row in list(self.claimed):
            key, _, number = row.partition("+")[0].rpartition(".")
            folder = disk.folders.get(f"/share/state/{key}")
            if folder is None or f"{number}.json" not in folder.names:
                del self.claimed[row]

    def began(self, job: Job) -> Callable[[], None]:
        claim, number = job.claim, len(self.executions)
        self.executions.append(
            Execution(
                claim.run_id,
                claim.key,
                "",
                frozenset(claim.groups),
                to_text(claim.slot) if claim.slot else None,
                claim.attempt,
                self._scheduler.now,
                None,
                dict(job.fences),
                self.decided.get(claim.run_id),
            )
        )

        def over() -> None:
            self.executions[number] = replace(self.executions[number], ended_at=self._scheduler.now)

        return over

    def on_node(self, node: str) -> Callable[[Job], Callable[[], None]]:
        def began(job: Job) -> Callable[[], None]:
            over = self.began(job)
            self.executions[-1] = replace(self.executions[-1], node=node)
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

    def history(self, rows: list[Row], *, calm_from: float, bound_s: float, settled_until: float) -> History:
        recorded = [
            Recorded(
                row.id,
                row.key,
                row.outcome,
                row.cause,
                to_text(row.slot) if row.slot else None,
                row.attempt,
                row.requests,
                row.at.timestamp(),
            )
            for row in rows
        ]
        return History(
            self.executions,
            recorded,
            [Claimed(row, at) for row, at in self.claimed.items()],
            self.asked,
            [*self.forbidden, *self._open.values()],
            self.entries,
            calm_from,
            bound_s,
            self._scheduler.now,
            settled_until,
        )
