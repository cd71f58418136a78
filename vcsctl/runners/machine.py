"""All that a runner needs of the operating system: clocks, its command's processes, waiting. Decides nothing."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from vcsctl.domain.unit import Unit
from vcsctl.runners import cgroups, linux, proc, spawn


def boottime() -> float:
    """Seconds by the boot-time clock: it goes on while the machine sleeps, as a lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Hurry:
    """A pause that another thread can cut short."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()

    def now(self) -> None:
        self._event.set()


class Machine:
    """The processes of one run: the command and all that it starts. `status` is the command's own, once it ended."""

    handled: tuple[int, ...] = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, cgroup: str | None) -> None:
        self.cgroup = cgroup
        self.status: int | None = None
        self.over_s = 0.0
        self.cpu_s = 0.0
        self.peak_kib = 0
        self.signals: list[int] = []
        self._command = 0
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in self.handled:
            signal.signal(number, lambda number, _frame: self.signals.append(number))
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    # Clocks.

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return boottime()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    # The command and what it starts.

    def identity(self) -> tuple[int, int]:
        """The runner's own pid and start time."""
        return os.getpid(), proc.process_started(os.getpid()) or 0

    def prepare(self, unit: Unit, variables: dict[str, str], inherited: tuple[int, ...]) -> spawn.Command:
        return spawn.prepare(unit, variables, inherited, self.cgroup)

    def execute(self, command: spawn.Command, within_s: float | None) -> None:
        """Raises CannotStartError when that is not done in time."""
        self._command = spawn.start(command, within_s)

    def reap(self) -> bool:
        """Collects what has ended; whether anything the command started is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return bool(self.cgroup and not cgroups.is_empty(self.cgroup))
            if pid == 0:
                return True
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_kib = max(self.peak_kib, usage.ru_maxrss)
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._command:
            self.status, self.over_s = status, time.monotonic()

    def signal_everything(self, number: int) -> None:
        if self.cgroup:
            for pid in cgroups.members(self.cgroup):
                linux.kill(pid, number)
        else:
            linux.kill_session(self._command, number)

    def kill_everything(self) -> None:
        """KILL to all that the run started; called until nothing is left, since orphans arrive as parents die."""
        if self.cgroup:
            cgroups.kill(self.cgroup)
            return
        linux.kill_session(self._command, signal.SIGKILL)
        for pid in proc.children_of(os.getpid()):
            linux.kill(pid, signal.SIGKILL)

    def clean_up(self) -> None:
        if self.cgroup:
            cgroups.remove(self.cgroup)

    # Waiting.

    def wait(self, seconds: float) -> None:
        """Until a child ends, a signal comes, `wake` is called or the time is over."""
        poller = select.poll()
        for descriptor in (self._reader, *self._also_awaited()):
            poller.register(descriptor, select.POLLIN)
        poller.poll(seconds * 1000)
        try:
            os.read(self._reader, 4096)
        except BlockingIOError:
            return

    def _also_awaited(self) -> tuple[int, ...]:
        return ()

    def wake(self) -> None:
        os.write(self._writer, b"\0")

    def run_beside(self, work: Callable[[], None]) -> None:
        """In a thread of its own. After the command has been started, since a fork copies no thread."""
        threading.Thread(target=work, daemon=True).start()

    def hurry(self) -> Hurry:
        return Hurry()
