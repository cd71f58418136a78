"""Stands in for the modules `os` and `filelock` of the code that touches the shared directory.

Just the calls that are used there, each with the errors that the kernel gives. Each is a point at which time passes,
others run, and the process may be stopped or killed. Descriptors belong to a process; copies share the open file.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat as modes
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.simulation.answers import Entry, Listing, Status
from tests.simulation.client import Client, OpenFile
from tests.simulation.disk import Inode, fault
from tests.simulation.scheduler import Killed, Process, Scheduler

T = TypeVar("T")
VERIFIER_NS = 1_234_567 * 10**9  # in 1970


class Posix:
    """`at_change` is called before and after each call that changes something: the place for an aimed fault."""

    O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL
    O_APPEND, O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK = os.O_APPEND, os.O_CLOEXEC, os.O_NOFOLLOW, os.O_NONBLOCK
    O_DIRECTORY = os.O_DIRECTORY
    path = posixpath
    strerror = staticmethod(os.strerror)
    waitstatus_to_exitcode = staticmethod(os.waitstatus_to_exitcode)

    def __init__(self, scheduler: Scheduler, random: Random, jitter_s: float = 0.2) -> None:
        self._scheduler = scheduler
        self._random = random
        self._jitter_s = jitter_s
        self.at_change: Callable[[Process, str, str, bool], None] | None = None
        self.calls: Counter[str] = Counter()
        self.bytes_read = 0

    # How a call gets to the server and back.

    def _process(self) -> Process:
        task = self._scheduler.current
        assert task is not None, "only a simulated process may touch the simulated storage"
        if not task.process.alive:
            raise Killed
        return task.process

    def _latency_s(self) -> float:
        luck = self._random.random()
        return 0.0001 + (luck * 0.001 if luck < 0.98 else self._random.random() ** 3 * self._jitter_s)

    def _look(self, name: str, act: Callable[[], T]) -> T:
        client: Client = self._process().node.client
        self.calls[name] += 1
        return client.ask(act, self._latency_s(), changes=False)

    def _change(self, name: str, path: str, act: Callable[[], T], *, outlives: bool = False) -> T:
        process = self._process()
        client: Client = process.node.client
        self.calls[name] += 1
        if self.at_change is None:
            return client.ask(act, self._latency_s(), changes=True, outlives=outlives)
        self.at_change(process, name, path, False)
        done = client.ask(act, self._latency_s(), changes=True, outlives=outlives)
        self.at_change(process, name, path, True)
        return done

    # Open files.

    def _set_moment(self, path: str, inode: Inode, client: Client) -> None:
        """Over NFS the mtime of what is made exclusively is the mark of that call, until a second one sets it."""

        def now() -> None:
            if inode.modified_ns == VERIFIER_NS:
                inode.modified_ns = client.server.disk.now_ns()

        self._change("setattr", path, now)

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        process = self._process()
        client: Client = process.node.client
        disk, writes = client.server.disk, bool(flags & (os.O_WRONLY | os.O_RDWR))

        made = False

        def find_or_make() -> Inode:
            nonlocal made
            if not flags & os.O_CREAT:
                inode = client.look_up(path)
                if inode is None:
                    raise fault(errno.ENOENT, path)
            elif (found := disk.find(path)) is not None:
                if flags & os.O_EXCL:
                    raise fault(errno.EEXIST, path)
                inode = found[0]
            else:
                inode = disk.create(path)
                client.made(path)
                if made := bool(flags & os.O_EXCL and client.lease_s is not None):
                    inode.modified_ns = VERIFIER_NS
            if writes and inode.is_folder:
                raise fault(errno.EISDIR, path)
            if writes:
                disk.writable(grows=False)
            if flags & os.O_DIRECTORY and not inode.is_folder:
                raise fault(errno.ENOTDIR, path)
            if inode.is_folder:
                client.listed(path)
            return inode

        if flags & os.O_CREAT:
            inode = self._change("open", path, find_or_make, outlives=True)
            if made:
                self._set_moment(path, inode, client)
        else:
            inode = self._look("open", find_or_make)
        file = OpenFile(client, inode, path, writable=writes)
        file.position = -1 if flags & os.O_APPEND else 0
        client.open_files.add(file)
        descriptor = 3
        while descriptor in process.files:
            descriptor += 1
        process.files[descriptor] = file
        return descriptor

    def _file(self, descriptor: int) -> OpenFile:
        file = self._process().files.get(descriptor)
        if file is None:
            raise fault(errno.EBADF)
        found: OpenFile = file
        return found

    def close(self, descriptor: int) -> None:
        process, file = self._process(), self._file(descriptor)
        self.calls["close"] += 1
        if file.copies > 1:
            del process.files[descriptor]
            file.copies -= 1
            return

        def let_go() -> None:
            # The descriptor is gone whatever the call says.
            if process.files.pop(descriptor, None) is file:
                file.copies -= 1
                file.client.drop(file, killed=False)

        if not file.lock and not file.unwritten:
            let_go()
            return
        try:
            self._change("close", file.path, let_go)
        except OSError:
            if process.files.pop(descriptor, None) is file:
                file.copies -= 1
                file.client.drop(file, killed=True)
            raise

    def write(self, descriptor: int, data: bytes) -> int:
        file = self._file(descriptor)
        if not file.writable:
            raise fault(errno.EBADF)
        position = len(file.content()) if file.position < 0 else file.position
        written = self.pwrite(descriptor, data, position)
        if file.position >= 0:
            file.position += written
        return written

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        """NFS keeps it in the kernel until it is synced or closed; a local disk shows it at once."""
        file = self._file(descriptor)
        self.calls["write"] += 1
        if not file.writable:
            raise fault(errno.EBADF)
        if file.client.lease_s is not None or file.lost:
            file.unwritten.append((offset, bytes(data)))
            return len(data)
        disk = file.client.server.disk
        self._change("write", file.path, lambda: disk.write(file.inode, bytes(data), offset))
        return len(data)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        file = self._file(descriptor)
        data = self._look("read", file.content)[offset : offset + size]
        self.bytes_read += len(data)
        return data

    def read(self, descriptor: int, size: int) -> bytes:
        file = self._file(descriptor)
        if file.inode.is_folder:
            raise fault(errno.EISDIR, file.path)
        data = self._look("read", file.content)[file.position : file.position + size]
        file.position += len(data)
        self.bytes_read += len(data)
        return data

    def fsync(self, descriptor: int) -> None:
        file = self._file(descriptor)
        try:
            self._change("sync", file.path, lambda: file.client.sync(file))
        except OSError:
            file.unwritten.clear()  # told once; the next one says that all is well
            raise

    fdatasync = fsync

    def ftruncate(self, descriptor: int, size: int) -> None:
        file = self._file(descriptor)

        def cut() -> None:
            file.client.write_out(file)
            file.client.server.disk.truncate(file.inode, size)

        self._change("truncate", file.path, cut)

    def utime(self, descriptor: int) -> None:
        """The file server's own clock, as utime(2) without times."""
        file = self._file(descriptor)
        disk = file.client.server.disk

        def touch() -> None:
            disk.writable(grows=False)
            file.inode.modified_ns = disk.now_ns()

        self._change("utime", file.path, touch)

    def fstat(self, descriptor: int) -> Status:
        """The kernel writes out first what it has, to know the time and the size."""
        file = self._file(descriptor)

        def look() -> Status:
            if file.unwritten and not file.lost:
                file.client.write_out(file)
            return self._status(file.inode)

        return self._look("fstat", look)

    def _status(self, inode: Inode) -> Status:
        mode = modes.S_IFDIR | 0o755 if inode.is_folder else modes.S_IFREG | 0o644
        return Status(inode.number, mode, inode.links, len(inode.data), inode.modified_ns)

    # Names.

    def stat(self, path: str, *, follow_symlinks: bool = True) -> Status:
        client: Client = self._process().node.client

        def look() -> Status:
            inode = client.look_up(path)
            if inode is None:
                raise fault(errno.ENOENT, path)
            return self._status(inode)

        return self._look("stat", look)

    def link(self, source: str, path: str) -> None:
        client: Client = self._process().node.client
        self._change("link", path, lambda: client.server.disk.link(source, path), outlives=True)
        client.made(path)

    def rename(self, source: str, path: str) -> None:
        client: Client = self._process().node.client
        self._change("rename", path, lambda: client.server.disk.rename(source, path), outlives=True)
        client.made(path)

    def unlink(self, path: str) -> None:
        client: Client = self._process().node.client
        self._change("unlink", path, lambda: client.server.disk.unlink(path), outlives=True)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        client: Client = self._process().node.client
        self._change("mkdir", path, lambda: client.server.disk.make_folder(path), outlives=True)
        client.made(path)

    def rmdir(self, path: str) -> None:
        client: Client = self._process().node.client
        self._change("rmdir", path, lambda: client.server.disk.remove_folder(path), outlives=True)

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        client: Client = self._process().node.client
        disk = client.server.disk

        def make() -> None:
            if path in disk.folders:
                if not exist_ok:
                    raise fault(errno.EEXIST, path)
                return
            parent = posixpath.dirname(path)
            if parent not in disk.folders:
                self._make_parents(client, parent)
            disk.make_folder(path)
            client.made(path)

        self._change("mkdir", path, make, outlives=True)

    def _make_parents(self, client: Client, path: str) -> None:
        disk = client.server.disk
        if path not in disk.folders:
            self._make_parents(client, posixpath.dirname(path))
            disk.make_folder(path)
            client.made(path)

    def listdir(self, path: str) -> list[str]:
        client: Client = self._process().node.client

        def look() -> list[str]:
            folder = client.server.disk.folder(path)
            client.listed(path)
            return list(folder.names)

        return self._look("listdir", look)

    def scandir(self, path: str) -> Listing:
        client: Client = self._process().node.client

        def look() -> Listing:
            folder = client.server.disk.folder(path)
            client.listed(path)
            return Listing([Entry(name, inode.number) for name, (inode, _) in folder.names.items()])

        return self._look("scandir", look)

    # The rest.

    def urandom(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def getpid(self) -> int:
        return self._process().pid

    # filelock

    def lock_descriptor(self, descriptor: int, *, blocking: bool) -> bool:
        file = self._file(descriptor)
        assert not blocking, "nobody waits in the kernel for a lock"
        taken = self._change("lock", file.path, lambda: file.client.try_lock(file))
        if taken:
            self._process().locked_at = self._scheduler.now
        return taken

    def unlock_descriptor(self, descriptor: int) -> None:
        """The kernel writes out first what it has."""
        file = self._file(descriptor)

        def unlock() -> None:
            try:
                file.client.write_out(file)
            finally:
                file.client.unlock(file)

        self._change("unlock", file.path, unlock)


def fork_files(parent: Process, child: Process, descriptors: list[int]) -> None:
    """The child gets copies of these descriptors, under the same numbers."""
    child.files = {}
    for descriptor in descriptors:
        file: OpenFile = parent.files[descriptor]
        file.copies += 1
        child.files[descriptor] = file


def close_all(process: Process) -> None:
    """What the kernel does for a process that has ended."""
    files, process.files = process.files or {}, {}
    for file in files.values():
        file.copies -= 1
        if not file.copies and file in file.client.open_files:
            try:
                file.client.drop(file, killed=True)
            except OSError:
                continue  # nobody is left who could be told
