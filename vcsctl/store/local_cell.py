"""The cell of one machine for the daemons that need no shared directory: the same records, on a disk of its own.

It is made without the tests that shared storage needs. Whoever reads it reads it as any other cell.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

from vcsctl.domain.history import Row
from vcsctl.domain.outcome import Started
from vcsctl.domain.run import Claim, service_of
from vcsctl.store import codec, files, history, records, running, state
from vcsctl.store.cell import Cell, make_cell
from vcsctl.store.paths import Paths, is_part
from vcsctl.store.records import Faults
from vcsctl.store.running import RunningReader

MOST_COPIED_BYTES = 1 << 17  # at one look: some three hundred outcomes


def enter(root: str) -> Cell:
    """Made where there is none: an empty directory here is a new machine, not a share that is away."""
    return make_cell(Paths(root))


def has_records(root: str) -> bool:
    return bool(files.names(Paths(root).states))


def living(paths: Paths) -> Iterator[tuple[Claim, Started]]:
    """The runs that are on record as begun and not as over."""
    for stored in RunningReader(paths, Faults()).read().values():
        claim = stored.value
        started = state.read_started(paths, claim.key, claim.fence)
        if started is not None and not running.is_over(paths, claim.key, claim.fence):
            yield claim, started


def runners(root: str) -> list[Started]:
    return [started for _, started in living(Paths(root))]


def begin_numbers(paths: Paths, key: str, node: str) -> None:
    """Sees to it that the numbers of a KEY without records begin where none were used before.

    Their outcomes go into the history of the shared directory, where those of a local cell that was lost are too. So
    the first number is the time in seconds: more than there can have been runs. It is taken by a claim that starts
    nothing.
    """
    if state.read_key(paths, key, Faults()).fence:
        return
    files.make_folder(paths.state(key))
    why = "the numbers of this machine's cell begin here"
    claim = Claim(key, int(time.time()), service_of(key), node, "none", why)
    records.publish(paths.claim(key, claim.fence), claim, sync_folder=True)


class Outcomes:
    """The history of the local cell, read on from where its rows are in the shared history already."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._file = paths.copied()
        self._read: dict[str, int] | None = None  # path within the history → bytes that were copied

    def new(self) -> tuple[list[Row], dict[str, int]]:
        """Rows of one service that are not known to be copied, and how far they reach: to be told to `done`."""
        known = self._positions()
        for service in sorted(filter(is_part, files.names(self._paths.folder("history")))):
            for name in sorted(files.names(self._paths.history_folder(service))):
                path = f"{self._paths.history_folder(service)}/{name}"
                begin = known.get(f"{service}/{name}", 0)
                rows, end = history.read_on(path, begin, MOST_COPIED_BYTES)
                if end > begin:
                    return rows, {f"{service}/{name}": end}
        return [], {}

    def done(self, reached: dict[str, int]) -> None:
        positions = self._positions() | reached
        files.replace(self._file, json.dumps(positions).encode(), durable=True)
        self._read = positions

    def _positions(self) -> dict[str, int]:
        """What is damaged or lost is begun anew: each row is then looked for before it is written."""
        if self._read is None:
            found = files.read(self._file) if os.path.basename(self._file) in files.names(self._paths.root) else None
            try:
                plain = json.loads(found[0]) if found else {}
                self._read = {str(path): int(position) for path, position in plain.items()}
            except (ValueError, AttributeError, TypeError):
                self._read = {}
        return self._read


def mirror(paths: Paths, path: str, record: object | None) -> None:
    """Makes a record of the shared directory the local one under `path`; None removes it."""
    if record is None:
        files.remove(path)
    else:
        files.replace(path, codec.encode(record), durable=True)
    files.sync_directory(os.path.dirname(path))
