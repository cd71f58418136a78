"""The names a cell knows, found in what its nodes publish without reading it: for completion, which has no time.

A name too many, from a text that only looks like a unit, harms nobody here: it is offered, not acted on.
"""

from __future__ import annotations

import os
import re

from vcsctl.store.opening import open_shared
from vcsctl.store.paths import DRAINED, UNITS, Paths, is_part

_AFTER_A_NAME = b'":{"plain":'
_GROUPS = re.compile(rb'"groups":\[("[^\]]*)\]')
_RUN = re.compile(rb'"id":"([^"\\]+\.[0-9]+)"')
_TAIL_BYTES = 1 << 16  # of a history: the runs somebody asks about are the last ones


def services(paths: Paths, prefix: str = "") -> set[str]:
    """What any node declares. Of 10,000 names a search finds those that begin so, and a split all, in no time."""
    found: set[bytes] = set()
    some = re.compile(b'"(%b[^"]*)%b' % (re.escape(prefix.encode()), re.escape(_AFTER_A_NAME)))
    for text in _published(paths):
        parts = [] if prefix else text.split(_AFTER_A_NAME)[:-1]
        found.update(some.findall(text) if prefix else [part[part.rfind(b'"') + 1 :] for part in parts])
    return {name.decode("ascii", "replace") for name in found}


def groups(paths: Paths) -> set[str]:
    found: set[bytes] = set()
    for text in _published(paths):
        for listed in set(_GROUPS.findall(text)):
            found.update(listed.split(b","))
    return {group.strip(b'"').decode("ascii", "replace") for group in found}


def nodes(paths: Paths) -> set[str]:
    """Those that publish something, and those that somebody drained."""
    found = {name.removesuffix(UNITS) for name in _names(paths.nodes) if name.endswith(UNITS)}
    found |= {name.removesuffix(DRAINED) for name in _names(paths.overrides) if name.endswith(DRAINED)}
    return set(filter(is_part, found))


def runs(paths: Paths, service: str) -> list[str]:
    """Its last recorded runs, the newest first."""
    if not is_part(service):
        return []
    folder = paths.history_folder(service)
    found: dict[str, None] = {}
    for name in sorted(_names(folder), reverse=True):
        if name.endswith(".jsonl"):
            found |= dict.fromkeys(run.decode() for run in _RUN.findall(_read(f"{folder}/{name}", _TAIL_BYTES)))
    return sorted(found, key=_number, reverse=True)


def _number(run_id: str) -> int:
    return int(run_id.rpartition(".")[2])


def _published(paths: Paths) -> list[bytes]:
    return [_read(f"{paths.nodes}/{name}") for name in _names(paths.nodes) if name.endswith(UNITS)]


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError:
        return []


def _read(path: str, last: int | None = None) -> bytes:
    descriptor = open_shared(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if last is not None:
            file.seek(max(0, os.fstat(descriptor).st_size - last))
        return file.read()
