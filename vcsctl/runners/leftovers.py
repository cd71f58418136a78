"""What is left on this machine of runs whose outcome is on record: ended, and told to the caller. Records nothing.

A runner ends what its command leaves behind, and vcsd what a killed runner leaves. Both may be killed, and another
node may then have found the run's lock free and recorded it as lost before vcsd is back.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.runners import cgroups, proc
from vcsctl.store import running
from vcsctl.store.paths import Paths


def log_path(log_dir: str, key: str, run_id: str) -> str:
    """A run's log: what its command and its runner have as standard output."""
    return f"{log_dir}/{service_of(key)}/{run_id}.log"


def log_path_of_daemon(log_dir: str, key: str) -> str:
    """A daemon's log, one over all its runs; older parts of it are `.1` and so on."""
    return f"{log_dir}/{service_of(key)}/{key}.log"


def end_leftovers(paths: Paths, base: str, log_dir: str, live: Collection[str]) -> list[str]:
    """The runs whose leftovers were killed. `base`: of the cell's control groups. `live`: the ids of own runs."""
    killed = []
    for run_id, path in cgroups.of_cell(base).items():
        parsed = parse_run_id(run_id)
        if parsed is None or run_id in live or not running.is_over(paths, *parsed):
            continue
        logs = (log_path(log_dir, parsed[0], run_id), log_path_of_daemon(log_dir, parsed[0]))
        if cgroups.is_empty(path):
            cgroups.remove(path)
        elif not _has_runner(path, logs):
            cgroups.kill(path)
            killed.append(run_id)
    return killed


def _has_runner(path: str, logs: tuple[str, ...]) -> bool:
    """Whether the run's runner lives: one that may go on without its locks still sees to its command."""
    members = set(cgroups.members(path))
    parents = {proc.parent_of(pid) for pid in members} - members
    return any(parent is not None and _writes(parent, logs) for parent in parents)


def _writes(pid: int, logs: tuple[str, ...]) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/1") in logs
    except OSError:
        return False
