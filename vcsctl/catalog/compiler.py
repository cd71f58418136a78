"""Compiles the layers into a snapshot, in a child process of vcsd; only what changed is read again.

A bad unit keeps its last good version, which the snapshot before carries. While a whole layer cannot be had
(its directory is unreadable, or others may write to it), all that it declared stays as it was.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import vcsctl
from vcsctl.catalog.conflicts import Conflict, conflicts
from vcsctl.catalog.scan import Fragments, Layers, scan
from vcsctl.catalog.snapshot import CompiledUnit, Snapshot, read_snapshot, write_snapshot
from vcsctl.errors import TRY_AGAIN, Problem, VcsError

if TYPE_CHECKING:
    from vcsctl.catalog.layers import Loaded

# A file written twice within the clock's grain can look the same both times: what is younger is not believed.
_GRAIN_NS = 2_000_000_000
Stamp = tuple[Any, ...]
MADE_BY = f"vcsctl {vcsctl.__version__} python {sys.version_info.major}.{sys.version_info.minor}"


def compile_layers(layers: Layers, before: Snapshot | None) -> tuple[Snapshot, list[str], list[str]]:
    """The snapshot, the names that changed, the names that went."""
    known = before.units if before else {}
    # Another version may judge the same file otherwise.
    believed = known if before and before.made_by == MADE_BY else {}
    found, problems = scan(layers)
    lost = tuple(f"{problem.path}/" for problem in problems if not problem.warning)
    units = _compile(found, known, believed, _hidden(found, known, lost, layers) if lost else set())
    changed = [name for name, unit in units.items() if _is_changed(unit, known.get(name))]
    return Snapshot(units, tuple(problems), MADE_BY), changed, sorted(known.keys() - units.keys())


def _is_changed(unit: CompiledUnit, before: CompiledUnit | None) -> bool:
    return unit is not before and (before is None or _content(unit) != _content(before))


def _content(unit: CompiledUnit) -> tuple[Any, ...]:
    return unit.digest, unit.masked, unit.stale, unit.fragments


def _hidden(
    found: dict[str, Fragments], known: dict[str, CompiledUnit], lost: tuple[str, ...], layers: Layers
) -> set[str]:
    """The names that layers which cannot be had now may declare: those they declared, and what is new below them."""
    names = {name for name, unit in known.items() if any(path.startswith(lost) for path in unit.fragments)}
    return names | (found.keys() - known.keys()) if f"{layers.site}/" in lost else names


def _compile(
    found: dict[str, Fragments],
    known: dict[str, CompiledUnit],
    believed: dict[str, CompiledUnit],
    hidden: set[str],
) -> dict[str, CompiledUnit]:
    units: dict[str, CompiledUnit] = {}
    now_ns = time.time_ns()
    for name in sorted(found.keys() | hidden):
        if name in hidden:
            units[name] = _kept(name, found.get(name), known.get(name))
            continue
        fragments = found[name]
        stamp = () if fragments.problems else _stamp(fragments.paths, now_ns)
        old = believed.get(name)
        if old is not None and stamp and old.stamp == stamp:
            units[name] = old
        else:
            units[name] = _load(fragments, stamp, known.get(name))
    for name, faults in _conflicts_by_daemon(units).items():
        if name not in hidden:
            units[name] = _load(found[name], (), known.get(name), faults)
    return units


def _conflicts_by_daemon(units: dict[str, CompiledUnit]) -> dict[str, list[Conflict]]:
    by_daemon: dict[str, list[Conflict]] = {}
    for conflict in conflicts(unit.plain for unit in units.values() if unit.plain is not None):
        if not units[conflict.daemon].stale:
            by_daemon.setdefault(conflict.daemon, []).append(conflict)
    return by_daemon


def _stamp(paths: tuple[str, ...], now_ns: int) -> Stamp:
    """What identifies the content of the files; empty when it cannot be believed.

    Taken before the file is read: a change in between shows at the next time.
    """
    stamp: list[Any] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            return ()
        if now_ns - max(status.st_mtime_ns, status.st_ctime_ns) < _GRAIN_NS:
            return ()
        stamp += (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return tuple(stamp)


def _load(
    fragments: Fragments, stamp: Stamp, before: CompiledUnit | None, faults: list[Conflict] | None = None
) -> CompiledUnit:
    # Only who meets a changed file pays for YAML and pydantic: they take longer to load than 10,000 stamps to check.
    from vcsctl.catalog import layers
    from vcsctl.catalog.validate import problem_at

    one: Loaded = layers.load_one(fragments)
    problems = one.problems
    if faults and one.tree is not None:
        problems += tuple(problem_at(one.tree, ("groups", fault.place), fault.text) for fault in faults)
    if one.unit is not None and not faults:
        plain, digest = layers.plain_and_digest(one.unit)
        return CompiledUnit(one.name, plain, False, False, digest, one.fragments, problems, stamp)
    if one.masked:
        return CompiledUnit(one.name, None, True, False, "masked", one.fragments, problems, stamp)
    # No stamp: what is bad may become good by what is not in the files, a time zone or a neighbour.
    return _last_good(one.name, before, one.fragments, problems)


def _kept(name: str, fragments: Fragments | None, before: CompiledUnit | None) -> CompiledUnit:
    if before is not None and before.masked:
        return before
    paths = before.fragments if before is not None else fragments.paths if fragments else ()
    return _last_good(name, before, paths, before.problems if before else ())


def _last_good(
    name: str,
    before: CompiledUnit | None,
    paths: tuple[str, ...],
    problems: tuple[Problem, ...],
) -> CompiledUnit:
    if before is not None and before.plain is not None:
        return CompiledUnit(name, before.plain, False, True, before.digest, paths, problems, ())
    return CompiledUnit(name, None, False, False, "broken", paths, problems, ())


def main() -> int:
    gc.disable()  # nothing made here goes before the process does
    parser = argparse.ArgumentParser(description="compile unit files for vcsd")
    parser.add_argument("--vendor", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--snapshot", required=True)
    arguments = parser.parse_args()
    before = read_snapshot(arguments.snapshot)
    try:
        after, changed, removed = compile_layers(Layers(arguments.vendor, arguments.site), before)
        if after != before:
            write_snapshot(arguments.snapshot, after)
    except VcsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a child process: its output is read by vcsd
        return error.exit_code
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"cannot write {arguments.snapshot}: {reason}", file=sys.stderr)  # noqa: T201
        return TRY_AGAIN
    print(json.dumps({"changed": changed, "removed": removed, "problems": len(after.all_problems)}))  # noqa: T201
    return 0


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # taking thousands of units apart, one by one, would take as long as reading them
