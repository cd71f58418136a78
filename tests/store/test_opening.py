"""Opening for what is shared: as os.open, on disks and in memory alike, and nothing of it is left on the descriptor."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vcsctl.errors import ForeignFileError
from vcsctl.store import files, nodes, opening, records
from vcsctl.store.opening import again_where_stale, is_nfs, open_direct, open_shared
from vcsctl.store.paths import Paths

DISK = Path(__file__).parent  # what pytest's own temporary directory lies on differs from machine to machine


@pytest.fixture(params=[DISK, Path("/dev/shm")], ids=["on disk", "in memory"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    if not os.access(request.param, os.W_OK):
        pytest.skip(f"{request.param} is not for us to write")
    with TemporaryDirectory(dir=request.param) as found:
        yield Path(found)


def test_it_opens_as_usual(folder: Path) -> None:
    path = folder / "record"
    descriptor = open_shared(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        assert os.write(descriptor, b"seven b") == 7  # direct access would refuse that
        assert os.pread(descriptor, 3, 1) == b"eve"
        assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"seven b"
    assert path.stat().st_mode & 0o777 == 0o600


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:52 / /var/lib/vcs/shared rw,relatime shared:9 - nfs4 10.0.0.1:/ rw,vers=4.2,local_lock=none
41 22 0:53 / /mnt/my\\040old rw,relatime - nfs 10.0.0.1:/srv rw,vers=3
42 22 0:54 / /mnt/gluster rw - fuse.glusterfs 10.0.0.1:/nfs rw
"""


@pytest.mark.parametrize(
    ("device", "expected"), [("254:1", False), ("0:52", True), ("0:53", True), ("0:54", False), ("0:5", False)]
)
def test_only_nfs_is_opened_directly(device: str, expected: bool) -> None:
    assert is_nfs(MOUNTS, device) is expected


def test_a_lock_file_is_written_as_it_comes(folder: Path) -> None:
    descriptor = open_direct(str(folder / "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        assert os.pwrite(descriptor, b"1 bill1", 0) == 7
        assert os.pread(descriptor, 256, 0) == b"1 bill1"
    finally:
        os.close(descriptor)


def test_what_is_not_there_is_not_there(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_shared(str(folder / "absent"), os.O_RDONLY)


def test_a_pipe_keeps_nobody_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    descriptor = open_shared(str(folder / "pipe"), os.O_RDONLY | os.O_NONBLOCK)
    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
    os.close(descriptor)


@pytest.fixture(params=["directory", "pipe", "link"])
def stranger(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is no record, where the files of its directory are opened as over NFS."""
    monkeypatch.setitem(opening._is_nfs, folder.stat().st_dev, True)
    path = folder / f"u.rdeadbeef.{request.param}"
    match request.param:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/null")
    return path


def test_over_nfs_a_stranger_is_a_fault_of_its_name_alone(stranger: Path) -> None:
    with pytest.raises(ForeignFileError):
        files.read(str(stranger))
    assert list(records.lines_backwards(str(stranger))) == []


def test_over_nfs_a_stranger_publishes_no_units(stranger: Path) -> None:
    folder = stranger.parent / "nodes"
    folder.mkdir()
    stranger.rename(folder / "a.units.json")
    assert nodes.read_units(Paths(str(stranger.parent)), "a") is None


def test_what_was_replaced_while_it_was_read_is_read_again() -> None:
    answers = [OSError(errno.ESTALE, "stale"), OSError(errno.ESTALE, "stale"), None]

    def read() -> str:
        if (fault := answers.pop(0)) is not None:
            raise fault
        return "the new one"

    assert again_where_stale(read) == "the new one"


def test_a_share_that_stays_stale_is_told() -> None:
    def read() -> str:
        raise OSError(errno.ESTALE, "stale")

    with pytest.raises(OSError, match="stale"):
        again_where_stale(read)
