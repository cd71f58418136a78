"""Opening for what is shared: as os.open, on disks and in memory alike, and nothing of it is left on the descriptor."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from vcsctl.store.opening import again_where_stale, directly, open_direct, open_shared

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


def test_what_a_disk_refuses_directly_goes_the_usual_way(folder: Path) -> None:
    path = folder / "lock"
    descriptor = open_direct(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for content in (b"1 bill1", b"2 bill2"):
            assert directly(descriptor, lambda text=content: os.pwrite(descriptor, text, 0)) == 7
            assert directly(descriptor, lambda: os.pread(descriptor, 256, 0)) == content
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
