"""The compiled catalog as vcsd reads it. Standard library only: vcsd must not pay for YAML and pydantic."""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
from dataclasses import dataclass
from typing import Any, NamedTuple

from vcsctl.errors import Problem
from vcsctl.store import files

_HEADER = b"vcs catalog 2\n"
_MARSHAL_VERSION = 4  # the same in every Python we run on, so that an upgrade does not lose the last good versions
_CHECKSUM_SIZE = 16


class CompiledUnit(NamedTuple):
    """One name of the catalog, a tuple since there may be thousands to make at each look.

    `plain` is the unit as JSON values, None when it is masked or was never good; `stale` says that the files
    are bad now and this is the last good version; `stamp` identifies the files.
    """

    name: str
    plain: dict[str, Any] | None
    masked: bool
    stale: bool
    digest: str
    fragments: tuple[str, ...]
    problems: tuple[Problem, ...]
    stamp: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    units: dict[str, CompiledUnit]
    problems: tuple[Problem, ...]  # those of no single unit
    made_by: str = ""  # the version whose judgement this is

    @property
    def all_problems(self) -> list[Problem]:
        return [*self.problems, *(problem for unit in self.units.values() for problem in unit.problems)]


def _rows(problems: tuple[Problem, ...]) -> tuple[Any, ...]:
    return tuple((p.path, p.line, p.column, p.key, p.text, p.warning) for p in problems)


def _problems(rows: tuple[Any, ...]) -> tuple[Problem, ...]:
    return tuple(Problem(*row) for row in rows)


def write_snapshot(path: str, snapshot: Snapshot) -> None:
    rows = [(*unit[:6], _rows(unit.problems), unit.stamp) for unit in snapshot.units.values()]
    body = marshal.dumps((snapshot.made_by, rows, _rows(snapshot.problems)), _MARSHAL_VERSION)
    checksum = hashlib.blake2b(body, digest_size=_CHECKSUM_SIZE).digest()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    files.replace(path, _HEADER + checksum + body, 0o644, durable=True)


def read_snapshot(path: str) -> Snapshot | None:
    """None when it is absent, damaged, of another version, or could have been written by others."""
    content = _read_own(path)
    start = len(_HEADER) + _CHECKSUM_SIZE
    if content is None or not content.startswith(_HEADER):
        return None
    body = memoryview(content)[start:]
    if hashlib.blake2b(body, digest_size=_CHECKSUM_SIZE).digest() != content[len(_HEADER) : start]:
        return None
    try:
        made_by, rows, problems = marshal.loads(body)  # noqa: S302 - ours, whole, and writable by nobody else
        units = {row[0]: CompiledUnit._make(row) for row in rows}
        for unit in [unit for unit in units.values() if unit.problems]:
            units[unit.name] = unit._replace(problems=_problems(unit.problems))
        return Snapshot(units, _problems(problems), made_by)
    except (ValueError, TypeError, EOFError):
        return None


def _read_own(path: str) -> bytes | None:
    """The content of a regular file that nobody but root and this user can have written; never waits on a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        try:
            return file.read()
        except OSError:
            return None
