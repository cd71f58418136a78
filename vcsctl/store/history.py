"""History on the shared directory: one file per service, month and node, appended by that node's vcsd alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import chain, islice, takewhile

from vcsctl.domain.history import Row, rows
from vcsctl.domain.run import service_of
from vcsctl.store import codec, files, records, state
from vcsctl.store.paths import Paths, is_part
from vcsctl.store.records import Faults

# A number's records are pruned soon after they are written here, so a repetition is among the newest lines.
_LOOK_BACK_LINES = 1000
# As the codec writes rows; within a text each quotation mark has a backslash before it.
_WENT_WELL = b'"outcome":"ok"'
_LASTED = re.compile(rb'^\{"version":\d+,"id":"[^"+]*",.*"duration_s":([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)[,}]')
_AT = re.compile(rb'"at":"([^"]*)"')
_SMALL_BLOCK = 1 << 14
# A node writes rows about in the order of their instants; so much later at most, unless it was away meanwhile.
_OUT_OF_ORDER = timedelta(hours=1)


def month_of(row: Row) -> str:
    return row.at.strftime("%Y-%m")


def append(paths: Paths, node: str, service_rows: list[Row], *, check: bool) -> list[str]:
    """Appends rows of one service; with `check`, leaves out those on record, by this node or another. The files
    that hold them, not yet synced."""
    touched = set()
    for month in sorted({month_of(row) for row in service_rows}):
        chosen = [row for row in service_rows if month_of(row) == month]
        path = paths.history(chosen[0].service, month, node)
        if check:
            known = _newest_ids(paths, chosen[0].service, month)
            touched |= {known[row.id] for row in chosen if row.id in known}
            chosen = [row for row in chosen if row.id not in known]
        if chosen:
            files.make_folder(paths.history_folder(chosen[0].service))
            records.append_line(path, b"".join(codec.encode(row) for row in chosen))
            touched.add(path)
    return sorted(touched)


def _newest_ids(paths: Paths, service: str, month: str) -> dict[str, str]:
    """The newest rows' ids, each with the file that holds it."""
    files_of_month = _by_month(paths, service).get(month, [])
    return {row.id: path for path in files_of_month for row in islice(_rows_of(path), _LOOK_BACK_LINES)}


def read(paths: Paths, service: str, answered: Callable[[], None] = lambda: None) -> Iterator[Row]:
    """The rows of one service from all nodes, newest first, each once.

    Outcomes that no node has written into the history yet are among them: the outcome's own record is what counts,
    and the node that made it may be down for long. `answered` is called for each: those of a busy month take longer
    than a share that hangs is given.
    """
    keys = [key for key in _keys(paths) if service_of(key) == service]
    return _each_once(_all_rows(paths, service, keys, answered))


def read_since(paths: Paths, services: Iterable[str], since: datetime) -> Iterator[Row]:
    """The same of several services, one after another, as far back as `since`. Of a file no more is read than that."""
    keys: dict[str, list[str]] = {}
    for key in _keys(paths):
        keys.setdefault(service_of(key), []).append(key)
    since = since.astimezone(UTC)
    for service in services:
        found = _unwritten(paths, keys.get(service, ()))
        for month, of_month in _by_month(paths, service).items():
            if month >= since.strftime("%Y-%m"):
                for path in of_month:
                    found += takewhile(lambda row: row.at >= since - _OUT_OF_ORDER, _rows_of(path))
        recent = (row for row in found if row.at >= since)
        yield from _each_once(sorted(recent, key=lambda row: row.at, reverse=True))


def services(paths: Paths) -> list[str]:
    """All that have a history, also those whose unit is gone."""
    return [name for name in files.names(paths.folder("history")) if is_part(name)]


def _keys(paths: Paths) -> list[str]:
    return [key for key in files.names(paths.states) if is_part(key)]


def _each_once(found: Iterable[Row]) -> Iterator[Row]:
    seen = set()
    for row in found:
        if row.id not in seen:
            seen.add(row.id)
            yield row


def durations(paths: Paths, service: str) -> Iterator[float | None]:
    """About newest first, for each row how long its run took, None where it is none that went well.

    For who asks of thousands of services what is usual: no row is decoded for it, and those whose records are not
    pruned yet change little there.
    """
    by_month = _by_month(paths, service)
    for month in sorted(by_month, reverse=True):
        lines = [records.lines_backwards(path, _SMALL_BLOCK) for path in by_month[month]]
        for line in merge(*lines, key=_at_of, reverse=True) if len(lines) > 1 else lines[0]:
            found = _LASTED.search(line) if _WENT_WELL in line else None
            yield float(found[1]) if found else None


def _at_of(line: bytes) -> bytes:
    found = _AT.search(line)
    return found[1] if found else b""


def _all_rows(paths: Paths, service: str, keys: Iterable[str], answered: Callable[[], None]) -> Iterator[Row]:
    unwritten = _unwritten(paths, keys)  # first: what is pruned meanwhile is in the history when that is read
    by_month = _by_month(paths, service)
    for row in unwritten:
        by_month.setdefault(month_of(row), [])
    for month in sorted(by_month, reverse=True):
        found = []
        for row in chain.from_iterable(map(_rows_of, by_month[month])):
            answered()
            found.append(row)
        found += [row for row in unwritten if month_of(row) == month]
        yield from sorted(found, key=lambda row: row.at, reverse=True)


def _by_month(paths: Paths, service: str) -> dict[str, list[str]]:
    folder = paths.history_folder(service)
    found: dict[str, list[str]] = {}
    for name in files.names(folder):
        if name.endswith(".jsonl") and len(name) > len("YYYY-MM."):
            found.setdefault(name[:7], []).append(f"{folder}/{name}")
    return found


def _unwritten(paths: Paths, keys: Iterable[str]) -> list[Row]:
    """The rows that follow from records which are not pruned yet: most are in the history too."""
    reader = state.StateReader(paths, Faults())
    finished = (pair for key in keys for pair in reader.finished(key, 0))
    return [row for claim, end in finished for row in rows(claim.value, claim.at, end.value if end else None)]


def _rows_of(path: str) -> Iterator[Row]:
    """Newest first."""
    return records.decoded(Row, records.lines_backwards(path))


def read_on(path: str, begin: int, most: int) -> tuple[list[Row], int]:
    """The rows behind byte `begin`, in the order of their writing, and where the last whole line of them ends."""
    with files.named_faults("read", path):
        try:
            if os.stat(path).st_size <= begin:  # who reads on asks again and again
                return [], begin
            with open(path, "rb") as file:
                file.seek(begin)
                text = file.read(most)
        except FileNotFoundError:
            return [], begin
    whole = text[: text.rfind(b"\n") + 1]
    return list(records.decoded(Row, whole.splitlines())), begin + len(whole)
