"""Asks file systems how full they are, each in a child process, so that one that does not answer stops nobody."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import NoReturn

_LARGEST_ANSWER = 4096
MISSING = "does not exist"


@dataclass(frozen=True, slots=True)
class Usage:
    """What statvfs says. Percentages are of what an ordinary user could use, as df shows them."""

    device: int
    used: int
    available: int
    inodes_used: int
    inodes_available: int

    @property
    def used_percent(self) -> float:
        return 100 * self.used / (self.used + self.available)

    @property
    def inodes_percent(self) -> float | None:
        """None for file systems that do not count inodes."""
        total = self.inodes_used + self.inodes_available
        return 100 * self.inodes_used / total if total > 0 else None


def ask(paths: Iterable[str], limit_s: float) -> dict[str, Usage | str]:
    """Path → its usage, or the reason why it cannot be told. All are asked at once; takes `limit_s` at most."""
    found: dict[str, Usage | str] = {}
    waiting: dict[int, tuple[str, int]] = {}
    poll = select.poll()
    for path in dict.fromkeys(paths):
        reader, pid = _start(path)
        waiting[reader] = (path, pid)
        poll.register(reader, select.POLLIN)
    deadline_s = time.monotonic() + limit_s
    while waiting and (left_s := deadline_s - time.monotonic()) > 0:
        for reader, _ in poll.poll(left_s * 1000):
            path, pid = waiting.pop(reader)
            poll.unregister(reader)
            found[path] = _answer(os.read(reader, _LARGEST_ANSWER))
            os.close(reader)
            os.waitpid(pid, 0)
    for reader, (path, pid) in waiting.items():
        # A child that hangs in the kernel may not even die of this: nobody waits for it.
        os.kill(pid, signal.SIGKILL)
        os.close(reader)
        found[path] = f"did not answer within {limit_s:g} s"
    return found


def _start(path: str) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _tell(path, writer)
    os.close(writer)
    return reader, pid


def _tell(path: str, writer: int) -> NoReturn:
    """In the child. An answer is short enough for a pipe to take it at once."""
    try:
        os.write(writer, json.dumps(_look(path)).encode())
    finally:
        os._exit(0)


def _look(path: str) -> dict[str, int] | str:
    try:
        device = os.stat(path).st_dev
        found = os.statvfs(path)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return (error.strerror or str(error)).lower()
    if found.f_blocks == 0:
        return "is a file system without a size"
    block = found.f_frsize
    inodes = (found.f_files - found.f_ffree, found.f_favail) if found.f_files else (0, 0)
    return asdict(Usage(device, (found.f_blocks - found.f_bfree) * block, found.f_bavail * block, *inodes))


def _answer(data: bytes) -> Usage | str:
    try:
        said = json.loads(data)
    except ValueError:
        return "could not be asked"
    return said if isinstance(said, str) else Usage(**said)
