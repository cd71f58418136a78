"""The few system calls of Linux that Python's library does not offer. Decides nothing.

Loaded by vcsd before it forks: a runner imports nothing, so that an upgrade cannot pull the rug.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_libc = ctypes.PyDLL(None, use_errno=True)
_unlocked_libc = ctypes.CDLL(None, use_errno=True)  # for calls that take time: the other threads go on
_FALLOC_FL_COLLAPSE_RANGE = 0x08
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SYS_CLONE3 = 435  # one number on every architecture
_CLONE_INTO_CGROUP = 0x200000000


class _CloneArguments(ctypes.Structure):
    """struct clone_args of clone(2), up to the field `cgroup`."""

    _fields_ = [(name, ctypes.c_uint64) for name in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
        "set_tid_size", "cgroup",
    )]  # fmt: skip


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_subreaper() -> None:
    """Orphaned descendants become our children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """A signal for this process when its parent dies. Reset by a change of user, so set it last before exec."""
    _prctl(_PR_SET_PDEATHSIG, number)


def fork() -> int:
    """fork(2) without Python's at-fork handlers, for a process of one thread.

    filelock registers handlers that walk its (here non-existent) lock objects: measured 2.8 ms a fork against
    0.9 ms without. Nothing else in this project relies on such handlers.
    """
    pid = int(_libc.fork())
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return pid


def fork_into_cgroup(cgroup: str) -> int:
    """fork into a control group from the first instruction on; moving in later costs a wait for all CPUs."""
    folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        arguments = _CloneArguments(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=folder)
        pid = int(_libc.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
        if pid < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return pid
    finally:
        os.close(folder)


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


def collapse(descriptor: int, size: int) -> None:
    """Cuts the beginning off a file, in whole blocks. Raises OSError where the file system cannot."""
    if _unlocked_libc.fallocate(descriptor, _FALLOC_FL_COLLAPSE_RANGE, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def groups_of(user: str, group: int) -> tuple[int, ...]:
    """As os.getgrouplist, which lets no other thread go on while it waits for who knows the accounts."""
    room = 64
    while True:
        groups, count = (ctypes.c_uint32 * room)(), ctypes.c_int(room)
        arguments = os.fsencode(user), ctypes.c_uint32(group), groups, ctypes.byref(count)
        if _unlocked_libc.getgrouplist(*arguments) >= 0:
            return tuple(groups[: count.value])
        room = max(2 * room, count.value)


def signal_name(number: int) -> str:
    """SIGKILL, or the number of a real-time signal, most of which have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def kill(pid: int, number: int) -> None:
    """Signals a process that may be gone already, or may have become another user's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_session(leader: int, number: int) -> None:
    """Signals the process group of a command that leads its own session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
