"""A daemon's log is rotated under a writer that never stops, without losing a line."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import Rig

from vcsctl.runners import linux
from vcsctl.runners.daemon_log import DaemonLog

WRITER = """
import sys
number = 0
while True:
    sys.stdout.write(f"line {number} " + "x" * (number % 90) + "\\n")
    sys.stdout.flush()
    number += 1
"""


def can_collapse(folder: Path) -> bool:
    path = folder / "trial"
    path.write_bytes(b"x" * 100_000)
    descriptor = os.open(path, os.O_RDWR)
    try:
        linux.collapse(descriptor, 65536)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return path.stat().st_size == 100_000 - 65536


def parts(log: Path) -> list[Path]:
    """The oldest first."""
    older = sorted(log.parent.glob(f"{log.name}.[0-9]*"), key=lambda path: -int(path.suffix[1:]))
    return [*older, log]


def test_no_line_is_lost_or_doubled_where_a_beginning_can_be_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_collapse(tmp_path):
        pytest.skip("this file system cannot cut off the beginning of a file")
    log = tmp_path / "d.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    monkeypatch.setattr("vcsctl.runners.daemon_log._OPEN_LOG", f"/proc/self/fd/{descriptor}")
    rotated = DaemonLog(str(log), 200_000, 50)
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdout=descriptor)
    try:
        for _ in range(20):
            give_up = time.monotonic() + 30
            while log.stat().st_size < rotated.size:
                assert time.monotonic() < give_up, "the writer does not write"
            assert rotated.rotate() == ""
    finally:
        writer.kill()
        writer.wait()
        os.close(descriptor)
    lines = b"".join(path.read_bytes() for path in parts(log)).decode().splitlines()
    assert len(parts(log)) == 21
    assert [int(line.split()[1]) for line in lines[:-1]] == list(range(len(lines) - 1))


def test_elsewhere_it_is_copied_and_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(descriptor: int, size: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(linux, "collapse", cannot)
    log = tmp_path / "d.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    monkeypatch.setattr("vcsctl.runners.daemon_log._OPEN_LOG", f"/proc/self/fd/{descriptor}")
    rotated = DaemonLog(str(log), 10, 2)
    for number in range(4):
        os.write(descriptor, f"part {number}\n".encode() * 2000)
        assert rotated.rotate() == ""
        os.write(descriptor, b"after\n")
    os.close(descriptor)
    assert log.read_text() == "after\n"
    assert [path.name for path in parts(log)] == ["d.log.2", "d.log.1", "d.log"]
    assert (tmp_path / "d.log.1").read_text() == "after\n" + "part 3\n" * 2000


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a disk that is full: what is written beyond that fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [5_000, 21_000], ids=["for a part", "for all but what came last"])
def test_a_full_disk_loses_no_line_and_no_older_part_and_it_is_done_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    def cannot(descriptor: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(linux, "collapse", cannot)
    log = tmp_path / "d.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    monkeypatch.setattr("vcsctl.runners.daemon_log._OPEN_LOG", f"/proc/self/fd/{descriptor}")
    rotated = DaemonLog(str(log), 10, 2)
    for number in (1, 2):
        os.write(descriptor, f"part {number}\n".encode())
        assert rotated.rotate() == ""
    os.write(descriptor, b"new\n" * 5_500)
    with no_file_larger_than(room):
        for _ in range(3):
            assert rotated.rotate() == f"cannot rotate {log}: file too large"
    assert [path.read_text() for path in parts(log)] == ["part 1\n", "part 2\n", "new\n" * 5_500]
    assert rotated.rotate() == ""
    assert [path.read_text() for path in parts(log)] == ["part 2\n", "new\n" * 5_500, ""]
    assert len(list(tmp_path.iterdir())) == 3
    os.close(descriptor)


def test_what_the_disk_did_not_take_after_all_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over NFS it is not the write that fails on a full disk, but writing it out."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = tmp_path / "d.log"
    log.write_text("line\n" * 5_000)
    with open(log, "ab") as file:
        monkeypatch.setattr("vcsctl.runners.daemon_log._OPEN_LOG", f"/proc/self/fd/{file.fileno()}")
        monkeypatch.setattr(os, "fsync", full)
        assert DaemonLog(str(log), 10, 2).rotate() == f"cannot rotate {log}: no space left on device"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["line\n" * 5_000]


# What cannot fail for real on any disk here: the end of a file over NFS, and a thread where there are too many.
FAULTS = {
    "closing fails": """
close = os.close
def failing(descriptor):
    ours = os.readlink(f"/proc/self/fd/{descriptor}") == path
    close(descriptor)
    if ours and armed:
        raise OSError(28, "No space left on device")
os.close = failing
def mend():
    armed.clear()
""",
    "no thread can be started": """
threading.stack_size(1 << 46)
def mend():
    threading.stack_size(0)
""",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_any_failure_it_is_tried_again(tmp_path: Path, fault: str) -> None:
    program = f"""
import os, threading, time
from vcsctl.runners.daemon_log import DaemonLog
from vcsctl.runners.daemon_machine import DaemonMachine
path, armed = {str(tmp_path / "d.log")!r}, [1]
os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
machine, log = DaemonMachine(None), DaemonLog(path, 10, 2)
def look(trouble):
    give_up = time.monotonic() + 20
    while True:
        machine.look_at_log(log)
        machine.wait(0.01)
        if bool(machine.log_trouble) == trouble and (trouble or os.fstat(1).st_size < 5000):
            return
        assert time.monotonic() < give_up, machine.log_trouble
{FAULTS[fault]}
os.write(1, b"line" * 5000)
look(True)
os.write(1, b"line" * 5000)
mend()
look(False)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, timeout=60, check=False, cwd=os.getcwd()
    )
    assert done.returncode == 0, done.stderr


def test_the_runner_rotates_what_has_grown_too_large(rig: Rig) -> None:
    rig.log.parent.mkdir(parents=True)
    rig.log.write_text("old\n" * 50_000)
    rig.start("/bin/sh", "-c", "echo begun; exec sleep 1000", log_size=100_000, log_keep=1)
    rig.until_phase("up")
    older = rig.log.with_name("d.log.1")
    rig.until(older.exists, "the log is rotated")
    rig.until(lambda: rig.log.stat().st_size < 10_000, "its beginning is cut off")
    rig.until(lambda: "begun\n" in rig.said() + older.read_text(), "what the daemon said is there")
    assert (older.read_text() + rig.said()).startswith("old\n" * 50_000)
