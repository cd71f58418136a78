"""Publishes how the daemons of this machine are, for readers on all nodes: what their runners tell, and what they use.

Reads what runners have told only when a listing says that it is new. For display: it decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vcsctl.domain.daemon import DaemonState
from vcsctl.runners import alive, tellers, usage
from vcsctl.store import daemons
from vcsctl.store.daemons import NodeDaemons
from vcsctl.store.paths import Paths
from vcsctl.vcsd.clocks import Clocks

_PERIOD_S = 1.0
# What a process uses counts as news by so much: else a node of idle daemons would write at every heartbeat.
_CPU_STEP_S = 1.0
_MEMORY_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float | None = None
    memory_kib: int | None = None

    def is_near(self, other: Usage) -> bool:
        return _near(self.cpu_s, other.cpu_s, _CPU_STEP_S) and _near(
            self.memory_kib, other.memory_kib, _MEMORY_STEP * (self.memory_kib or 0)
        )


def _near(one: float | None, other: float | None, step: float) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= step


@dataclass(slots=True)
class Publisher:
    """`folder` is where runners tell; `measure` says what the runs of those runners use; `lives`, whether the runner of
    such a state is there; `sweep` takes away what else killed ones left."""

    paths: Paths
    node: str
    folder: str
    clocks: Clocks
    measure: Callable[[list[DaemonState]], dict[str, Usage]]
    lives: Callable[[DaemonState], bool]
    sweep: Callable[[], None]
    _listing: frozenset[tuple[str, int, int]] = frozenset()
    _told: dict[str, DaemonState] = field(default_factory=dict)
    _usage: dict[str, Usage] = field(default_factory=dict)
    _is_news: bool = True  # what a former vcsd published may be of daemons that are no more
    _next_s: float = 0.0

    def look(self) -> None:
        """At each pass; publishes what is new, not more often than once a second."""
        if self.clocks.monotonic() < self._next_s:
            return
        self._next_s = self.clocks.monotonic() + _PERIOD_S
        listing = self._list()
        if listing != self._listing:
            self._told = {run_id: stored.value for run_id, stored in daemons.told_here(self.folder).items()}
            self._listing, self._is_news = listing, True
        if self._is_news:
            self._publish()

    def run_ended(self) -> None:
        """What its runner told goes away now, not at the next heartbeat."""
        self._drop_dead()
        self._next_s = 0.0

    def beat(self) -> None:
        """Once a heartbeat: what daemons use, and whose runners are no more."""
        self._drop_dead()
        self.sweep()
        usage = self.measure(list(self._told.values()))
        if usage.keys() != self._usage.keys() or not all(one.is_near(usage[run]) for run, one in self._usage.items()):
            self._usage, self._is_news = usage, True

    def _drop_dead(self) -> None:
        """Of runners that were killed, whose own last word was another."""
        for run_id, state in self._told.items():
            if not self.lives(state):
                daemons.forget(self.folder, run_id)

    def _list(self) -> frozenset[tuple[str, int, int]]:
        found = set()
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        status = entry.stat(follow_symlinks=False)
                        found.add((entry.name, status.st_ino, status.st_mtime_ns))
        except FileNotFoundError:  # nothing was ever told here, or one was taken away meanwhile
            return frozenset(found)
        return frozenset(found)

    def _publish(self) -> None:
        states = []
        for run_id, state in sorted(self._told.items()):
            usage = self._usage.get(run_id, Usage())
            states.append(replace(state, cpu_s=usage.cpu_s, memory_kib=usage.memory_kib))
        daemons.publish(self.paths, NodeDaemons(self.node, tuple(states)))
        self._is_news = False


def publisher_of(paths: Paths, node: str, folder: str, clocks: Clocks, cgroup_base: str | None) -> Publisher:
    """Of the real processes of this machine."""

    def measure(states: list[DaemonState]) -> dict[str, Usage]:
        used = usage.measure({state.run_id: (state.runner, state.pid) for state in states}, cgroup_base)
        return {run_id: Usage(round(cpu_s, 1), memory_kib) for run_id, (cpu_s, memory_kib) in used.items()}

    return Publisher(paths, node, folder, clocks, measure, alive.lives, tellers.Sweep(folder).look)
