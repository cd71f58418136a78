"""Locks: the number in a lock file only grows, whoever is late."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcsctl.errors import RefusedError, StorageError
from vcsctl.store import locks
from vcsctl.store.cell import make_cell
from vcsctl.store.paths import Paths


def test_a_late_proof_does_not_put_back_the_number(tmp_path: Path) -> None:
    path = str(tmp_path / "billing")
    late = locks.try_lock(path)
    assert late is not None
    late.write(late.next_fence(), "a.1 on bill1")
    locks.filelock.unlock_descriptor(late.descriptor)
    following = locks.try_lock(path)
    assert following is not None
    following.write(following.next_fence(), "b.1 on bill2")
    late.prove()
    assert locks.read_lock_file(path) == locks.LockFile(2, "b.1 on bill2")
    assert following.next_fence() == 3
    late.close()
    following.close()


def test_a_lock_that_was_only_proved_begins_with_one(tmp_path: Path) -> None:
    lock = locks.try_lock(str(tmp_path / "billing"))
    assert lock is not None
    lock.prove()
    assert lock.next_fence() == 1
    lock.close()


def test_a_lock_file_that_was_renamed_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "billing"
    lock = locks.try_lock(str(path))
    assert lock is not None
    lock.prove()
    path.rename(tmp_path / "aside")
    with pytest.raises(StorageError, match="was removed or renamed"):
        lock.prove()
    lock.close()


def lost(lock: locks.NodeLock, path: str) -> None:
    """As after a lease that ran out: the lock is free, and its descriptor fails at every write."""
    assert lock._lock is not None
    locks.filelock.unlock_descriptor(lock._lock.descriptor)
    fails(lock, path)


def fails(lock: locks.NodeLock, path: str) -> None:
    assert lock._lock is not None
    read_only = os.open(path, os.O_RDONLY)
    os.dup2(read_only, lock._lock.descriptor)
    os.close(read_only)


def test_a_nodes_lock_that_was_lost_is_taken_anew(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    make_cell(paths)
    lock, path = locks.NodeLock(paths, "bill1"), paths.node_lock("bill1")
    lock.take()
    lock.keep()
    signed = locks.read_lock_file(path)
    assert signed is not None
    assert (signed.fence, signed.holder.startswith(f"bill1 pid {os.getpid()} ")) == (1, True)
    lost(lock, path)
    free = locks.try_lock(path)
    assert free is not None
    free.close()
    lock.keep()
    assert locks.try_lock(path) is None


def test_a_node_whose_lock_was_lost_to_another_vcsd_is_refused(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    make_cell(paths)
    lock, other = locks.NodeLock(paths, "bill1"), locks.NodeLock(paths, "bill1")
    lock.take()
    lost(lock, paths.node_lock("bill1"))
    other.take()
    with pytest.raises(RefusedError, match="another vcsd runs as node bill1"):
        lock.keep()
    other.keep()


def test_a_nodes_own_lock_that_the_server_has_not_let_go_is_not_taken_for_another_vcsds(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    make_cell(paths)
    lock, path = locks.NodeLock(paths, "bill1"), paths.node_lock("bill1")
    lock.take()
    assert lock._lock is not None
    at_the_server = os.dup(lock._lock.descriptor)  # as when a soft mount gave up the proof, and then the release
    fails(lock, path)
    for _ in range(2):
        with pytest.raises(StorageError, match="its last holder was this vcsd"):
            lock.keep()
    os.close(at_the_server)
    lock.keep()
    assert locks.try_lock(path) is None
