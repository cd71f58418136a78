"""Opens files of the shared directory so that a file server or a node that is gone holds up nobody else. No content.

Two things were seen over NFSv4. A server hands out a *delegation* with an ordinary open: to open the same file for
writing, to rename or to remove it, every other node then waits for the delegation to come back, and from a node that
died it comes back when the lease has run out: the living ones stood still for 40 s at a lease of 30 s. A client that
opens with O_DIRECT asks for none.

And a process that ends waits until what was written through its descriptors has reached the server, its own or a
copy's. The locks' descriptors are inherited by a job and all that it starts: while the server was away, a job could not
even end a `sleep`. What is written directly leaves nothing to wait for.

Only over NFS: it takes anything directly, other file systems whole blocks or nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_STALE_TRIES = 3  # a heartbeat is replaced every few seconds: it is not met so often in a row
_is_nfs: dict[int, bool] = {}  # device → what lies there, as far as this process has asked


def open_shared(path: str, flags: int, mode: int = 0o777) -> int:
    """As os.open, without leaving a delegation; reading and writing go the usual way."""
    try:
        descriptor = open_direct(path, flags, mode)
    except OSError as error:
        if error.errno != errno.EINVAL or _is_file(path):
            raise
        return os.open(path, flags, mode)  # a directory or a pipe is not opened directly, and leaves no delegation
    if _on_nfs(path):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & os.O_NONBLOCK)
    return descriptor


def open_direct(path: str, flags: int, mode: int = 0o777) -> int:
    """The same, and over NFS what is written goes to the server at once and past this machine's memory."""
    return os.open(path, flags | os.O_DIRECT if _on_nfs(path) else flags, mode)


def _is_file(path: str) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _on_nfs(path: str) -> bool:
    device = os.stat(os.path.dirname(path)).st_dev
    if (known := _is_nfs.get(device)) is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            return False
        known = _is_nfs[device] = is_nfs(text, f"{os.major(device)}:{os.minor(device)}")
    return known


def is_nfs(mountinfo: str, device: str) -> bool:
    """Whether a device is a mount of an NFS server, by the kernel's list."""
    for line in mountinfo.splitlines():
        own, _, filesystem = line.partition(" - ")
        if own.split(" ")[2:3] == [device]:
            return filesystem.partition(" ")[0] in ("nfs", "nfs4")
    return False


def again_where_stale(call: Callable[[], T]) -> T:
    """A file that another node replaces between our finding and our reading it is stale over NFS; the name is not."""
    for _ in range(_STALE_TRIES):
        try:
            return call()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return call()
