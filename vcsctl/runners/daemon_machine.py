"""What the runner of a daemon needs of the operating system beyond that of a job: a main process that may change,
helpers beside it, messages, the log. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vcsctl.runners import cgroups, linux, proc, spawn
from vcsctl.runners.daemon_log import DaemonLog
from vcsctl.runners.machine import Machine
from vcsctl.runners.notify import Listener, Message


@dataclass(slots=True)
class Helper:
    """A command beside the daemon's process: a probe or a reload. `fault`: why it was not executed."""

    pid: int
    descriptor: int
    status: int | None = None
    fault: str = ""


class DaemonMachine(Machine):
    """`status` is that of the main process of now, once it ended; `fault` says why it was not executed."""

    handled = (*Machine.handled, signal.SIGUSR2)

    def __init__(self, cgroup: str | None) -> None:
        super().__init__(cgroup)
        self.executed = False
        self.fault = ""
        self.is_status_known = True
        self._beginning: spawn.Beginning | None = None
        self._foreign: int | None = None  # a pidfd of a main process that another process of the daemon has started
        self._helpers: dict[int, Helper] = {}
        self._listener: Listener | None = None
        self._rotating = False
        self._preparing: threading.Thread | None = None
        self._asking: set[str] = set()
        self.log_trouble = ""

    @property
    def main(self) -> int:
        return self._command

    def prepare_beside(self, work: Callable[[], None]) -> None:
        """Wakes the runner when it is done. `end_preparing` before the fork that it was for: a fork beside no thread
        is the cheaper one."""

        def prepare() -> None:
            work()
            self.wake()

        self._preparing = threading.Thread(target=prepare, daemon=True)
        self._preparing.start()

    def end_preparing(self) -> None:
        if self._preparing is not None and self._preparing.ident is not None:
            self._preparing.join()
        self._preparing = None

    def start(self, command: spawn.Command) -> None:
        """Returns at once: a program on a mount that does not answer must not hold up the runner."""
        self.status, self.executed, self.fault, self.is_status_known = None, False, "", True
        self._beginning = spawn.begin(command)
        os.set_blocking(self._beginning.descriptor, False)
        self._command = self._beginning.pid

    def set_main(self, pid: int) -> bool:
        """Another process of the daemon is the main one from now on; False when it is none of the daemon's."""
        if pid == self._command:
            return True
        if not proc.descends_from(pid, os.getpid()):
            return False
        try:
            foreign = os.pidfd_open(pid)
        except OSError:
            return False
        self._forget_foreign()
        self._foreign, self._command = foreign, pid
        return True

    def _forget_foreign(self) -> None:
        if self._foreign is not None:
            os.close(self._foreign)
            self._foreign = None

    def reap(self) -> bool:
        self._look_whether_executed()
        alive = super().reap()
        if self._foreign is not None and self.status is None and _is_readable(self._foreign):
            # Not among those collected: its own parent has its status.
            self.status, self.over_s, self.is_status_known = 0, time.monotonic(), False
        if self.status is not None:
            self._forget_foreign()
            self._look_whether_executed()
        return alive

    def _look_whether_executed(self) -> None:
        beginning = self._beginning
        if beginning is not None and (self.status is not None or _is_readable(beginning.descriptor)):
            self._beginning = None
            self.fault = beginning.fault()
            self.executed = not self.fault

    def _ended(self, pid: int, status: int) -> None:
        super()._ended(pid, status)
        if (helper := self._helpers.pop(pid, None)) is not None:
            helper.status = status
            helper.fault = spawn.Beginning(pid, helper.descriptor).fault()

    def signal_main(self, number: int) -> None:
        if self._foreign is None:
            linux.kill(self._command, number)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._foreign, number)  # collected by its parent, its pid may be another's

    def signal_everything(self, number: int) -> None:
        members = cgroups.members(self.cgroup) if self.cgroup else proc.descendants_of(os.getpid())
        for pid in members:
            if pid not in self._helpers:
                linux.kill(pid, number)

    def kill_everything(self) -> None:
        if self.cgroup:
            cgroups.kill(self.cgroup)
        for pid in proc.descendants_of(os.getpid()):
            linux.kill(pid, signal.SIGKILL)

    # Helpers.

    def start_helper(self, command: spawn.Command) -> Helper:
        beginning = spawn.begin(command)
        os.set_blocking(beginning.descriptor, False)
        helper = self._helpers[beginning.pid] = Helper(beginning.pid, beginning.descriptor)
        return helper

    def end_helper(self, helper: Helper) -> None:
        """KILL to what is left of a helper: its session, and what it started that left its session."""
        left = set(proc.descendants_of(helper.pid)) if helper.status is None else set()
        left |= {pid for pid in proc.descendants_of(os.getpid()) if proc.session_of(pid) == helper.pid}
        for pid in left:
            linux.kill(pid, signal.SIGKILL)

    def ask_beside(self, kind: str, work: Callable[[], None]) -> bool:
        """In a thread of its own, and wakes the runner after it; False where another of that kind is not over."""
        if kind in self._asking:
            return False

        def ask() -> None:
            try:
                work()
            finally:
                self._asking.discard(kind)
                self.wake()

        self._asking.add(kind)
        try:
            self.run_beside(ask)
        except RuntimeError:
            self._asking.discard(kind)
            raise
        return True

    # Messages.

    def listen(self, folder: str | None, run_id: str) -> str:
        """While no process of the daemon is there; anew where the socket's name was removed."""
        if self._listener is None or not self._listener.is_there():
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            self._listener = Listener(folder, run_id)
        return self._listener.address

    def admit(self, command: spawn.Command) -> None:
        """Whose messages are taken from now on."""
        if self._listener is not None:
            self._listener.admit(command.account.uid if command.account else os.geteuid())

    def take_messages(self) -> list[Message]:
        return self._listener.take() if self._listener is not None else []

    def clean_up(self) -> None:
        super().clean_up()
        if self._listener is not None:
            self._listener.close()

    # The log.

    def look_at_log(self, log: DaemonLog) -> None:
        """Rotates it in a thread of its own when it is too large; `log_trouble` says what is wrong."""
        if self._rotating or not log.is_too_large():
            return
        self._rotating = True

        def work() -> None:
            try:
                self.log_trouble = log.rotate()
            finally:  # whatever went wrong: it is tried again
                self._rotating = False

        try:
            self.run_beside(work)
        except RuntimeError as error:  # as many threads as there may be
            self.log_trouble, self._rotating = f"cannot rotate {log.path}: {error}", False

    def _also_awaited(self) -> tuple[int, ...]:
        beginning, listener = self._beginning, self._listener
        return (
            *((beginning.descriptor,) if beginning is not None else ()),
            *((listener.fileno(),) if listener is not None else ()),
            *((self._foreign,) if self._foreign is not None else ()),
        )


def _is_readable(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))
