"""What the kernel tells of processes and of this machine, under /proc. Decides nothing."""

from __future__ import annotations

import os


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def machine_id() -> str:
    """What tells this machine from all others, whatever they are called; empty where the system does not say."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def process_started(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot: with the pid it names a process once and for all."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def parent_of(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[1]) if fields else None


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command name, which may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def children_of(parent: int) -> list[int]:
    """The living and dead children of a process (not every kernel offers /proc/PID/task/TID/children)."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _stat_fields(int(name))) and int(fields[1]) == parent:
            found.append(int(name))
    return found


def descendants_of(ancestor: int) -> list[int]:
    """Parents before their children. Who asks as a subreaper sees all that it ever started."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (fields := _stat_fields(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found = list(children.get(ancestor, ()))
    for pid in found:  # grows while it is read
        found += children.get(pid, ())
    return found


def descends_from(pid: int, ancestor: int) -> bool:
    return _descends_from(pid, ancestor) or _descends_from(pid, ancestor)  # one on the way may have died meanwhile


def _descends_from(pid: int, ancestor: int) -> bool:
    while pid > 1:
        parent = parent_of(pid)
        if parent is None or parent == ancestor:
            return parent is not None
        pid = parent
    return False


def session_of(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return int(fields[3]) if fields else None
