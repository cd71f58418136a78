"""Puts the simulated storage, clocks and control groups in the place of the real ones, and puts those back.

One seam serves all: every module of the store and of vcsd that names `os`, `filelock`, `time` or `cgroups` is given the
simulated one. What is not simulated is not there: a new call fails loudly instead of touching the real machine.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import time as real_time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import vcsctl.store
import vcsctl.vcsd
from tests.simulation.node import Node
from tests.simulation.posix import Posix
from tests.simulation.scheduler import Scheduler
from vcsctl import steps
from vcsctl.runners import base, leftovers
from vcsctl.store import opening
from vcsctl.vcsd import loop

_HURRIED_PAUSE_S = 0.25  # a hundred passes in the first second of each wait would only cost time
_BY_HAND = {"vcsctl.vcsd.daemon", "vcsctl.vcsd.main", "vcsctl.vcsd.control", "vcsctl.vcsd.log"}


def _modules() -> list[Any]:
    names = []
    for package in (vcsctl.store, vcsctl.vcsd):
        names += [f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(name) for name in names if name not in _BY_HAND]


class _Time:
    """`time` as the node of the current process tells it."""

    CLOCK_BOOTTIME = real_time.CLOCK_BOOTTIME

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def _node(self) -> Node:
        assert self._scheduler.current is not None
        node: Node = self._scheduler.current.process.node
        return node

    def time(self) -> float:
        return self._node().wall()

    def monotonic(self) -> float:
        return self._node().since_boot()

    def clock_gettime(self, clock: int) -> float:
        assert clock == self.CLOCK_BOOTTIME
        return self._node().since_boot()

    def sleep(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)


class _Cgroups:
    """Control groups of the node of the current process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def _all(self) -> dict[str, set[Any]]:
        assert self._scheduler.current is not None
        node: Node = self._scheduler.current.process.node
        return node.cgroups

    def path_for(self, base: str, run_id: str) -> str:
        return f"{base}-{run_id}"

    def make(self, path: str) -> bool:
        self._all().setdefault(path, set())
        return True

    def of_cell(self, base: str) -> dict[str, str]:
        return {path.removeprefix(f"{base}-"): path for path in sorted(self._all())}

    def has_runner(self, path: str, _logs: tuple[str, ...]) -> bool:
        """What a command leaves falls to its runner."""
        for process in self._all().get(path, ()):
            while process is not None and not (process.alive and process.name.startswith("runner")):
                process = process.parent
            if process is not None:
                return True
        return False

    def is_empty(self, path: str) -> bool:
        return not self._all().get(path)

    def kill(self, path: str) -> None:
        for process in sorted(self._all().get(path, ()), key=lambda one: one.pid):
            process.kill()

    def remove(self, path: str) -> None:
        self._all().pop(path, None)


@contextlib.contextmanager
def in_place(scheduler: Scheduler, posix: Posix, say: Callable[[str], None]) -> Iterator[None]:
    """For one simulation. `say` hears what vcsd would write to its log and a runner to its own."""
    filelock = SimpleNamespace(lock_descriptor=posix.lock_descriptor, unlock_descriptor=posix.unlock_descriptor)
    groups = _Cgroups(scheduler)
    instead = {"os": posix, "filelock": filelock, "time": _Time(scheduler), "cgroups": groups, "say": say}
    saved: list[tuple[Any, str, Any]] = [
        (base, "note", base.note),
        (opening, "_on_nfs", opening._on_nfs),
        (steps, "observer", steps.observer),
        (leftovers, "cgroups", leftovers.cgroups),
        (leftovers, "_has_runner", leftovers._has_runner),
        (loop, "_HURRIED_PAUSE_S", loop._HURRIED_PAUSE_S),
    ]
    for module in _modules():
        for name in instead.keys() & vars(module).keys():
            saved.append((module, name, getattr(module, name)))
            setattr(module, name, instead[name])
    setattr(leftovers, "cgroups", groups)  # noqa: B010 - of another type
    leftovers._has_runner = groups.has_runner
    setattr(base, "note", say)  # noqa: B010
    opening._on_nfs = lambda path: False  # a matter of the kernel's list of mounts
    loop._HURRIED_PAUSE_S = _HURRIED_PAUSE_S
    try:
        yield
    finally:
        for module, name, value in saved:
            setattr(module, name, value)
