"""A daemon's log: rotated by size under a daemon that need not know, without losing a line where the file system helps.

The daemon writes to one open file for life. Its beginning is copied to NAME.1 and then cut off: ext4 and xfs can do
that in one step, while others write on. Elsewhere the file is emptied right after the last of it was copied.
NAME.1 and NAME, read one after the other, are what was written; a line may begin in the one and end in the other.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from vcsctl.runners import linux

_PART = 1 << 20
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
            log = os.open(_OPEN_LOG, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            return self._trouble(error)
        try:
            copy = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            try:
                self._move_beginning(log, copy, aside)
            finally:
                os.close(copy)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            return self._trouble(error)
        finally:
            os.close(log)
        return ""

    def _move_beginning(self, log: int, copy: int, aside: str) -> None:
        block = os.fstatvfs(log).f_bsize
        whole = (os.fstat(log).st_size - 1) // block * block  # all of it cannot be cut off
        at = _copy(log, copy, 0, whole)
        self._shift(aside)
        try:
            linux.collapse(log, at)
        except OSError:
            while (end := os.fstat(log).st_size) > at:  # what has come meanwhile, until nothing more has
                at = _copy(log, copy, at, end)
            os.ftruncate(log, 0)

    def _shift(self, aside: str) -> None:
        """NAME.1 becomes NAME.2 and so on; the oldest is gone."""
        for number in range(self.keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.rename(aside, f"{self.path}.1")

    def _trouble(self, error: OSError) -> str:
        return f"cannot rotate {self.path}: {(error.strerror or str(error)).lower()}"


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
