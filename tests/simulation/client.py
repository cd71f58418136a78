"""The file system's client in a node's kernel: open files, locks, the lease, what it believes without asking.

With a `lease_s` it is an NFS client: cut off it hangs, the server gives its locks away once its lease has run out and
somebody asks, and a name that was missing may stay missing. Without one the disk is the node's own.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.simulation.disk import Disk, Inode, fault
from tests.simulation.scheduler import Scheduler, Task

T = TypeVar("T")
BELIEVES_S = 30.0  # acdirmax: how long a name is believed to be missing


class OpenFile:
    """An open file description: shared by the copies that fork and inheritance make."""

    __slots__ = ("client", "copies", "inode", "lock", "lost", "path", "position", "unwritten", "writable")

    def __init__(self, client: Client, inode: Inode, path: str, *, writable: bool) -> None:
        self.client = client
        self.inode = inode
        self.path = path
        self.writable = writable
        self.copies = 1
        self.position = 0
        self.lock = False  # whether it was locked, as this node believes
        self.lost = False  # the server gave the lock away: it says EIO to every write-out for ever
        self.unwritten: list[tuple[int, bytes]] = []  # what the kernel has not sent yet
        inode.opens += 1

    def content(self) -> bytes:
        data = self.inode.data
        for offset, part in self.unwritten:
            data = data.ljust(offset, b"\0")[:offset] + part + data[offset + len(part) :]
        return data


class Server:
    """What all clients of one share have in common: the disk, and whether the server answers."""

    def __init__(self, scheduler: Scheduler, disk: Disk, random: Random, grace_s: float = 0.0) -> None:
        self.scheduler = scheduler
        self.disk = disk
        self.random = random
        self.grace_s = grace_s
        self.down = False
        self.came_back_at = -1e9
        self.clients: list[Client] = []
        self.lock_lost: Callable[[str, str], None] = lambda node, path: None

    def go_down(self) -> None:
        self.down = True

    def come_back(self) -> None:
        """Clients that are connected reclaim their locks; the others may until the grace period is over."""
        self.down = False
        self.came_back_at = self.scheduler.now
        for client in self.clients:
            if client.reachable and not client.silent:
                client.renewed_at = self.scheduler.now
            client.let_go_on()


class Client:
    """One node's mount from its boot to its end. A node that boots again has a new one."""

    def __init__(self, server: Server, name: str, lease_s: float | None, soft_s: float | None = None) -> None:
        self.server = server
        self.scheduler = server.scheduler
        self.name = name
        self.lease_s = lease_s
        self.soft_s = soft_s  # of a soft mount: how long a call waits for the server before it fails
        self.renewed_at = server.scheduler.now
        self.cut = False
        self.silent = False  # the whole machine stands still, or is off: its kernel renews nothing
        self.open_files: set[OpenFile] = set()
        self._locked: dict[Inode, OpenFile] = {}  # the node's own table, asked before the server
        self._waiting: list[Task] = []
        self._when_healed: list[Callable[[], None]] = []
        self._missing: dict[str, float] = {}
        self._listed: dict[str, float] = {}
        server.clients.append(self)

    # The line to the server.

    @property
    def reachable(self) -> bool:
        return not self.cut and not self.server.down

    def cut_off(self) -> None:
        """The kernel renews its lease at two thirds of it, or by any call: the last renewal may be so long ago."""
        if not self.cut:
            self.cut = True
            if self.lease_s is not None and not self.silent:
                idle = self.server.random.uniform(0.0, self.lease_s * 2 / 3)
                self.renewed_at = max(self.renewed_at, self.scheduler.now - idle)

    def heal(self) -> None:
        self.cut = False
        self.renewed_at = self.scheduler.now
        self.let_go_on()

    def let_go_on(self) -> None:
        if self.reachable:
            late, self._when_healed = self._when_healed, []
            for act in late:
                act()
            waiting, self._waiting = self._waiting, []
            for task in waiting:
                self.scheduler.wake(task)

    def stand_still(self) -> None:
        if not self.cut:
            self.renewed_at = self.scheduler.now
        self.silent = True

    def move_again(self) -> None:
        self.silent = False
        if self.reachable:
            self.renewed_at = self.scheduler.now

    def when_healed(self, act: Callable[[], None]) -> None:
        self._when_healed.append(act)

    def lease_is_over(self) -> bool:
        if self.lease_s is None or not (self.cut or self.silent):
            return False
        if self.renewed_at < self.server.came_back_at:  # it has reclaimed nothing
            return self.scheduler.now > self.server.came_back_at + self.server.grace_s
        return self.scheduler.now > self.renewed_at + self.lease_s

    def until_reachable(self) -> None:
        give_up_at = None if self.soft_s is None else self.scheduler.now + self.soft_s
        while not self.reachable:
            task = self.scheduler.current
            assert task is not None
            if give_up_at is not None and self.scheduler.now >= give_up_at:
                raise fault(errno.EIO)
            self._waiting.append(task)
            self.scheduler.wait(None if give_up_at is None else give_up_at - self.scheduler.now)
            if task in self._waiting:
                self._waiting.remove(task)

    def ask(self, act: Callable[[], T], latency_s: float, *, changes: bool, outlives: bool = False) -> T:
        """One call to the server from the current task. What is under way when the line breaks may have been done
        already, its answer lost, or be done late. `outlives`: even when who asked for it was killed meanwhile."""
        server = self.server
        if self.cut or server.down:
            self.until_reachable()
        self.scheduler.sleep(latency_s)
        if not (self.cut or server.down):
            self.renewed_at = self.scheduler.now
            return act()
        if not changes or self.server.random.random() < 0.5:
            return self._late(act, outlives=outlives)
        self.renewed_at = max(self.renewed_at, self.scheduler.now - latency_s)
        try:
            done, said = act(), None
        except OSError as error:
            done, said = None, error
        self.until_reachable()
        if self.server.random.random() < 0.5:
            return act()  # the server does not remember that it did it: it does it again
        if said is not None:
            raise said
        return done  # type: ignore[return-value]

    def _late(self, act: Callable[[], T], *, outlives: bool) -> T:
        """It waits in the line, and is done when that is whole again: by whoever asked, or without one."""
        task = self.scheduler.current
        assert task is not None
        process, given_up = task.process, False

        def arrive() -> None:
            if given_up or not process.alive:
                with contextlib.suppress(OSError):
                    act()

        if outlives and self.server.random.random() < 0.5:
            self.when_healed(arrive)
        try:
            self.until_reachable()
        except OSError:
            given_up = True
            raise
        return act()

    # What it believes.

    def look_up(self, path: str) -> Inode | None:
        """For open and stat of a name: one that was missing may be believed to be missing still."""
        found = self.server.disk.find(path)
        if self.lease_s is None:
            return found[0] if found else None
        now = self.scheduler.now
        if found is None:
            self._missing[path] = now
            return None
        missed_at = self._missing.get(path)
        if missed_at is not None:
            listed_at = self._listed.get(path.rpartition("/")[0], -1e9)
            fresh = listed_at > found[1] or found[1] <= missed_at or now - missed_at > BELIEVES_S
            if not fresh and self.server.random.random() < 0.7:
                return None
            del self._missing[path]
        return found[0]

    def listed(self, folder: str) -> None:
        self._listed[folder] = self.scheduler.now

    def made(self, path: str) -> None:
        self._missing.pop(path, None)

    # Locks.

    def try_lock(self, file: OpenFile) -> bool:
        if file not in self.open_files:
            return False  # asked for on a soft mount, given up, closed: the server frees what it gave with the closing
        other = self._locked.get(file.inode)
        if other is not None and other is not file:
            return False
        holder: OpenFile | None = file.inode.holder
        if holder is not None and holder is not file:
            if not holder.client.lease_is_over():
                return False
            holder.client.expire()  # a courteous server does that only now that somebody asks
        file.inode.holder = file
        file.lock = True
        file.lost = False if holder is file else file.lost
        self._locked[file.inode] = file
        return True

    def expire(self) -> None:
        """The server forgets the whole client: it gives all its locks away."""
        for file in [file for file in self.open_files if file.inode.holder is file]:
            file.lost, file.inode.holder = True, None
            self.server.lock_lost(self.name, file.path)

    def unlock(self, file: OpenFile) -> None:
        """The node's own table at once; the server when it can be told."""
        if self._locked.get(file.inode) is file:
            del self._locked[file.inode]
        file.lock = False

        def tell() -> None:
            if file.inode.holder is file:
                file.inode.holder = None

        if self.reachable:
            tell()
        else:
            self.when_healed(tell)

    # Writing out.

    def write_out(self, file: OpenFile) -> None:
        parts, file.unwritten = file.unwritten, []
        if file.lost and parts:
            raise fault(errno.EIO, file.path)
        try:
            for offset, data in parts:
                self.server.disk.write(file.inode, data, offset)
        except OSError:
            file.unwritten = parts  # for the same call, should it be made again because its answer was lost
            raise

    def sync(self, file: OpenFile) -> None:
        if file.lost:
            file.unwritten.clear()
            raise fault(errno.EIO, file.path)
        self.write_out(file)
        self.server.disk.sync(file.inode)

    def drop(self, file: OpenFile, *, killed: bool) -> None:
        """The last copy of an open file is gone."""
        if killed and file.unwritten:
            self._leave_unwritten(file)
        self.open_files.discard(file)
        try:
            self.write_out(file)
        finally:
            if file.lock:
                self.unlock(file)
            file.inode.opens -= 1
            self.server.disk.forget_if_unused(file.inode)

    def _leave_unwritten(self, file: OpenFile) -> None:
        """Of what a killed process wrote, the kernel may still write out what it has, now or when the line is whole."""
        if self.server.random.random() < 0.5:
            file.unwritten.clear()
        elif not self.reachable:
            parts, file.unwritten = file.unwritten, []

            def late() -> None:
                for offset, data in () if file.lost else parts:
                    with contextlib.suppress(OSError):  # nobody is left who could be told
                        self.server.disk.write(file.inode, data, offset)

            self.when_healed(late)

    def power_off(self) -> None:
        """Nothing more comes from here. What the server had promised it stays promised until the lease is over."""
        for task in self._waiting:
            task.epoch += 1
        self._waiting.clear()
        self._when_healed.clear()
        self.stand_still()
        self.cut = True

    def discard(self) -> None:
        """The node has booted again: its new client tells the server that the old one's locks are void."""
        for file in self.open_files:
            if file.inode.holder is file:
                file.inode.holder = None
            file.inode.opens -= 1
            self.server.disk.forget_if_unused(file.inode)
        self.open_files.clear()
        self.server.clients.remove(self)
