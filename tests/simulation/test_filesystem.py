"""The simulated storage behaves as the real one was seen to: locks, links, lost holds, stale names, late calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random

import pytest

from tests.simulation.client import Server
from tests.simulation.disk import Disk
from tests.simulation.node import Node
from tests.simulation.posix import Posix
from tests.simulation.scheduler import Process, Scheduler

LEASE_S = 30.0
CREATE = os.O_RDWR | os.O_CREAT


class Machines:
    """Two machines on one file server (or one with a disk of its own), and processes to do things on them."""

    def __init__(self, lease_s: float | None = LEASE_S, seed: int = 1) -> None:
        self.scheduler = Scheduler(seed)
        self.disk = Disk(lambda: self.scheduler.now, "/share", journals=lease_s is None)
        self.server = Server(self.scheduler, self.disk, Random(seed))
        self.posix = Posix(self.scheduler, Random(seed), jitter_s=0.0)
        self.nodes = [Node(self.scheduler, self.server, name, lease_s, None) for name in ("n1", "n2")]
        for node in self.nodes:
            node.boot()
        self.said: list[object] = []

    def process(self, node: int = 0, parent: Process | None = None, descriptors: tuple[int, ...] = ()) -> Process:
        return self.nodes[node].process("test", parent, descriptors)

    def do(self, work: Callable[[], object], process: Process, for_s: float = 1.0) -> object:
        """What the work says (its result, or the number of its error), or None while it hangs."""
        count = len(self.said)

        def guarded() -> None:
            try:
                self.said.append(work())
            except OSError as error:
                self.said.append(errno.errorcode[error.errno or 0])

        process.beside(guarded)
        self.scheduler.run(self.scheduler.now + for_s)
        return self.said[count] if len(self.said) > count else None

    def locked(self, process: Process, path: str = "/share/lock") -> object:
        return self.do(lambda: self.posix.lock_descriptor(self.posix.open(path, CREATE), blocking=False), process)

    def free(self, node: int = 1) -> object:
        """Whether a process of its own gets the lock; it lets go at once."""
        process = self.process(node)
        said = self.locked(process)
        process.end(0)
        return said


def test_a_lock_excludes_on_the_same_and_on_another_node() -> None:
    machines = Machines()
    assert machines.locked(machines.process(0)) is True
    assert machines.free(0) is False
    assert machines.free(1) is False


def test_a_lock_is_held_until_the_last_copy_of_its_descriptor_is_gone() -> None:
    machines = Machines()
    parent = machines.process()
    machines.locked(parent)
    child = machines.process(0, parent, (3,))
    parent.end(9)
    assert machines.free() is False
    child.end(0)
    assert machines.free() is True


def test_closing_a_copy_frees_nothing_and_unlocking_one_frees_all() -> None:
    machines = Machines()
    parent = machines.process()
    machines.locked(parent)
    child = machines.process(0, parent, (3,))
    machines.do(lambda: machines.posix.close(3), parent)
    assert machines.free() is False
    machines.do(lambda: machines.posix.unlock_descriptor(3), child)
    assert machines.free() is True


def test_link_is_first_wins_and_rename_replaces() -> None:
    machines = Machines()
    one, other, posix = machines.process(0), machines.process(1), machines.posix

    def draft(name: str, data: bytes) -> None:
        descriptor = posix.open(f"/share/{name}", CREATE | os.O_EXCL)
        posix.write(descriptor, data)
        posix.close(descriptor)

    machines.do(lambda: draft("a", b"a"), one)
    machines.do(lambda: draft("b", b"b"), other)
    assert machines.do(lambda: draft("b", b"b"), one) == "EEXIST"
    assert machines.do(lambda: posix.link("/share/a", "/share/x"), one) is None
    assert machines.do(lambda: posix.link("/share/b", "/share/x"), other) == "EEXIST"
    assert machines.do(lambda: posix.stat("/share/a").st_nlink, one) == 2
    machines.do(lambda: posix.rename("/share/b", "/share/x"), other)
    assert machines.do(lambda: posix.read(posix.open("/share/x", os.O_RDONLY), 9), one) == b"b"


def test_an_inode_number_is_used_again_at_once() -> None:
    machines = Machines()
    process, posix = machines.process(), machines.posix

    def made(name: str) -> int:
        descriptor = posix.open(f"/share/{name}", CREATE)
        number = posix.fstat(descriptor).st_ino
        posix.close(descriptor)
        return number

    first = machines.do(lambda: made("a"), process)
    machines.do(lambda: posix.unlink("/share/a"), process)
    assert machines.do(lambda: made("b"), process) == first


def test_a_node_that_is_cut_off_keeps_its_lock_until_its_lease_is_over_and_somebody_asks() -> None:
    machines = Machines()
    holder, posix = machines.process(0), machines.posix
    machines.locked(holder)
    machines.do(lambda: posix.fsync(3), holder)
    client = machines.nodes[0].client
    client.cut_off()
    client.renewed_at = machines.scheduler.now
    machines.scheduler.run(machines.scheduler.now + LEASE_S - 5.0)
    assert machines.free() is False
    machines.scheduler.run(machines.scheduler.now + 2 * LEASE_S)
    client.heal()
    assert machines.do(lambda: posix.fsync(3), holder) is None, "nobody asked: it is still held"
    assert machines.free() is False
    client.cut_off()
    machines.scheduler.run(machines.scheduler.now + 2 * LEASE_S)
    assert machines.free() is True


def test_a_lost_lock_says_yes_to_everything_but_writing_out() -> None:
    machines = Machines()
    holder, posix = machines.process(0), machines.posix
    machines.locked(holder)
    client = machines.nodes[0].client
    client.cut_off()
    machines.scheduler.run(machines.scheduler.now + 2 * LEASE_S)
    assert machines.free() is True
    client.heal()
    assert machines.do(lambda: posix.pwrite(3, b"late", 0), holder) == 4
    assert machines.do(lambda: posix.fstat(3).st_size, holder) == 0
    assert machines.do(lambda: posix.lock_descriptor(3, blocking=False), holder) is True
    assert machines.do(lambda: posix.fdatasync(3), holder) == "EIO"
    assert machines.do(lambda: posix.fdatasync(3), holder) == "EIO"
    assert machines.disk.find("/share/lock")[0].data == b""  # type: ignore[index]


def test_calls_hang_while_the_line_is_cut_and_go_on_when_it_is_whole() -> None:
    machines = Machines()
    process, posix = machines.process(0), machines.posix
    machines.nodes[0].client.cut_off()
    assert machines.do(lambda: posix.listdir("/share"), process, 50.0) is None
    machines.nodes[0].client.heal()
    machines.scheduler.run(machines.scheduler.now + 1.0)
    assert machines.said == [[]]


def test_on_a_soft_mount_a_call_fails_after_a_while() -> None:
    machines = Machines()
    process, posix, client = machines.process(0), machines.posix, machines.nodes[0].client
    client.soft_s = 5.0
    client.cut_off()
    assert machines.do(lambda: posix.listdir("/share"), process, 4.0) is None
    machines.scheduler.run(machines.scheduler.now + 2.0)
    assert machines.said == ["EIO"]
    client.heal()
    assert machines.do(lambda: posix.listdir("/share"), process) == []


def test_a_call_under_way_when_the_line_breaks_is_done_early_or_late_and_a_link_may_say_that_it_failed() -> None:
    seen = set()
    for seed in range(40):
        machines = Machines(seed=seed)
        process, posix = machines.process(0), machines.posix
        machines.do(lambda posix=posix: posix.close(posix.open("/share/a", CREATE)), process)
        client = machines.nodes[0].client
        machines.scheduler.at(machines.scheduler.now + 0.0001, client.cut_off)
        said = machines.do(lambda posix=posix: posix.link("/share/a", "/share/x") or "done", process)
        early = machines.disk.find("/share/x") is not None
        client.heal()
        machines.scheduler.run(machines.scheduler.now + 1.0)
        assert said is None
        assert machines.disk.find("/share/x") is not None
        seen.add((early, machines.said[-1]))
    assert seen == {(False, "done"), (True, "done"), (True, "EEXIST")}


def test_what_a_killed_process_had_sent_may_still_arrive() -> None:
    arrived = set()
    for seed in range(40):
        machines = Machines(seed=seed)
        process, posix = machines.process(0), machines.posix
        machines.do(lambda posix=posix: posix.close(posix.open("/share/a", CREATE)), process)
        client = machines.nodes[0].client
        machines.scheduler.at(machines.scheduler.now + 0.0001, client.cut_off)
        machines.do(lambda posix=posix: posix.unlink("/share/a"), process)
        early = machines.disk.find("/share/a") is None
        process.end(9)
        client.heal()
        arrived.add((early, machines.disk.find("/share/a") is None))
    assert arrived == {(True, True), (False, True), (False, False)}


def test_a_killed_process_does_nothing_more() -> None:
    machines = Machines()
    process, posix = machines.process(), machines.posix
    done: list[str] = []

    def work() -> None:
        try:
            for number in range(1000):
                posix.close(posix.open(f"/share/{number}", CREATE))
        finally:
            posix.open("/share/finally", CREATE)
            done.append("finally")

    process.beside(work)
    machines.scheduler.run(machines.scheduler.now + 0.02)
    process.end(9)
    count = len(machines.disk.folder("/share").names)
    machines.scheduler.run(machines.scheduler.now + 5.0)
    assert 0 < len(machines.disk.folder("/share").names) == count < 1000
    assert not done
    assert machines.disk.find("/share/finally") is None


def test_a_name_that_was_missing_may_stay_missing_until_the_folder_is_listed() -> None:
    machines = Machines()
    looker, maker, posix = machines.process(1), machines.process(0), machines.posix
    assert machines.do(lambda: posix.stat("/share/x"), looker) == "ENOENT"
    machines.do(lambda: posix.close(posix.open("/share/x", CREATE)), maker)
    missed = [machines.do(lambda: posix.stat("/share/x"), looker, 0.1) for _ in range(3)]
    assert "ENOENT" in missed
    machines = Machines()
    looker, maker, posix = machines.process(1), machines.process(0), machines.posix
    machines.do(lambda: posix.stat("/share/x"), looker)
    machines.do(lambda: posix.close(posix.open("/share/x", CREATE)), maker)
    assert machines.do(lambda: posix.listdir("/share"), looker) == ["x"]
    assert machines.do(lambda: posix.open("/share/x", os.O_RDONLY), looker) == 3


def test_power_off_keeps_the_locks_for_a_lease_and_a_boot_frees_them() -> None:
    machines = Machines()
    machines.locked(machines.process(0))
    machines.nodes[0].power_off()
    assert machines.free() is False
    machines.nodes[0].boot()
    assert machines.free() is True
    machines.locked(machines.process(0))
    machines.nodes[0].power_off()
    machines.scheduler.run(machines.scheduler.now + LEASE_S + 1.0)
    assert machines.free() is True


def test_power_off_loses_what_was_not_synced() -> None:
    """On a disk of its own: names and content, but nothing that a sync covered."""
    kept = set()
    for seed in range(40):
        machines = Machines(None, seed)
        process, posix = machines.process(), machines.posix

        def work(posix: Posix = posix) -> None:
            descriptor = posix.open("/share/a", CREATE)
            posix.write(descriptor, b"synced")
            posix.fsync(descriptor)
            posix.pwrite(descriptor, b"SYNCED", 0)
            posix.link("/share/a", "/share/b")

        machines.do(work, process)
        machines.nodes[0].power_off()
        machines.disk.lose_power(Random(seed))
        found = machines.disk.find("/share/a")
        assert found is not None
        kept.add((found[0].data, machines.disk.find("/share/b") is not None))
    assert {data for data, _ in kept} >= {b"synced", b"SYNCED"}
    assert {linked for _, linked in kept} == {True, False}


@pytest.mark.parametrize(("trouble", "said"), [("read_only", "EROFS"), ("full", "ENOSPC")])
def test_a_disk_in_trouble_refuses_what_is_new_and_shows_what_is_there(trouble: str, said: str) -> None:
    machines = Machines()
    process, posix = machines.process(), machines.posix
    machines.do(lambda: posix.close(posix.open("/share/a", CREATE)), process)
    setattr(machines.disk, trouble, True)
    assert machines.do(lambda: posix.open("/share/b", CREATE), process) == said
    assert machines.do(lambda: posix.link("/share/a", "/share/b"), process) == said
    assert machines.do(lambda: posix.listdir("/share"), process) == ["a"]
    setattr(machines.disk, trouble, False)
    assert machines.do(lambda: posix.link("/share/a", "/share/b"), process) is None


def test_while_the_server_is_down_everything_hangs_and_no_lock_is_lost() -> None:
    machines = Machines()
    holder, posix = machines.process(0), machines.posix
    machines.locked(holder)
    machines.server.go_down()
    assert machines.do(lambda: posix.fsync(3), holder, 3 * LEASE_S) is None
    machines.server.come_back()
    machines.scheduler.run(machines.scheduler.now + 1.0)
    assert len(machines.said) == 2
    assert machines.free() is False


def test_one_seed_is_one_story() -> None:
    def story(seed: int) -> list[object]:
        machines = Machines(seed=seed)
        for node in (0, 1, 0, 1):
            machines.locked(machines.process(node))
        return [*machines.said, machines.scheduler.now, machines.posix.urandom(4)]

    assert story(5) == story(5)
    assert story(5) != story(6)
