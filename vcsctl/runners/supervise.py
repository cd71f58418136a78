"""The runs that live on this node: own children and those a former vcsd left, and what a killed runner leaves.

Keeps copies of the locks of its own children's runs, so that a killed runner's groups are free only when
what it left is dead. Starts nothing; records no outcome.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from vcsctl.domain.run import Claim
from vcsctl.runners import cgroups, linux, proc
from vcsctl.store.locks import Grant

LOG_FAULT = 128  # the exit code of a runner that cannot open its log, the errno added to it


@dataclass(slots=True)
class Run:
    """One live run. `grant` is None for an adopted one, `descriptor` a pidfd of its runner where that is known."""

    claim: Claim
    since: datetime
    pid: int = 0
    grant: Grant | None = None
    descriptor: int | None = None
    cgroup: str | None = None
    gone: bool = False  # the runner is no more
    status: int = 0
    log: str = ""

    def never_began(self) -> str:
        """Why its runner ended before it could begin."""
        code = os.waitstatus_to_exitcode(self.status)
        if (number := code - LOG_FAULT) > 0:
            link = " (a link is not followed)" if number == errno.ELOOP else ""
            return f"its log {self.log} cannot be opened: {os.strerror(number).lower()}{link}"
        how = f"was killed by signal {linux.signal_name(-code)}" if code < 0 else f"ended with code {code}"
        return f"its runner {how} before it could begin; see to its log {self.log} and to the shared directory"

    def close(self) -> None:
        if self.grant:
            self.grant.close()
            self.grant = None
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Runs:
    """`poller` is woken when the runner of an adopted run ends. `spared`: children that are no leftovers of a run."""

    def __init__(self, poller: select.epoll, spared: Callable[[], set[int]] = set) -> None:
        self._spared = spared
        self._poller = poller
        self.by_key: dict[str, Run] = {}
        self.helpers: set[int] = set()  # children of ours that are no runners

    def add(self, run: Run) -> None:
        self.by_key[run.claim.key] = run

    def watch(self, run: Run, pid: int, started_ticks: int) -> bool:
        """Watches the runner of an adopted run; False when it is gone."""
        run.descriptor = open_runner(pid, started_ticks)
        if run.descriptor is None:
            return False
        run.pid = pid
        self._poller.register(run.descriptor, select.EPOLLIN)
        return True

    def tell(self, run: Run, number: int) -> bool:
        """Signals the runner of a run; False when it is gone, or not known."""
        if run.gone or not run.pid:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if run.descriptor is not None:
                signal.pidfd_send_signal(run.descriptor, number)
            else:
                os.kill(run.pid, number)  # a child of ours that is not reaped keeps its pid
            return True
        return False

    def adopted(self) -> list[Run]:
        return [run for run in self.by_key.values() if run.grant is None]

    def remove(self, run: Run) -> None:
        if run.descriptor is not None:
            self._poller.unregister(run.descriptor)
        run.close()
        self.by_key.pop(run.claim.key, None)

    def reap(self) -> None:
        """Collects every child that has ended, orphans of killed runners included."""
        by_pid = {run.pid: run for run in self.by_key.values() if run.grant}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in by_pid:
                by_pid[pid].gone = True
                by_pid[pid].status = status
            elif pid in self.helpers:
                self.helpers.discard(pid)

    def is_over(self, run: Run) -> bool:
        """Whether the watched runner of an adopted run has ended."""
        if run.descriptor is None:
            return False
        poller = select.poll()
        poller.register(run.descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def over(self) -> list[Run]:
        return [run for run in self.by_key.values() if run.gone]

    def kill_leftovers(self, run: Run) -> bool:
        """Kills what a killed runner left to us; True when nothing is left.

        A living runner is a subreaper: what falls to vcsd can only come from a dead one.
        """
        self.reap()
        if run.cgroup and not cgroups.is_empty(run.cgroup):
            cgroups.kill(run.cgroup)
            return False
        runners = {other.pid for other in self.by_key.values() if not other.gone}
        if orphans := set(proc.children_of(os.getpid())) - runners - self.helpers:
            orphans -= self._spared()
        for pid in orphans:
            linux.kill(pid, signal.SIGKILL)
        if orphans:
            self.reap()
            return False
        if run.cgroup:
            cgroups.remove(run.cgroup)
        return True


def open_runner(pid: int, started_ticks: int) -> int | None:
    """A pidfd of exactly that process, or None when it is gone."""
    if proc.process_started(pid) != started_ticks:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if proc.process_started(pid) != started_ticks:
        os.close(descriptor)
        return None
    return descriptor


def nudge(pid: int, started_ticks: int) -> bool:
    """Tells a runner to look for its stop file now; False when it is gone or not ours to signal."""
    descriptor = open_runner(pid, started_ticks)
    if descriptor is None:
        return False
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
            return True
    finally:
        os.close(descriptor)
    return False
