"""How a run of a daemon is ended: by an operator, by a signal, by loss of storage."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest
from rig import Rig

SLEEPER = "/bin/sleep", "1000"
STUBBORN = """
signal.signal(signal.SIGTERM, lambda *_: open("asked", "a").write("TERM\\n"))
open("ready", "w").write("x\\n")
while True: time.sleep(1)
"""


def test_a_stubborn_process_gets_kill_after_its_stop_timeout(rig: Rig) -> None:
    rig.start(*rig.script(STUBBORN), stop_timeout=0.5)
    rig.until(lambda: rig.written("ready"), "it ignores TERM")
    began_s = time.monotonic()
    rig.stop()
    rig.until_phase("stopping")
    end = rig.until_over()
    assert time.monotonic() - began_s >= 0.5
    assert end.cause == "stop-requested"
    assert end.signal == signal.SIGKILL
    assert rig.written("asked") == ["TERM"]


@pytest.mark.parametrize("cause", ["stop-requested", "unwanted", "restart-requested"])
def test_the_outcome_says_who_wanted_the_stop(rig: Rig, cause: str) -> None:
    rig.start(*SLEEPER)
    rig.until_phase("up")
    rig.stop(cause)
    assert rig.until_over().cause == cause


def test_a_stop_while_it_waits_for_the_next_start_ends_at_once(rig: Rig) -> None:
    rig.start("/bin/false", restart_delay=600.0, restart_max_delay=600.0)
    rig.until_phase("waiting")
    rig.stop()
    end = rig.until_over()
    assert end.cause == "stop-requested"


def test_a_signal_to_the_runner_stops_it(rig: Rig) -> None:
    rig.start(*SLEEPER)
    rig.until_phase("up")
    rig.signal(signal.SIGTERM)
    assert rig.until_over().cause == "runner-signalled"


def test_a_failed_proof_stops_a_daemon_that_holds_a_group(rig: Rig) -> None:
    rig.start(*SLEEPER, groups=("billing",), fence_after_s=1.2, lost_locks=True)
    rig.until_phase("up")
    (rig.root / "lose").touch()
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("storage", "lost")


def test_one_that_needs_no_share_goes_on_without_it(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000", restart_delay=0.05, fence_after_s=1.2, lost_locks=True)
    first = rig.until_phase("up")
    (rig.root / "lose").touch()
    rig.until(lambda: (rig.root / "lost").exists(), "a proof failed")
    os.kill(first.pid, signal.SIGKILL)
    rig.until(lambda: (told := rig.told()) and told.restarts == 1 and told.phase == "up", "it was started again")
    assert rig.end() is None


def test_it_goes_on_without_a_place_to_say_how_it_is(rig: Rig) -> None:
    rig.daemons = "/proc/nowhere/daemons"
    notifier = rig.script("""
import socket
address = os.environ["NOTIFY_SOCKET"]
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address.replace("@", "\\0", 1))
time.sleep(1000)
""")
    rig.start(*notifier, ready="notify")
    rig.until(lambda: " ready\n" in rig.said(), "it is ready by an abstract address")
    rig.stop()
    assert rig.until_over().cause == "stop-requested"


def test_its_state_is_told_again_when_the_folder_was_removed(rig: Rig) -> None:
    rig.start(*SLEEPER, restart_delay=0.05)
    first = rig.until_phase("up")
    shutil.rmtree(rig.daemons)
    os.kill(first.pid, signal.SIGKILL)
    assert rig.until_phase("up").restarts == 1


def fifo(rig: Rig) -> str:
    """An environment file that does not answer, as on a mount whose server is away."""
    path = str(rig.root / "environment")
    os.mkfifo(path)
    return path


def test_a_stop_is_heeded_while_preparing_the_first_process_hangs(rig: Rig) -> None:
    rig.start(*SLEEPER, environment_files=(fifo(rig),))
    rig.stop()
    assert rig.until_over().cause == "stop-requested"


def test_a_stop_is_heeded_while_preparing_the_next_process_hangs(rig: Rig) -> None:
    (rig.root / "environment").touch()
    rig.start(*SLEEPER, environment_files=(str(rig.root / "environment"),), restart_delay=0.05)
    first = rig.until_phase("up")
    (rig.root / "environment").unlink()
    fifo(rig)
    os.kill(first.pid, signal.SIGKILL)
    rig.until(lambda: "does not answer" in rig.said(), "it hangs")
    rig.stop()
    assert rig.until_over().cause == "stop-requested"


def test_lost_locks_end_a_run_whose_preparing_hangs(rig: Rig) -> None:
    rig.start(*SLEEPER, environment_files=(fifo(rig),), groups=("billing",), fence_after_s=60.0, lost_locks=True)
    (rig.root / "lose").touch()
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("storage", "lost")


def test_it_is_started_when_what_hung_answers(rig: Rig) -> None:
    path = fifo(rig)
    rig.start("/bin/sh", "-c", 'echo "told $ANSWER"; exec sleep 1000', environment_files=(path,))
    rig.until(lambda: "does not answer" in rig.said(), "it hangs")
    with open(path, "w") as file:
        file.write("ANSWER=late\n")
    rig.until_phase("up")
    rig.until(lambda: "told late\n" in rig.said(), "it has what the file says")


def test_one_that_cannot_be_started_can_be_stopped(rig: Rig) -> None:
    rig.start("/no/such/program", restart_delay=600.0, restart_max_delay=600.0)
    told = rig.until_phase("waiting")
    assert told.last_exit == "program missing: /no/such/program"
    rig.stop()
    assert rig.until_over().cause == "stop-requested"
