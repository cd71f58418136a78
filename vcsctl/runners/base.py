"""What the runners of all kinds share: proofs of the locks, loss of storage, the stop sequence, what goes on record.

A runner is forked from vcsd without exec and owns one run from its start to its outcome, whatever becomes of vcsd.
It never decides whether or when to run.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, replace
from datetime import datetime

from vcsctl import steps
from vcsctl.domain import fencing
from vcsctl.domain.outcome import End, Started, StopRequest
from vcsctl.domain.run import Claim, fence_variable, to_text
from vcsctl.domain.unit import Unit, stops_on_storage_loss
from vcsctl.errors import StorageError
from vcsctl.runners.machine import Machine
from vcsctl.runners.proofs import Proofs
from vcsctl.store import running, state
from vcsctl.store.locks import Grant
from vcsctl.store.paths import Paths

STORAGE_RETRY_S = 1.0
STORAGE_STOP_S = 5.0
LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Job:
    """All a runner needs, handed over by fork."""

    paths: Paths
    claim: Claim
    unit: Unit
    grant: Grant
    fences: dict[str, int]
    log: str
    boot_id: str
    fence_after_s: float | None
    cgroup: str | None
    daemons: str | None = None  # the folder where the runner of a daemon says how it is


@dataclass(frozen=True, slots=True)
class Stopping:
    """Why the command is being stopped, and when it gets KILL (monotonic seconds)."""

    cause: str
    why: str
    kill_at_s: float


def note(text: str) -> None:
    """A line in the run's log; the log may lie on the very disk that is full."""
    with contextlib.suppress(OSError):
        os.write(2, f"vcs: {text}\n".encode())


def kill_pause_s(since_s: float) -> float:
    """What KILL does not end, since it waits for a dead mount, is looked at less and less often."""
    return min(1.0, max(LOOK_AGAIN_S, since_s / 10))


class BaseRunner:
    """The state of one run in progress, and what is the same for every kind."""

    def __init__(self, job: Job, machine: Machine) -> None:
        self.job = job
        self.started_at: datetime | None = None
        self.stopping: Stopping | None = None
        self.fenced: fencing.Action = "none"
        self.proofs = Proofs(job.grant, self._read_stop, machine)
        self.machine = machine

    def _record_start(self) -> bool:
        job = self.job
        assert self.started_at is not None
        pid, pid_started = self.machine.identity()
        node = job.claim.node
        started = Started(pid, pid_started, job.boot_id, self.started_at, job.log, job.fences, job.cgroup, node)
        recorded = state.write_started(job.paths, job.claim.key, job.claim.fence, started)
        steps.reached("start recorded")
        return recorded

    def _variables(self) -> dict[str, str]:
        claim = self.job.claim
        variables = {
            "VCS_UNIT": claim.service,
            "VCS_SLOT": to_text(claim.slot) if claim.slot else "",
            "VCS_TRIGGER": claim.trigger,
            "VCS_RUN_ID": claim.run_id,
            "VCS_NODE": claim.node,
            "VCS_ATTEMPT": str(claim.attempt),
            "VCS_MISSED": str(claim.missed),
        }
        for group, fence in self.job.fences.items():
            variables[fence_variable(group)] = str(fence)
        return variables

    def _read_stop(self) -> StopRequest | None:
        return state.read_stop(self.job.paths, self.job.claim.key, self.job.claim.fence)

    def _mind_signals(self) -> None:
        while self.machine.signals:
            self._heed(self.machine.signals.pop())

    def _heed(self, number: int) -> None:
        match number:
            case signal.SIGTERM:
                self._stop("runner-signalled", "the runner was told to stop by a signal")
            case signal.SIGUSR1:
                self.proofs.hurry()

    @property
    def _stops_on_storage_loss(self) -> bool:
        return stops_on_storage_loss(self.job.unit, self.job.fences)

    def _mind_storage(self) -> None:
        """Stops what may no longer run, because the locks may be another's by now."""
        if not self._stops_on_storage_loss:
            return
        if self.proofs.failed:
            self._stop("storage", self.proofs.failed)
        age_s = self.proofs.age_s()
        action = fencing.action(age_s, self.job.fence_after_s)
        if action != "none":
            self._stop("storage", f"no proof of the locks for {age_s:.0f} s: the shared directory does not answer")
        if action == "kill":
            self.machine.kill_everything()
        self.fenced = action

    def _fencing_moments(self, now_s: float) -> list[float]:
        """When to look again at how old the last proof is."""
        fence_in_s = fencing.next_deadline(self.job.fence_after_s, self.fenced)
        if fence_in_s is None or not self._stops_on_storage_loss:
            return []
        return [now_s + fence_in_s - self.proofs.age_s()]

    def _stop(self, cause: str, why: str) -> None:
        """The stop sequence: the unit's signal now, KILL after `stop_timeout`. The first cause counts, but for the
        storage: the locks may be another's, and whatever the unit says it is not given long."""
        patience_s = self.job.unit.stop_timeout
        if cause == "storage":
            patience_s = min(patience_s, STORAGE_STOP_S)
        kill_at_s = self.machine.monotonic() + patience_s
        if self.stopping is None:
            self.stopping = Stopping(cause, why, kill_at_s)
            self._signal_stop()
        elif cause == "storage" != self.stopping.cause:
            self.stopping = Stopping(cause, why, min(self.stopping.kill_at_s, kill_at_s))
            self._hurry_stop()

    def _signal_stop(self) -> None:
        self.machine.signal_everything(getattr(signal, f"SIG{self.job.unit.stop_signal}"))

    def _hurry_stop(self) -> None:
        """The KILL of a stop that has begun comes sooner now."""

    def _end(self, cause: str, why: str, code: int | None = None, ran_s: float | None = None) -> End:
        """`ran_s`: None when nothing was executed."""
        claim, machine = self.job.claim, self.machine
        queued_at = claim.queued_at
        waited_s = (self.started_at - queued_at).total_seconds() if queued_at and self.started_at else None
        return End(
            cause,
            why,
            claim.node,
            machine.now(),
            self.started_at if ran_s is not None else None,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            duration_s=round(ran_s, 6) if ran_s is not None else None,
            cpu_s=round(machine.cpu_s, 6) if ran_s is not None else None,
            peak_memory_kib=machine.peak_kib if ran_s is not None else None,
            queue_wait_s=round(max(0.0, waited_s), 6) if waited_s is not None else None,
        )

    def _finish(self, end: End) -> None:
        """Links the outcome, however long the storage takes to have room for it, and only then frees the locks."""
        job, claim = self.job, self.job.claim
        noted = ""
        while True:
            try:
                if end.cause != "storage":
                    self.proofs.prove()
            except StorageError as error:
                if self._stops_on_storage_loss:
                    why = f"{error}; the command had ended: {end.why}"
                    end = replace(end, cause="storage", why=why, at=self.machine.now(), exit_code=None, signal=None)
            steps.reached("locks proved again")
            try:
                state.write_end(job.paths, claim.key, claim.fence, end)
                break
            except StorageError as error:
                if noted != (noted := f"{error}; trying again until there is an outcome"):
                    note(noted)
                self.machine.sleep(STORAGE_RETRY_S)
        steps.reached("outcome linked")
        self._leave_index()
        steps.reached("index removed")
        job.grant.unlock()
        steps.reached("locks freed")
        self.machine.clean_up()

    def _leave_index(self) -> None:
        running.leave(self.job.paths, self.job.claim.run_id)
