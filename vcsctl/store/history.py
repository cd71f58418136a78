"""History on the shared directory: one file per service, month and node, appended by that node's vcsd alone.

Beside it each node keeps an index of the last outcome of each KEY, so that `status` need not open a file per
service. The index is derived: losing it loses nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

from vcsctl.domain.history import Row
from vcsctl.store import codec, files, records
from vcsctl.store.paths import Paths

# A number's records are pruned soon after they are written here, so a repetition is among the newest lines.
_LOOK_BACK_LINES = 1000


def month_of(row: Row) -> str:
    return row.at.strftime("%Y-%m")


def append(paths: Paths, node: str, service_rows: list[Row], *, check: bool) -> list[str]:
    """Appends rows of one service; with `check`, leaves out those on record. The files touched, not yet synced."""
    touched = []
    for month in sorted({month_of(row) for row in service_rows}):
        chosen = [row for row in service_rows if month_of(row) == month]
        path = paths.history(chosen[0].service, month, node)
        if check:
            known = {row.id for row in islice(_rows_of(path), _LOOK_BACK_LINES)}
            chosen = [row for row in chosen if row.id not in known]
        if chosen:
            with files.named_faults("make", os.path.dirname(path)):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            records.append_line(path, b"".join(codec.encode(row) for row in chosen))
        touched.append(path)
    return touched


def read(paths: Paths, service: str) -> Iterator[Row]:
    """The rows of one service from all nodes, newest first."""
    folder = paths.history_folder(service)
    by_month: dict[str, list[str]] = {}
    for name in files.names(folder):
        if name.endswith(".jsonl") and len(name) > len("YYYY-MM."):
            by_month.setdefault(name[:7], []).append(f"{folder}/{name}")
    for month in sorted(by_month, reverse=True):
        found = [row for path in by_month[month] for row in _rows_of(path)]
        yield from sorted(found, key=lambda row: row.at, reverse=True)


def _rows_of(path: str) -> Iterator[Row]:
    """Newest first; a line that is torn or foreign is skipped."""
    for line in records.lines_backwards(path):
        try:
            yield codec.decode(Row, line)
        except codec.BadRecordError:
            continue


def append_last(paths: Paths, node: str, rows: Iterable[Row]) -> None:
    records.append_line(paths.node_runs(node), b"".join(codec.encode(row) for row in rows))


def read_last(paths: Paths) -> dict[str, Row]:
    """The last run of each KEY, by the indexes of all nodes."""
    last: dict[str, Row] = {}
    for name in files.names(paths.nodes):
        if name.endswith(".runs.jsonl"):
            for row in _rows_of(f"{paths.nodes}/{name}"):
                if row.key not in last or row.at > last[row.key].at:
                    last[row.key] = row
    return last


def compact_last(paths: Paths, node: str) -> None:
    """Rewrites this node's index with one line per KEY."""
    own: dict[str, Row] = {}
    for row in _rows_of(paths.node_runs(node)):
        own.setdefault(row.key, row)
    files.replace(paths.node_runs(node), b"".join(codec.encode(row) for row in own.values()))
