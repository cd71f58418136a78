"""A child process that can be given up: it works for its parent, tells it through a pipe, and holds nothing else.

Who touches a mount that hangs can perhaps not even be killed, and keeps open what it has: a pipe that somebody reads to
its end, a terminal, a lock that the shell holds. Its parent never waits for its end before that of its pipe.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterable

from vcsctl.errors import FAILED

_CHUNK = 1 << 16
_MOST_DESCRIPTORS = 1 << 20


class Child:
    """As its parent sees it. `pipe` can be waited on, as by select(). No dataclass: completion loads none."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.given_up = False

    def take(self) -> bytes:
        """What has come; nothing when that was all."""
        return os.read(self.pipe, _CHUNK)

    def end(self) -> int:
        """After the end of its pipe: its exit code, as subprocess has it."""
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def give_up(self, number: int = signal.SIGKILL) -> None:
        """Not waited for: a process that hangs in the kernel may stay until the storage answers."""
        os.kill(self.pid, number)
        self.given_up = True

    def leave(self) -> None:
        """For one that was given up: it is reaped if it has ended by now."""
        os.close(self.pipe)
        os.waitpid(self.pid, os.WNOHANG)


def begin(work: Callable[[int], int], *, dies_by: int = signal.SIGKILL, dies_after_s: float = 0.0) -> Child:
    """A child that does `work`, which gets the pipe to write into and returns the exit code.

    Its parent's death sends it `dies_by`; with `dies_after_s` an alarm ends it instead. What `work` raises is seen by
    nobody, for there is nowhere to print it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = FAILED
        try:
            if _dies_in_time(dies_after_s) or _dies_with(parent, dies_by):
                code = work(_alone_with(writer))
        finally:
            os._exit(code)
    os.close(writer)
    return Child(pid, reader)


def _dies_in_time(after_s: float) -> bool:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, after_s)  # by 0 none is set
    return after_s > 0


def _dies_with(parent: int, number: int) -> bool:
    """False when it died before we asked to be told."""
    from vcsctl.runners import linux  # here: completion does without, at every Tab

    linux.die_with_parent(number)
    return os.getppid() == parent


def _alone_with(writer: int) -> int:
    for of_the_terminal in (signal.SIGINT, signal.SIGHUP):  # they reach the parent too, and its end is ours
        signal.signal(of_the_terminal, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    pipe = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 3)  # perhaps it was in the place of a standard stream
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    close_all_but((0, 1, 2, pipe))
    return pipe


def close_all_but(kept: Iterable[int]) -> None:
    first = 0
    for one in sorted(kept):
        if first < one:  # an empty range is not: close_range(0, -1) closes everything
            os.closerange(first, one)
        first = one + 1
    os.closerange(first, _MOST_DESCRIPTORS)


def write_all(pipe: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(pipe, left) :]
