"""The logs that lie on this machine: which there are of a service, in what order, and what stands in them, the parts
that a rotation put aside among it. Prints nothing; asks no shared directory.

A rotation copies what was written to NAME.1 and cuts it off, and what was there before becomes NAME.2; NAME.1.gz is the
same, packed. Read one after the other they are what was written: a line may begin in one and end in the next.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.domain.values import NAME_PATTERN

_BLOCK = 1 << 16
_PART = re.compile(r"(.*)\.([0-9]{1,6})(?:\.gz)?")
_PACKED = ".gz"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)  # torn, or no such file at all
_File = io.BufferedReader | gzip.GzipFile
Aside = Mapping[str, Sequence[str]]


def _unheard(_text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Log:
    """`number`: of the run whose log it is; None for a daemon's, which goes on over all its runs."""

    path: str
    key: str
    number: int | None

    @property
    def name(self) -> str:
        return os.path.basename(self.path).removesuffix(".log")


def logs_of(log_dir: str, service: str) -> list[Log]:
    """Those of its runs in the order of their numbers, KEY by KEY."""
    folder = f"{log_dir}/{service}"
    if not NAME_PATTERN.fullmatch(service) or not os.path.isdir(folder):
        return []
    found = []
    with os.scandir(folder) as entries:  # never asks for a name: over NFS a missing one stays missing for long
        for entry in entries:
            name = entry.name.removesuffix(".log")
            key, number = parse_run_id(name) or (name, None)
            if name != entry.name and service_of(key) == service and entry.is_file():
                found.append(Log(entry.path, key, number))
    return sorted(found, key=lambda log: (log.key, log.number or 0))


def newest_of_each(logs: Sequence[Log]) -> list[Log]:
    """The newest log of each KEY, the one that was written to last at the end. By the run's number where there is one:
    a rotation gives an old log a new time."""
    newest = {log.key: log for log in sorted(logs, key=lambda log: (log.number is not None, log.number or 0))}
    aside = put_aside(os.path.dirname(logs[0].path)) if logs else {}
    return sorted(newest.values(), key=lambda log: written_at_s(log.path, aside))


