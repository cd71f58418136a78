"""What the processes of a run use: of its control group where it has one of its own, else of its process tree.

Reads /proc and cgroup files of this machine; signals nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping

from vcsctl.runners import cgroups

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_KIB_A_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


def measure(runs: Mapping[str, tuple[int, int]], base: str | None) -> dict[str, tuple[float, int]]:
    """Run id → CPU seconds and KiB of memory, for runs given with the pids of their runners and main processes. `base`
    as `cgroups.find_base` found it: the groups of another cell's runs lie beside."""
    found, without = {}, dict[str, int]()
    for run_id, (runner, main) in runs.items():
        used = _of_cgroup(f"{os.path.dirname(base)}/{group}") if base and (group := _own_group(main, run_id)) else None
        if used is None:
            without[run_id] = runner
        else:
            found[run_id] = used
    return found | (_of_trees(without) if without else {})


def _own_group(main: int, run_id: str) -> str:
    """The name of the control group that is that run's alone; empty where it has none."""
    try:
        with open(f"/proc/{main}/cgroup") as file:
            path = next((line.strip()[3:] for line in file if line.startswith("0::")), "")
    except OSError:
        return ""
    name = os.path.basename(path)
    return name if name.endswith(f"-{run_id}") else ""


def _of_cgroup(path: str) -> tuple[float, int] | None:
    try:
        with open(f"{path}/cpu.stat") as file:
            cpu_us = next(int(line.split()[1]) for line in file if line.startswith("usage_usec"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        with open(f"{path}/memory.current") as file:
            return cpu_us / 1e6, int(file.read()) // 1024
    except (OSError, ValueError):  # that controller is not handed down to it
        return cpu_us / 1e6, sum(_resident_kib(pid) for pid in cgroups.members(path))


def _of_trees(runners: Mapping[str, int]) -> dict[str, tuple[float, int]]:
    """All that descends from each runner, without itself: it is a subreaper, so nothing escapes it."""
    children: dict[int, list[int]] = defaultdict(list)
    cpu_s = dict[int, float]()
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _fields(int(name))):
            children[int(fields[1])].append(int(name))
            cpu_s[int(name)] = sum(map(int, fields[11:15])) / _TICKS_A_SECOND  # with its reaped children's
    found = {}
    for run_id, runner in runners.items():
        tree, ahead = list[int](), list(children[runner])
        while ahead:
            tree.append(pid := ahead.pop())
            ahead += children[pid]
        found[run_id] = (sum(cpu_s[pid] for pid in tree), sum(_resident_kib(pid) for pid in tree))
    return found


def _fields(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _resident_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _KIB_A_PAGE
    except (OSError, ValueError, IndexError):
        return 0
