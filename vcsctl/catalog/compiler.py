"""Compiles the layers into a snapshot, in a child process of vcsd; only what changed is read again.

A bad unit keeps its last good version, taken from the snapshot before. A file counts as unchanged while
device, inode, size, mtime and ctime are the same and were older than two seconds when they were noted: a file
written twice within the clock's grain would look the same.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import Any

from vcsctl.catalog import layers as layering
from vcsctl.catalog.snapshot import CompiledUnit, Snapshot, read_snapshot, write_snapshot
from vcsctl.domain.unit import to_plain
from vcsctl.errors import Problem, VcsError

_GRAIN_NS = 2_000_000_000


def compile_layers(layers: layering.Layers, before: Snapshot | None) -> tuple[Snapshot, list[str], list[str]]:
    """The snapshot, the names that changed, the names that went."""
    found, problems = layering.scan(layers)
    known = before.units if before else {}
    units: dict[str, CompiledUnit] = {}
    changed = []
    loaded: dict[str, layering.Loaded] = {}
    for name, fragments in sorted(found.items()):
        stamp = _stamp(fragments.paths)
        if stamp and name in known and known[name].stamp == stamp and not known[name].problems:
            units[name] = known[name]
            continue
        one = layering.load_one(fragments)
        loaded[name] = one
        units[name] = _compiled(one, known.get(name), stamp)
        if name not in known or _content(units[name]) != _content(known[name]):
            changed.append(name)
    problems += _cross_problems(layers, units, loaded)
    removed = sorted(known.keys() - units.keys())
    return Snapshot(units, tuple(problems)), changed, removed


def _compiled(one: layering.Loaded, before: CompiledUnit | None, stamp: tuple[Any, ...]) -> CompiledUnit:
    if one.unit is not None:
        plain: dict[str, Any] | None = json.loads(json.dumps(to_plain(one.unit)))
        digest, stale = layering.digest_of(one.unit), False
    elif not one.masked and before is not None and before.plain is not None:
        plain, digest, stale = before.plain, before.digest, True
    else:
        plain, digest, stale = None, "masked" if one.masked else "broken", False
    return CompiledUnit(one.name, plain, one.masked, stale, digest, one.fragments, one.problems, stamp)


def _content(unit: CompiledUnit) -> tuple[Any, ...]:
    return unit.digest, unit.masked, unit.stale, unit.fragments


def _stamp(paths: tuple[str, ...]) -> tuple[Any, ...]:
    """What identifies the content of the files; empty when it cannot be trusted yet."""
    now_ns = time.time_ns()
    stamp: list[Any] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            return ()
        if now_ns - max(status.st_mtime_ns, status.st_ctime_ns) < _GRAIN_NS:
            return ()
        stamp += [path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return tuple(stamp)


def _cross_problems(
    layers: layering.Layers, units: dict[str, CompiledUnit], loaded: dict[str, layering.Loaded]
) -> list[Problem]:
    """Needs the units themselves only where a daemon has groups at all."""
    has_grouped_daemon = any(
        unit.plain and unit.plain["schedule"] == "daemon" and unit.plain.get("groups") for unit in units.values()
    )
    return layering.cross_problems(layering.load(layers)[0]) if has_grouped_daemon else []


def main() -> int:
    gc.disable()  # nothing here lives beyond the process
    parser = argparse.ArgumentParser(description="compile unit files for vcsd")
    parser.add_argument("--vendor", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--snapshot", required=True)
    arguments = parser.parse_args()
    before = read_snapshot(arguments.snapshot)
    try:
        after, changed, removed = compile_layers(layering.Layers(arguments.vendor, arguments.site), before)
        if before is None or after != before:
            write_snapshot(arguments.snapshot, after)
    except VcsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a child process: its output is read by vcsd
        return error.exit_code
    summary = {"changed": changed, "removed": removed, "problems": len(after.all_problems)}
    print(json.dumps(summary))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
