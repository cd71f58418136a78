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
