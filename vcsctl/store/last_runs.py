"""The index that each node keeps of the last outcome of each KEY, so that `status` need not open a file per service.

It follows from the history: losing it loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from vcsctl.domain.history import Row
from vcsctl.store import codec, files, records
from vcsctl.store.paths import RUNS, Paths


def append(paths: Paths, node: str, runs: Iterable[Row]) -> None:
    records.append_line(paths.node_runs(node), b"".join(codec.encode(row) for row in runs))


def read(paths: Paths) -> dict[str, Row]:
    """The last run of each KEY, by the indexes of all nodes."""
    last: dict[str, Row] = {}
    for name in files.names(paths.nodes):
        if name.endswith(RUNS):
            for row in records.decoded(Row, records.all_lines_backwards(f"{paths.nodes}/{name}")):
                if row.key not in last or row.at > last[row.key].at:
                    last[row.key] = row
    return last


def compact(paths: Paths, node: str) -> None:
    """Rewrites this node's index with one line per KEY."""
    own: dict[str, Row] = {}
    for row in records.decoded(Row, records.lines_backwards(paths.node_runs(node))):
        own.setdefault(row.key, row)
    files.replace(paths.node_runs(node), b"".join(codec.encode(row) for row in own.values()))
