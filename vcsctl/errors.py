"""What can go wrong, and the exit code each ends a command with. The only place that knows exit codes."""

from __future__ import annotations

from typing import NamedTuple

OK = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
UNKNOWN_UNIT = 4
REFUSED = 5
TRY_AGAIN = 75
# What `run --wait` and `run --follow` end with where there is no exit code of the job to hand on. Above those of
# sysexits.h and below the shell's own, where few programs have theirs; the sentence beside it is certain.
EXPIRED = 80  # it could not start in time
SKIPPED = 81  # cancelled, or taken out of the queue otherwise
LOST = 82  # nobody knows how it ended: its node, its runner or its storage was lost
TIMED_OUT = 124  # as timeout(1) has it
CANNOT_START = 126  # as a shell has it


class VcsError(Exception):
    """A fault the caller can act on; its text names the thing and the way out."""

    exit_code = FAILED


class UsageError(VcsError):
    """The command or a file it was given is wrong: nothing was done."""

    exit_code = USAGE


class NotRunningError(VcsError):
    exit_code = NOT_RUNNING


class UnknownUnitError(VcsError):
    exit_code = UNKNOWN_UNIT


class RefusedError(VcsError):
    """Understood, and not allowed as things stand."""

    exit_code = REFUSED


class BusyError(VcsError):
    """What was asked for is another's at present."""

    exit_code = TRY_AGAIN


class StorageError(VcsError):
    """The shared directory cannot be used now; the same command may succeed later."""

    exit_code = TRY_AGAIN


class NoSpaceError(StorageError):
    """The file system is full or the quota is used up: nothing is broken, and it may have room again soon."""


class ForeignFileError(StorageError):
    """One name of the shared directory is not a file of ours; the others are as good as before."""


class Problem(NamedTuple):
    """One fault of one file. Line and column count from 1; 0 means the file as a whole."""

    path: str
    line: int
    column: int
    key: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        key = f"{self.key}: " if self.key else ""
        kind = "warning: " if self.warning else ""
        return f"{place}: {kind}{key}{self.text}"