def written_at_s(path: str, aside: Aside | None = None) -> float:
    """When somebody last wrote into it: where a rotation has emptied it, that is the time of what it put aside."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        parts = [] if found.st_size else parts_of(path, aside)[-2:-1]
        return os.stat(parts[0]).st_mtime if parts else found.st_mtime
    return 0.0


def put_aside(folder: str) -> Aside:
    """By the name of each log what rotations put aside of it, the oldest first: for who asks of many logs."""
    found: dict[str, dict[int, str]] = {}
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(folder), reverse=True):  # where both are there, the packed one is being written
            if match := _PART.fullmatch(entry):
                found.setdefault(match[1], {})[int(match[2])] = f"{folder}/{entry}"
    return {name: [parts[number] for number in sorted(parts, reverse=True)] for name, parts in found.items()}


def parts_of(path: str, aside: Aside | None = None) -> list[str]:
    """The files that make up a log, the oldest first."""
    folder, name = os.path.split(path)
    return [*(put_aside(folder) if aside is None else aside).get(name, ()), path]


def parts_since(path: str, since_s: float, aside: Aside) -> list[str]:
    """Those of them that were written to since then; the first may begin earlier, for lines bear no times."""
    *older, newest = parts_of(path, aside)
    return [*(part for part in older if not _is_older(part, since_s)), newest]


def _is_older(path: str, since_s: float) -> bool:
    with contextlib.suppress(OSError):  # as where it is being packed just now
        return os.stat(path).st_mtime < since_s
    return False


def text_of(paths: Sequence[str], at: int = 0, damaged: Callable[[str], None] = _unheard) -> Iterator[bytes]:
    """What these files hold, one after the other, the first from that byte on. `damaged` is told what cannot."""
    for path in paths:
        with _opened(path) as file:
            yield from _read_from(file, at, damaged)
            at = 0


def _read_from(file: _File, at: int, damaged: Callable[[str], None]) -> Iterator[bytes]:
    try:
        file.seek(at)
        while data := file.read1(_BLOCK):  # not read(): that loses what comes before the damage
            yield data
    except _DAMAGED:
        damaged(f"{file.name} is damaged: what follows is not shown")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[_File]:
    """A part may be packed or removed while others are read: what is gone is read as empty."""
    packed = path if path.endswith(_PACKED) else f"{path}{_PACKED}"
    for there in (path, packed, os.devnull):
        with contextlib.suppress(FileNotFoundError):
            file = _open(there)
            break
    with file:
        yield file


def _open(path: str) -> _File:
    if path.endswith(_PACKED):
        return gzip.open(path, "rb")
    return open(path, "rb")


def start_of(
    paths: Sequence[str], lines: int | None, answered: Callable[[], None] = lambda: None
) -> tuple[int, int, int | None]:
    """Where the last lines of these files begin: in which, and at which byte; of all lines without a number. And how
    many more than there are were asked for. `answered` is called now and then: it may take long."""
    if lines is None:
        return 0, 0, None
    left: int | None = None  # line ends to find; one more when the last line has an end of its own
    for number in range(len(paths) - 1, -1, -1):
        with _seekable(paths[number], answered) as file:
            for at, block in _backwards(file):
                answered()
                if left is None:
                    left = lines + 1 if block.endswith(b"\n") else lines
                if (count := block.count(b"\n")) < left:
                    left -= count
                    continue
                place = len(block)
                for _ in range(left):
                    place = block.rfind(b"\n", 0, place)
                return number, min(at + place + 1, at + len(block)), 0
    return 0, 0, lines if left is None else left - 1


@contextlib.contextmanager
def _seekable(path: str, answered: Callable[[], None]) -> Iterator[IO[bytes]]:
    with _opened(path) as file:
        if not isinstance(file, gzip.GzipFile):
            yield file
            return
        with tempfile.TemporaryFile() as plain:  # to go back in what is packed is to unpack it again each time
            for data in _read_from(file, 0, _unheard):  # who reads it then tells of the damage
                plain.write(data)
                answered()
            yield plain


def _backwards(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        at = max(0, end - _BLOCK)
        file.seek(at)
        yield at, file.read(end - at)
        end = at


class Tail:
    """A log that is read on as it grows, past what rotations do to it."""

    def __init__(self, path: str, at: int = 0, damaged: Callable[[str], None] = _unheard) -> None:
        self.path = path
        self._damaged = damaged
        self._file = open(path, "rb")  # noqa: SIM115 - for as long as it is followed
        self._at = at
        self._part = _newest_part(path)

    def close(self) -> None:
        self._file.close()

    def new(self) -> Iterator[bytes]:
        """What has been written since, as far as it is there."""
        if os.fstat(self._file.fileno()).st_size < self._at:
            yield from self._out_of_part()
        yield from self._read()
        if not self._is_still():  # it was renamed, and another begins under its name
            yield from self._read()
            with contextlib.suppress(FileNotFoundError):
                file = open(self.path, "rb")  # noqa: SIM115
                self._file.close()
                self._file, self._at, self._part = file, 0, _newest_part(self.path)
                yield from self._read()

    def _read(self) -> Iterator[bytes]:
        self._file.seek(self._at)
        while data := self._file.read(_BLOCK):
            self._at += len(data)
            yield data

    def _out_of_part(self) -> Iterator[bytes]:
        """Its beginning was cut off: that is the newest part now, and what of it was not read comes first. Where there
        is no new part, somebody has emptied it."""
        before, part_before = self._at, self._part
        self._at, self._part = 0, _newest_part(self.path)
        if self._part is None or self._part == part_before:
            return
        with _opened(parts_of(self.path)[-2]) as part:
            yield from _read_from(part, before, self._damaged)
            is_packed = isinstance(part, gzip.GzipFile)
            read_of_rest = before - (part.tell() if is_packed else os.fstat(part.fileno()).st_size)
        self._at = read_of_rest if 0 < read_of_rest <= os.fstat(self._file.fileno()).st_size else 0

    def _is_still(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return True  # it was removed: what is open is all there will be, until its name comes back


def _newest_part(path: str) -> tuple[int, int] | None:
    """Which file it is: its name was another's before."""
    with contextlib.suppress(OSError, IndexError):
        found = os.stat(parts_of(path)[-2])
        return found.st_ino, found.st_mtime_ns
    return None
