"""Reading and publishing records by name, with what could not be read kept beside. Decides nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from vcsctl.errors import ForeignFileError, Problem, StorageError
from vcsctl.store import codec, files
from vcsctl.store.opening import again_where_stale, open_shared
from vcsctl.store.paths import ASIDE_SUFFIX

T = TypeVar("T")


class Stored(NamedTuple, Generic[T]):
    """A record and the file server's moment of its writing."""

    value: T
    at: datetime


class Faults:
    """The unreadable files met while reading, each named once."""

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}
        self.expected: dict[str, type[Any]] = {}  # path → the kind of record that should be there

    def add(self, path: str, text: str) -> None:
        self.problems[path] = Problem(path, 0, 0, "", text)

    def forget_removed(self) -> None:
        """Of what stands here by its path, that which somebody has removed."""
        for path in [path for path in self.problems if path.startswith("/")]:
            try:
                os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                self.forget(path)
            except OSError:  # nobody knows
                continue

    def forget(self, path: str) -> None:
        self.problems.pop(path, None)
        self.expected.pop(path, None)


def read(cls: type[T], path: str, faults: Faults) -> Stored[T] | None:
    """None when there is no such file, or when it is not what it should be (then it is among the faults)."""
    try:
        found = files.read(path)
        stored = Stored(codec.decode(cls, found[0]), found[1]) if found else None
    except (codec.BadRecordError, ForeignFileError) as error:
        faults.add(path, f"cannot be used: {error}; it is left out, look at it and remove it")
        faults.expected[path] = cls
        return None
    faults.forget(path)
    return stored


def set_aside_unreadable(faults: Faults, folders: tuple[str, ...]) -> list[Problem]:
    """Renames what could not be read in folders that operators may write to, so that it is met once; what was renamed.

    Claims and outcomes stay where they are: their numbers and moments count whatever they hold.
    """
    moved = []
    for path, problem in list(faults.problems.items()):
        if os.path.dirname(path) in folders:
            with contextlib.suppress(StorageError):
                # Another node may have set it aside, and a command written a good one in its place.
                if (kind := faults.expected.get(path)) and read(kind, path, faults):
                    continue
                if kind and not os.path.lexists(path):
                    faults.forget(path)
                    continue
                files.set_aside(path)
                faults.forget(path)
                moved.append(problem)
    return moved


def set_aside_in(folder: str) -> list[str]:
    """What was set aside there and nobody has looked after yet."""
    return [f"{folder}/{name}" for name in files.names(folder) if name.endswith(ASIDE_SUFFIX)]


def publish(path: str, record: Any, *, sync_folder: bool = False) -> bool:
    return files.link_new(path, codec.encode(record), sync_folder=sync_folder)


def append_line(path: str, line: bytes) -> None:
    """Appends one whole line; a torn last line left by a crash is closed off first. Not yet durable."""
    with files.named_faults("write", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, size)  # the disk is full: half a line is worse than none
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


def sync_file(path: str) -> None:
    with files.named_faults("sync", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def lines_backwards(path: str, block: int = 1 << 16) -> Iterator[bytes]:
    """The lines of a file from the last to the first, without reading all of it; a torn last line comes too."""
    with files.named_faults("read", path):
        yield from _lines_backwards(path, block)


def all_lines_backwards(path: str) -> list[bytes]:
    """The same of a file that its node may replace meanwhile."""
    with files.named_faults("read", path):
        return again_where_stale(lambda: list(_lines_backwards(path)))


def decoded(cls: type[T], lines: Iterable[bytes]) -> Iterator[T]:
    """A line that is torn or foreign is skipped."""
    for line in lines:
        try:
            yield codec.decode(cls, line)
        except codec.BadRecordError:
            continue


def _lines_backwards(path: str, block: int = 1 << 16) -> Iterator[bytes]:
    try:
        descriptor = open_shared(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return  # a stranger under such a name hides nothing of ours
        position, rest = status.st_size, b""
        while position > 0:
            size = min(block, position)
            position -= size
            first, *complete = (os.pread(descriptor, size, position) + rest).split(b"\n")
            rest = first
            yield from (line for line in reversed(complete) if line)
        if rest:
            yield rest
    finally:
        os.close(descriptor)
