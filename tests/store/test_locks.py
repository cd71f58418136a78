"""Locks: the number in a lock file only grows, whoever is late."""

from __future__ import annotations

from pathlib import Path

from vcsctl.store import locks


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
