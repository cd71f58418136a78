"""Kernel locks on files of the shared directory: taken all or none, proved, handed on, let go. Decides nothing.

flock belongs to the open file description: the copies that a runner and its command inherit keep it held
until the last of them is closed or one of them unlocks. Lock files are never unlinked or renamed. Over NFS
flock is a byte-range lock, so the file must be open for writing. `FileLock` objects are not used: their
release, deletion and exit hooks unlock for the child too.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import NoReturn

import filelock

from vcsctl.errors import NoSpaceError, RefusedError, StorageError
from vcsctl.store.files import named_faults
from vcsctl.store.opening import open_direct, open_shared
from vcsctl.store.paths import Paths

_CONTENT_SIZE = 256
_PROOF = b"proved\n"
_CONTENT = re.compile(rb"(\d{1,18}) ([^\n]*?) *\n")


@dataclass(frozen=True, slots=True)
class LockFile:
    """What a lock file says: the fence number last given out, and who held it then (for display)."""

    fence: int
    holder: str


def read_lock_file(path: str) -> LockFile | None:
    """None when the lock was never held or its content is damaged."""
    try:
        descriptor = open_shared(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        content = os.read(descriptor, _CONTENT_SIZE)
    finally:
        os.close(descriptor)
    match = _CONTENT.fullmatch(content)
    return LockFile(int(match[1]), match[2].decode(errors="replace")) if match else None


@dataclass(slots=True)
class HeldLock:
    """One lock we hold through `descriptor`."""

    path: str
    descriptor: int

    def write(self, fence: int, holder: str) -> None:
        text = f"{fence} {holder}"[: _CONTENT_SIZE - 2]
        with named_faults("write the lock", self.path):
            content = text.encode("ascii", "replace").ljust(_CONTENT_SIZE - 1) + b"\n"
            os.pwrite(self.descriptor, content, 0)
        self.prove()

    def prove(self) -> None:
        """The only proof of still holding it: on a lost lock flock() and fstat() say yes, writing out says EIO.

        Written behind the number: a proof that comes late, when the next holder has raised it, must not put back ours.
        A file that lost its name excludes nobody: the next one locks another. Over NFS one that was removed on this
        node has another name still, and a link.
        """
        with named_faults("prove the lock", self.path):
            os.pwrite(self.descriptor, _PROOF, _CONTENT_SIZE)
            os.fdatasync(self.descriptor)
            is_there = is_the_file_at(self.path, self.descriptor)
        if not is_there:
            what = "was removed or renamed, and with it the lock"
            raise StorageError(f"the lock file {self.path} {what}; leave lock files alone")

    def close(self) -> None:
        """Gives up our copy. It is gone whatever close() says, which on a network's file system may be that the server
        is away or the lock is lost: who closed it again would close somebody else's descriptor."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def next_fence(self) -> int:
        with named_faults("read the lock", self.path):
            content = os.pread(self.descriptor, _CONTENT_SIZE, 0)
        if not content.strip(b"\0"):
            return 1
        if match := _CONTENT.fullmatch(content):
            return int(match[1]) + 1
        return int(time.time())  # a damaged counter must still grow: no count of runs reaches the seconds since 1970


