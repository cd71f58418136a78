"""A daemon's log: rotated by size under a daemon that need not know, without losing a line where the file system helps.

The daemon writes to one open file for life. Its beginning is copied to NAME.1 and then cut off: ext4 and xfs can do
that in one step, while others write on. Elsewhere the file is emptied right after the last of it was copied.
NAME.1 and NAME, read one after the other, are what was written; a line may begin in the one and end in the other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from vcsctl.runners import linux

_PART = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_OPEN_LOG = "/proc/self/fd/1"  # not by its name: somebody may have moved it


@dataclass(frozen=True, slots=True)
class DaemonLog:
    """The log that this runner has as standard output."""

    path: str
    size: int
    keep: int

    def is_too_large(self) -> bool:
        try:
            return os.fstat(1).st_size > self.size
        except OSError:
            return False

    def rotate(self) -> str:
        """Empty, or why it could not be done."""
        aside = f"{self.path}.new"
        try:
            with _opened(_OPEN_LOG, os.O_RDWR) as log, _opened(aside, _NEW) as copy:
                self._move_beginning(log, copy, aside)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            return f"cannot rotate {self.path}: {(error.strerror or str(error)).lower()}"
        return ""

    def _move_beginning(self, log: int, copy: int, aside: str) -> None:
        block = os.fstatvfs(log).f_bsize
        whole = (os.fstat(log).st_size - 1) // block * block  # all of it cannot be cut off
        at = _copy(log, copy, 0, whole)
        os.fsync(copy)  # over NFS it is only then that a full disk says so
        self._shift(aside)
        try:
            linux.collapse(log, at)
        except OSError:
            try:
                self._empty(log, copy, at)
            except OSError:
                self._shift_back(aside)  # the log has it all still: the copy would double it
                raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}.{self.keep + 1}")

    def _empty(self, log: int, copy: int, at: int) -> None:
        at = _copy(log, copy, at, os.fstat(log).st_size)
        os.fsync(copy)
        while (end := os.fstat(log).st_size) > at:  # what has come meanwhile, until nothing more has
            at = _copy(log, copy, at, end)
        os.ftruncate(log, 0)

    def _shift(self, aside: str) -> None:
        """NAME.1 becomes NAME.2 and so on; the oldest is one too many from then on."""
        for number in range(self.keep, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.rename(aside, f"{self.path}.1")

    def _shift_back(self, aside: str) -> None:
        os.rename(f"{self.path}.1", aside)
        for number in range(1, self.keep + 1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}.{number + 1}", f"{self.path}.{number}")


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o640)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy(source: int, target: int, at: int, end: int) -> int:
    """Appends the bytes from `at` to `end` to the target; where it came to."""
    while at < end:
        part = os.pread(source, min(_PART, end - at), at)
        if not part:
            break
        while part:
            written = os.write(target, part)
            at, part = at + written, part[written:]
    return at
