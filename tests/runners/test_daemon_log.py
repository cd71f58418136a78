"""A daemon's log is rotated under a writer that never stops, without losing a line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
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
