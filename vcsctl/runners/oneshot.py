"""The runner of a job: one command, from its start to its outcome.

It starts the command, enforces timeout, stop and loss of storage, and sees to it that nothing the command started
is left. What every runner does is in `base`.
"""

from __future__ import annotations

import os
import signal

from vcsctl import steps
from vcsctl.domain import fencing
from vcsctl.domain.outcome import End
from vcsctl.domain.unit import TimedUnit
from vcsctl.runners import linux, spawn
from vcsctl.runners.base import LOOK_AGAIN_S, BaseRunner, Job, kill_pause_s
from vcsctl.runners.machine import Machine

# Until a command has lived this long no thread watches over it: most are over sooner.
WATCH_AFTER_S = 1.0


class Runner(BaseRunner):
    """The state of one run in progress."""

    def __init__(self, job: Job, machine: Machine) -> None:
        super().__init__(job, machine)
        self.started_s: float | None = None  # when the command was executed, by the monotonic clock

    def run(self) -> None:
        self.proofs.prove()
        steps.reached("locks proved")
        self.started_at = self.machine.now()
        if not self._record_start():
            return  # a start of this claim is on record, or that it never began: it is not ours any more
        end = self._start_command()
        if end is None:
            steps.reached("command started")
            self._watch_over()
            steps.reached("command over")
            end = self._outcome()
        self._finish(end)

    def _start_command(self) -> End | None:
        """Executes the command; the outcome at once when that cannot be."""
        job = self.job
        if stop := self._read_stop():
            return self._end("stopped-before-start", f"stopped by {stop.by} before it began")
        try:
            command = self.machine.prepare(job.unit, self._variables(), tuple(job.grant.descriptors))
            # Last: what was prepared may have hung on a mount for longer than our locks are ours.
            if not fencing.may_start(self.proofs.age_s(), job.fence_after_s):
                return self._end("storage", "the storage took too long to answer before the start")
            started_s = self.machine.monotonic()
            self.machine.execute(command, fencing.start_within(self.proofs.age_s(), job.fence_after_s))
            self.started_s = started_s
        except (spawn.CannotStartError, OSError) as error:
            return self._end("cannot-start", str(error))
        return None

    # While the command runs: no shared storage in this thread.

    def _watch_over(self) -> None:
        while self.machine.reap():
            if self.machine.status is not None:
                self.machine.kill_everything()
            else:
                self._mind_signals()
                self._mind_proofs()
                self._mind_time()
            self.machine.wait(self._pause_s())

    def _heed(self, number: int) -> None:
        super()._heed(number)
        if number == signal.SIGUSR1:
            self.proofs.watch(fencing.proof_period(self.job.fence_after_s))

    def _mind_proofs(self) -> None:
        period_s = fencing.proof_period(self.job.fence_after_s)
        if self._ran_s() >= min(WATCH_AFTER_S, period_s):
            self.proofs.watch(period_s)
        if stop := self.proofs.stop:
            self._stop("shutdown" if stop.cause == "shutdown" else "stop-requested", stop.why)
        self._mind_storage()

    def _mind_time(self) -> None:
        timeout_s = self.job.unit.timeout
        if timeout_s is not None and self._ran_s() >= timeout_s:
            self._stop("timeout", f"ran longer than its timeout of {timeout_s:g} s")
        if self.stopping and self.machine.monotonic() >= self.stopping.kill_at_s:
            self.machine.kill_everything()

    def _ran_s(self) -> float:
        assert self.started_s is not None
        return self.machine.monotonic() - self.started_s

    def _pause_s(self) -> float:
        """How long nothing needs to be done unless something happens."""
        assert self.started_s is not None
        now_s, job = self.machine.monotonic(), self.job
        if self.machine.status is not None:
            return kill_pause_s(now_s - self.machine.over_s)
        if self.stopping and now_s >= self.stopping.kill_at_s:
            return kill_pause_s(now_s - self.stopping.kill_at_s)
        if self.fenced == "kill":
            return LOOK_AGAIN_S
        moments = [now_s + 3600.0, *self._fencing_moments(now_s)]
        if self.stopping:
            moments.append(self.stopping.kill_at_s)
        elif job.unit.timeout is not None:
            moments.append(self.started_s + job.unit.timeout)
        watch_at_s = self.started_s + min(WATCH_AFTER_S, fencing.proof_period(job.fence_after_s))
        if watch_at_s > now_s:
            moments.append(watch_at_s)
        return max(0.001, min(moments) - now_s)

    # The outcome.

    def _outcome(self) -> End:
        assert self.machine.status is not None
        assert self.started_s is not None
        ran_s = self.machine.over_s - self.started_s
        code = os.waitstatus_to_exitcode(self.machine.status)
        if self.stopping:
            return self._end(self.stopping.cause, self.stopping.why, code, ran_s)
        if code < 0:
            return self._end("signal", f"killed by signal {linux.signal_name(-code)}", code, ran_s)
        unit = self.job.unit
        if code in (unit.success_exit_codes if isinstance(unit, TimedUnit) else (0,)):
            return self._end("exited", f"exited with code {code}", code, ran_s)
        return self._end("exit-code", f"exited with code {code}", code, ran_s)
