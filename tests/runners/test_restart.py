"""A daemon's process is started again after its end as its unit says, and nothing of the former is left."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from rig import Rig

SLEEPER = "/bin/sleep", "1000"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_killed_process_is_started_again_after_the_delay(rig: Rig) -> None:
    rig.start(*SLEEPER, restart_delay=0.3)
    first = rig.until_phase("up")
    os.kill(first.pid, signal.SIGKILL)
    waiting = rig.until_phase("waiting")
    assert waiting.pid == 0
    assert waiting.last_exit == "killed by signal SIGKILL"
    assert waiting.next_start_at is not None
    assert waiting.last_exit_at is not None
    assert timedelta(seconds=0.2) < waiting.next_start_at - waiting.last_exit_at <= timedelta(seconds=0.35)
    second = rig.until_phase("up")
    assert second.pid not in (0, first.pid)
    assert second.restarts == 1
    assert rig.is_locked()
    rig.stop()
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("stop-requested", "stopped")
    assert "stopped by olga on n1" in end.why
    rig.until(lambda: rig.told() is None, "its state is forgotten")
    assert "killed by signal SIGKILL; started again in 0.3 s" in rig.said()


def test_one_that_exits_at_once_ends_at_its_start_limit(rig: Rig) -> None:
    rig.start("/bin/sh", "-c", "echo begun; exit 3", restart_delay=0.05, start_limit=(3, 60.0))
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("start-limit", "failed")
    assert end.why == "exited with code 3; started 3 times within 60 s, its start limit"
    assert end.exit_code == 3
    assert rig.said().splitlines().count("begun") == 3


@pytest.mark.parametrize(
    ("restart", "command", "cause"),
    [
        ("never", "exit 0", "exited"),
        ("never", "exit 2", "exit-code"),
        ("on-failure", "exit 0", "exited"),
        ("never", "kill -9 $$", "signal"),
    ],
)
def test_one_that_is_not_to_be_started_again_ends_its_run(rig: Rig, restart: str, command: str, cause: str) -> None:
    rig.start("/bin/sh", "-c", command, restart=restart)
    end = rig.until_over()
    assert end.cause == cause
    assert end.why.endswith(f"restart: {restart}")


def test_on_failure_starts_a_failed_one_again(rig: Rig) -> None:
    rig.start("/bin/sh", "-c", "exit 2", restart="on-failure", restart_delay=0.05, start_limit=(2, 60.0))
    assert rig.until_over().cause == "start-limit"


def test_a_missing_program_is_a_failure_with_its_reason(rig: Rig) -> None:
    rig.start("/nowhere/daemon", restart_delay=0.05, start_limit=(2, 60.0))
    end = rig.until_over()
    assert end.cause == "start-limit"
    assert "program missing: /nowhere/daemon" in end.why


def test_a_working_directory_that_is_not_there_is_a_failure_with_its_reason(rig: Rig) -> None:
    rig.start(*SLEEPER, restart="never", working_directory="/nowhere")
    end = rig.until_over()
    assert end.cause == "cannot-start"
    assert "cannot enter /nowhere: no such file or directory" in end.why


@pytest.mark.parametrize("with_cgroups", [False, True], ids=["alone", "with control groups"])
def test_children_of_a_dead_process_are_gone_before_the_next_one(rig: Rig, with_cgroups: bool) -> None:
    rig.with_cgroups = with_cgroups
    program = rig.script("""
open("mains", "a").write(f"{os.getpid()}\\n")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open("left", "a").write(f"{os.getpid()}\\n")
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
""")
    rig.start(*program, restart_delay=0.05)
    rig.until(lambda: len(rig.written("left")) == 1, "its child lives")
    child, main = int(rig.written("left")[0]), int(rig.written("mains")[0])
    os.kill(main, signal.SIGKILL)
    rig.until(lambda: len(rig.written("left")) == 2, "it was started again")
    assert not is_alive(child)
    rig.stop()
    rig.until_over()
    assert not is_alive(int(rig.written("left")[1]))


def test_a_process_that_outlives_its_timeout_is_stopped_and_started_again(rig: Rig) -> None:
    rig.start(*SLEEPER, timeout=0.3, restart_delay=0.05, start_limit=(2, 60.0))
    end = rig.until_over()
    assert end.cause == "start-limit"
    assert "ran longer than its timeout of 0.3 s" in end.why


def test_what_the_process_sees(rig: Rig) -> None:
    rig.start("/usr/bin/env", restart="never", watchdog=5.0)
    rig.until_over()
    seen = dict(line.split("=", 1) for line in rig.said().splitlines() if "=" in line)
    assert (seen["VCS_TRIGGER"], seen["VCS_SLOT"], seen["VCS_UNIT"]) == ("daemon", "", "d")
    assert seen["VCS_RUN_ID"] == "d.1"
    assert seen["WATCHDOG_USEC"] == "5000000"
    assert "NOTIFY_SOCKET" in seen
