"""Opens files of the shared directory so that a file server or a node that is gone holds up nobody else. No content.

Two things were seen over NFSv4. A server hands out a *delegation* with an ordinary open: to open the same file for
writing, to rename or to remove it, every other node then waits for the delegation to come back, and from a node that
died it comes back when the lease has run out: the living ones stood still for 40 s at a lease of 30 s. A client that
opens with O_DIRECT asks for none.

And a process that ends waits until what was written through its descriptors has reached the server, its own or a
copy's. The locks' descriptors are inherited by a job and all that it starts: while the server was away, a job could not
even end a `sleep`. What is written directly leaves nothing to wait for.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_STALE_TRIES = 3  # a heartbeat is replaced every few seconds: it is not met so often in a row


def open_shared(path: str, flags: int, mode: int = 0o777) -> int:
    """As os.open, without O_EXCL and O_APPEND: no delegation, and then the usual way of reading and writing."""
    descriptor = open_direct(path, flags, mode)
    _take_back(descriptor)
    return descriptor


def open_direct(path: str, flags: int, mode: int = 0o777) -> int:
    """The same, for reading and writing directly; each call on the descriptor goes through `directly`."""
    try:
        return os.open(path, flags | os.O_DIRECT, mode)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system, mostly in memory, that has no direct way
            raise
        return os.open(path, flags, mode)


def directly(descriptor: int, call: Callable[[], T]) -> T:
    """Disks take only whole blocks directly, NFS takes anything: where it is refused, all goes the usual way."""
    try:
        return call()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _take_back(descriptor)
        return call()


def again_where_stale(call: Callable[[], T]) -> T:
    """A file that another node replaces between our finding and our reading it is stale over NFS; the name is not."""
    for _ in range(_STALE_TRIES):
        try:
            return call()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return call()


def _take_back(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT)
