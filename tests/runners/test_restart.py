"""A daemon's process is started again after its end as its unit says, and nothing of the former is left."""

from __future__ import annotations

import os
import signal

from rig import Rig

SLEEPER = "/bin/sleep", "1000"


def test_a_killed_process_is_started_again_after_the_delay(rig: Rig) -> None:
    rig.start(*SLEEPER, restart_delay=0.3)
    first = rig.until_phase("up")
    os.kill(first.pid, signal.SIGKILL)
    waiting = rig.until_phase("waiting")
    assert waiting.pid == 0
    assert waiting.last_exit == "killed by signal SIGKILL"
    assert waiting.next_start_at is not None
    assert waiting.last_exit_at is not None
    assert 0.2 < (waiting.next_start_at - waiting.last_exit_at).total_seconds() <= 0.35
    second = rig.until_phase("up")
    assert second.pid not in (0, first.pid)
    assert second.restarts == 1
    assert rig.is_locked()
    rig.stop()
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("stop-requested", "stopped")
    assert "stopped by olga on n1" in end.why
    rig.until(lambda: rig.told() is None, "its state is forgotten")