def try_lock(path: str) -> HeldLock | None:
    """The lock, or None when somebody else holds it. Raises StorageError when the storage cannot lock."""
    with named_faults("lock", path):
        descriptor = open_direct(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if filelock.lock_descriptor(descriptor, blocking=False) and is_the_file_at(path, descriptor):
                return HeldLock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


class NodeLock:
    """The lock that makes a node's name one vcsd's."""

    def __init__(self, paths: Paths, node: str) -> None:
        self._paths = paths
        self._node = node
        self._holder = ""  # what we have signed with
        self._lock: HeldLock | None = None

    def take(self) -> None:
        """Raises RefusedError while another vcsd has it."""
        path = self._paths.node_lock(self._node)
        lock = try_lock(path)
        if lock is None:
            self._refuse_another(path)
        try:
            # Two machines may have one pid: each lock is signed once in the world.
            self._holder = self._holder or f"{self._node} pid {os.getpid()} {os.urandom(4).hex()}"
            lock.write(lock.next_fence(), self._holder)
        except BaseException:
            lock.close()  # else the next try would meet our own lock and believe in another vcsd
            raise
        self._lock = lock

    def keep(self) -> None:
        """Takes it anew when it was lost: a file server gives away what it has not heard of for a lease.

        Raises RefusedError when another vcsd was faster, StorageError while nobody can tell.
        """
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                lock.prove()
            except NoSpaceError:  # which proves nothing
                pass
            except StorageError:
                lock.close()
                lock = None
        if lock is None:
            self.take()
        else:
            self._lock = lock

    def _refuse_another(self, path: str) -> NoReturn:
        """Who takes it signs it before doing anything else. Where a call gives up (a soft mount), a proof may fail
        although the lock is ours, and its release may never arrive: then we meet ourselves."""
        with named_faults("read the lock", path):
            found = read_lock_file(path)
        if self._holder and (found is None or found.holder == self._holder):
            raise StorageError(
                f"the lock {path} is held, and its last holder was this vcsd: the file server has not let it go yet;"
                " if that lasts longer than its lease, mount the share anew, with hard"
            )
        raise RefusedError(
            f"another vcsd runs as node {self._node}; stop it, or give this one another name in vcs.yaml"
        )


def is_the_file_at(path: str, descriptor: int) -> bool:
    """A lock on a file that was unlinked or renamed excludes nobody."""
    ours = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


class Grant:
    """All the locks one run needs: its KEY's and its groups'. `beside`: one that says the same in another cell."""

    def __init__(self, key: HeldLock, groups: dict[str, HeldLock], beside: HeldLock | None = None) -> None:
        self.key = key
        self.groups = groups
        self.beside = beside
        self._kept = False

    @property
    def locks(self) -> list[HeldLock]:
        return [self.key, *self.groups.values(), *((self.beside,) if self.beside else ())]

    @property
    def descriptors(self) -> list[int]:
        return [lock.descriptor for lock in self.locks]

    def raise_fences(self, key_fence: int, holder: str) -> dict[str, int]:
        """Gives each group its next fence number, on disk before anybody sees it; this is the first proof."""
        self.key.write(key_fence, holder)
        fences = {}
        for group, lock in self.groups.items():
            fences[group] = lock.next_fence()
            lock.write(fences[group], holder)
        return fences

    def prove(self) -> None:
        for lock in self.locks:
            lock.prove()

    def unlock(self) -> None:
        """Frees the locks for everybody, whoever still has a copy of the descriptors. The end of a run."""
        for lock in reversed(self.locks):
            with contextlib.suppress(OSError):
                filelock.unlock_descriptor(lock.descriptor)

    def close(self) -> None:
        """Gives up our copies; a runner that has its own keeps the locks."""
        for lock in self.locks:
            lock.close()

    def keep(self) -> Grant:
        """Marks the grant as handed over: it stays open beyond the block that took it."""
        self._kept = True
        return self

    @property
    def is_kept(self) -> bool:
        return self._kept

    def close_unless_kept(self) -> None:
        if not self._kept:
            self.close()


def take(key_path: str, group_paths: dict[str, str]) -> Grant | str:
    """All or none, without waiting, in sorted order; or the path of the lock that is held by another."""
    key = try_lock(key_path)
    if key is None:
        return key_path
    grant: Grant | str = ""
    try:
        grant = take_groups(key, group_paths)
        return grant
    finally:
        if not isinstance(grant, Grant):
            key.close()


def take_groups(key: HeldLock, group_paths: dict[str, str]) -> Grant | str:
    """The same for one who holds the KEY's lock, and keeps it when a group is another's."""
    held: dict[str, HeldLock] = {}
    try:
        for group, path in sorted(group_paths.items()):
            lock = try_lock(path)
            if lock is None:
                return path
            held[group] = lock
    finally:
        if len(held) < len(group_paths):
            for lock in held.values():
                lock.close()
    return Grant(key, held)
