"""What killed runners leave in the folder of this machine's daemons, and who is taken for one that lives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rig import Rig

from vcsctl.domain.daemon import DaemonState
from vcsctl.runners import alive, proc, tellers

RUN = DaemonState("d.1", "d", "n1", "up", datetime(2026, 1, 1, tzinfo=UTC), 0)


@pytest.fixture
def child() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "1000"])


def test_a_runner_lives_only_with_the_start_time_it_told(child: subprocess.Popen[bytes]) -> None:
    started = proc.process_started(child.pid)
    assert started is not None
    try:
        assert alive.lives(DaemonState("d.1", "d", "n1", "up", RUN.since, child.pid, runner_started=started))
        assert not alive.lives(DaemonState("d.1", "d", "n1", "up", RUN.since, child.pid, runner_started=started - 1))
        # As a former version told it.
        assert alive.lives(DaemonState("d.1", "d", "n1", "up", RUN.since, child.pid))
    finally:
        child.kill()
        child.wait()
    assert not alive.lives(DaemonState("d.1", "d", "n1", "up", RUN.since, child.pid, runner_started=started))


def test_a_runner_tells_its_start_time(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000")
    assert rig.until_phase("up").runner_started == proc.process_started(rig.runner)


def test_what_a_killed_runner_left_is_swept_and_what_is_used_is_not(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000", ready="notify")
    folder = Path(rig.daemons)
    rig.until((folder / "d.1.notify").exists, "it listens")
    rig.until((folder / "d.1.json").exists, "it has told")
    sweep = tellers.Sweep(rig.daemons)
    for _ in range(3):
        sweep.look()
    assert {"d.1.notify", "d.1.json"} <= set(os.listdir(folder))
    rig.signal(signal.SIGKILL)
    rig.until(lambda: proc.process_started(rig.runner) is None or is_dead(folder / "d.1.notify"), "it is dead")
    for name in (".tmp.d.1.json.aabbcc", "foreign", "foreign.notify"):
        (folder / name).touch()
    sweep.look()
    assert (folder / "d.1.notify").exists(), "one that is just being made looks the same: it is given a second look"
    sweep.look()
    assert set(os.listdir(folder)) == {"d.1.json", "foreign", "foreign.notify"}


def is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        return line.connect_ex(str(path)) != 0


def test_where_nothing_was_ever_told_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    tellers.Sweep(str(tmp_path / "nowhere")).look()
