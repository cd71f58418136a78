"""What the file server (or the local disk) holds: names, inodes, locks, and what a power cut leaves of them.

Every method is one atomic act at one moment. Who may ask, and when the answer comes, is the caller's matter.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable
from random import Random
from typing import Any


def fault(number: int, path: str = "") -> OSError:
    return OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))


class Inode:
    __slots__ = ("data", "durable", "holder", "is_folder", "links", "modified_ns", "number", "opens")

    def __init__(self, number: int, now_ns: int, *, is_folder: bool = False) -> None:
        self.number = number
        self.is_folder = is_folder
        self.data = b""
        self.durable = b""  # what of `data` a power cut cannot take
        self.links = 0
        self.opens = 0
        self.modified_ns = now_ns
        self.holder: Any = None  # the open file that has the lock, as the server sees it


class Folder:
    __slots__ = ("inode", "names")

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.names: dict[str, tuple[Inode, float]] = {}  # with when the name came to be


class Disk:
    """`clock` tells the true time; the disk's own clock, which makes the mtimes, is `offset_s` away from it."""

    def __init__(self, clock: Callable[[], float], root: str, offset_s: float = 0.0, *, journals: bool = False) -> None:
        self.clock = clock
        self.offset_s = offset_s
        self.journals = journals  # a local disk; a file server has every change of names durable before it answers
        self.read_only = False
        self.full = False
        self.named: Callable[[str, Inode], None] | None = None  # told of each name that link or rename makes
        self.unnamed: Callable[[str], None] | None = None  # and of each that unlink takes
        self._free: list[int] = []
        self._freed: list[int] = []  # not used again before the change that freed them is durable
        self._next = 12
        self._undo: list[Callable[[], None]] = []  # changes of names that a power cut may still take
        self.inodes: set[Inode] = set()
        self.folders: dict[str, Folder] = {root: Folder(self._new(is_folder=True))}

    def now_ns(self) -> int:
        return round((self.clock() + self.offset_s) * 1e9)

    # Inodes. Their numbers are used again, the lowest first, as ext4 does.

    def _new(self, *, is_folder: bool = False) -> Inode:
        if self._free:
            number = heapq.heappop(self._free)
        else:
            number, self._next = self._next, self._next + 1
        inode = Inode(number, self.now_ns(), is_folder=is_folder)
        self.inodes.add(inode)
        return inode

    def forget_if_unused(self, inode: Inode) -> None:
        if not inode.links and not inode.opens and not inode.is_folder and inode in self.inodes:
            self.inodes.discard(inode)
            self._freed.append(inode.number)
            if not self.journals:
                self._commit()

    def _commit(self) -> None:
        self._undo.clear()
        for number in self._freed:
            heapq.heappush(self._free, number)
        self._freed.clear()

    def _remember(self, undo: Callable[[], None]) -> None:
        if self.journals:
            self._undo.append(undo)

    # Names.

    def folder(self, path: str) -> Folder:
        found = self.folders.get(path)
        if found is None:
            raise fault(errno.ENOENT, path)
        return found

    def find(self, path: str) -> tuple[Inode, float] | None:
        parent, _, name = path.rpartition("/")
        if path in self.folders:
            return self.folders[path].inode, 0.0
        return self.folder(parent).names.get(name)

    def writable(self, *, grows: bool) -> None:
        if self.read_only:
            raise fault(errno.EROFS)
        if grows and self.full:
            raise fault(errno.ENOSPC)

    def _bind(self, path: str, inode: Inode) -> None:
        parent, _, name = path.rpartition("/")
        folder = self.folder(parent)
        before = folder.names.get(name)
        folder.names[name] = (inode, self.clock())
        folder.inode.modified_ns = self.now_ns()
        inode.links += 1

        def undo() -> None:
            inode.links -= 1
            if before is None:
                folder.names.pop(name, None)
            else:
                before[0].links += 1
                self.inodes.add(before[0])
                folder.names[name] = before

        self._remember(undo)
        if before is not None:
            before[0].links -= 1
            self.forget_if_unused(before[0])

    def _unbind(self, path: str) -> Inode:
        parent, _, name = path.rpartition("/")
        folder = self.folder(parent)
        if name not in folder.names:
            raise fault(errno.ENOENT, path)
        before = folder.names.pop(name)
        folder.inode.modified_ns = self.now_ns()
        before[0].links -= 1

        def undo() -> None:
            before[0].links += 1
            self.inodes.add(before[0])
            folder.names[name] = before

        self._remember(undo)
        return before[0]

    def create(self, path: str) -> Inode:
        self.writable(grows=True)
        self.folder(path.rpartition("/")[0])
        inode = self._new()
        self._bind(path, inode)
        return inode

    def make_folder(self, path: str) -> None:
        self.folder(path.rpartition("/")[0])
        if path in self.folders:
            raise fault(errno.EEXIST, path)
        self.writable(grows=True)
        inode = self._new(is_folder=True)
        self._bind(path, inode)
        self.folders[path] = Folder(inode)
        self._remember(lambda: self._forget_folder(path))

    def remove_folder(self, path: str) -> None:
        folder = self.folder(path)
        if folder.names:
            raise fault(errno.ENOTEMPTY, path)
        self.writable(grows=False)
        self._unbind(path)
        del self.folders[path]
        self.inodes.discard(folder.inode)
        self._freed.append(folder.inode.number)
        if self.journals:
            self._remember(lambda: self.folders.__setitem__(path, folder))
        else:
            self._commit()

    def _forget_folder(self, path: str) -> None:
        self.inodes.discard(self.folders.pop(path).inode)

    def link(self, source: str, path: str) -> None:
        found = self.find(source)
        if found is None:
            raise fault(errno.ENOENT, source)
        if self.find(path) is not None:
            raise fault(errno.EEXIST, path)
        self.writable(grows=True)
        self._bind(path, found[0])
        if self.named is not None:
            self.named(path, found[0])

    def rename(self, source: str, path: str) -> None:
        found, target = self.find(source), self.find(path)
        if found is None:
            raise fault(errno.ENOENT, source)
        if target is not None and target[0].is_folder:
            raise fault(errno.EISDIR, path)
        self.writable(grows=False)
        if target is not None and target[0] is found[0]:
            return  # two names of one file: rename(2) does nothing
        self._bind(path, found[0])
        self._unbind(source)
        if self.named is not None:
            self.named(path, found[0])

    def unlink(self, path: str) -> None:
        found = self.find(path)
        if found is None:
            raise fault(errno.ENOENT, path)
        if found[0].is_folder:
            raise fault(errno.EISDIR, path)
        self.writable(grows=False)
        self._unbind(path)
        self.forget_if_unused(found[0])
        if self.unnamed is not None:
            self.unnamed(path)

    # Content.

    def write(self, inode: Inode, data: bytes, offset: int) -> None:
        end = offset + len(data)
        self.writable(grows=end > len(inode.data))
        content = inode.data.ljust(offset, b"\0")
        inode.data = content[:offset] + data + content[end:]
        inode.modified_ns = self.now_ns()

    def truncate(self, inode: Inode, size: int) -> None:
        self.writable(grows=size > len(inode.data))
        inode.data = inode.data[:size].ljust(size, b"\0")
        inode.modified_ns = self.now_ns()

    def sync(self, inode: Inode) -> None:
        """The content, and with it every change of names up to now: the journal is one."""
        inode.durable = inode.data
        self._commit()

    def lose_power(self, random: Random) -> None:
        """Of what was not synced, any number of the latest changes of names is gone, and any part of the content."""
        lost = random.randint(0, len(self._undo)) if self._undo else 0
        for _ in range(lost):
            self._undo.pop()()
        self._commit()
        for inode in sorted(self.inodes, key=lambda one: one.number):
            inode.holder, inode.opens = None, 0
            if inode.data != inode.durable:
                grown = inode.data.startswith(inode.durable)
                kept = random.randint(len(inode.durable), len(inode.data)) if grown else len(inode.data)
                inode.data = random.choice((inode.durable, inode.data, inode.data[:kept]))
                inode.durable = inode.data
        for inode in [one for one in self.inodes if not one.links]:
            self.forget_if_unused(inode)
