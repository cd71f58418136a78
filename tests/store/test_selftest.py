"""The proofs on a directory that is good, and what they say of one that is not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vcsctl.errors import RefusedError, StorageError
from vcsctl.store import locks
from vcsctl.store.cell import make_cell
from vcsctl.store.paths import Paths
from vcsctl.store.selftest import PROOFS, prove_storage, scratch_folder
from vcsctl.store.server_clock import ClockOffset, measure_offset


def test_a_local_directory_passes_and_needs_no_fence(tmp_path: Path) -> None:
    assert prove_storage(str(tmp_path), allow_nfs3=False, fence_after=None) is None
    assert prove_storage(str(tmp_path), allow_nfs3=False, fence_after=30.0) == 30.0
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_where_there_is_a_cell_its_folder_stays(tmp_path: Path) -> None:
    make_cell(Paths(str(tmp_path)))
    prove_storage(str(tmp_path), allow_nfs3=False, fence_after=None)
    assert list((tmp_path / "probe").iterdir()) == []


def test_a_file_system_without_locks_between_nodes_is_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="cannot trust /proc/self with locks: file system proc"):
        prove_storage("/proc/self", allow_nfs3=False, fence_after=None)


def test_a_directory_that_nothing_can_be_written_to_is_named() -> None:
    with pytest.raises(StorageError, match="cannot write /proc/self/probe/self-test"):
        prove_storage("/proc/self", allow_nfs3=False, fence_after=30.0)


@pytest.mark.parametrize(
    ("name", "proof", "sentence"),
    [
        ("lock", "locks exclude", "a lock that nobody holds is refused"),
        ("moved", "moved lock files are noticed", "a lock that nobody holds is refused"),
    ],
)
def test_a_lock_that_is_refused_to_the_first_who_asks_is_a_fault(
    tmp_path: Path, name: str, proof: str, sentence: str
) -> None:
    held = locks.try_lock(str(tmp_path / name))  # as a server would that keeps the locks of a dead client
    assert held is not None
    with pytest.raises(RefusedError, match=sentence):
        PROOFS[proof](str(tmp_path))
    os.close(held.descriptor)


def test_what_a_killed_test_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    old, young = tmp_path / "probe/self-test.old", tmp_path / "probe/self-test.young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    with scratch_folder(Paths(str(tmp_path))):
        pass
    assert [path.name for path in (tmp_path / "probe").iterdir()] == ["self-test.young"]


def test_a_test_that_runs_now_is_left_alone_by_a_node_whose_clock_is_hours_ahead(tmp_path: Path) -> None:
    """The share's times are the file server's, whose hour this machine is past."""
    server_now = time.time() - 2 * 3600
    with scratch_folder(Paths(str(tmp_path))) as running:
        os.utime(running, (server_now, server_now))
        with scratch_folder(Paths(str(tmp_path))) as own:
            os.utime(own, (server_now, server_now))
        assert os.path.isdir(running)


def test_the_clock_of_a_local_directory_is_this_machines(tmp_path: Path) -> None:
    offset = measure_offset(str(tmp_path))
    assert offset.at_least_s < 0.01
    assert list(tmp_path.iterdir()) == []


def test_an_offset_counts_as_far_as_it_is_certain() -> None:
    assert ClockOffset(-3.0, 0.5).at_least_s == 2.5
    assert ClockOffset(0.3, 0.5).at_least_s == 0
