"""The runner: the small process that owns one run from its start to its outcome, whatever becomes of vcsd.

It is forked from vcsd without exec, keeps nothing but its locks and its log, starts the command, enforces
timeout, stop and loss of storage, sees to it that nothing the command started is left, links the outcome
and frees the locks. It never decides whether or when to run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from vcsctl import steps
from vcsctl.domain import fencing
from vcsctl.domain.run import Claim, End, Started, StopRequest, to_text
from vcsctl.domain.unit import TimedUnit, Unit, stops_on_storage_loss
from vcsctl.errors import StorageError
from vcsctl.runners import linux, spawn
from vcsctl.runners.machine import Machine
from vcsctl.runners.proofs import Proofs
from vcsctl.store import running, state
from vcsctl.store.locks import Grant
from vcsctl.store.paths import Paths

# Until a command has lived this long no thread watches over it: most are over sooner.
WATCH_AFTER_S = 1.0
STORAGE_RETRY_S = 1.0
STORAGE_STOP_S = 5.0
_LOOK_AGAIN_S = 0.02
_INTERNAL_ERROR = 70


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


@dataclass(frozen=True, slots=True)
class Stopping:
    """Why the command is being stopped, and when it gets KILL (monotonic seconds)."""

    cause: str
    why: str
    kill_at_s: float


def start(job: Job) -> int:
    """Forks the runner; its pid. The caller may close its own copies of the locks at any time."""
    pid = linux.fork()
    if pid == 0:
        _run(job)
    return pid


def _run(job: Job) -> NoReturn:
    code = _INTERNAL_ERROR
    try:
        _leave_vcsd(job)
        steps.reached("runner alone")
        Runner(job, Machine(job.cgroup)).run()
        code = 0
    except StorageError as error:
        _note(str(error))
    except BaseException:  # noqa: BLE001 - the outermost frame of a process: nothing may fall back into vcsd's loop
        _note(traceback.format_exc())
    finally:
        os._exit(code)


def _note(text: str) -> None:
    """A line in the run's log; the log may lie on the very disk that is full."""
    with contextlib.suppress(OSError):
        os.write(2, f"vcs: {text}\n".encode())


def _leave_vcsd(job: Job) -> None:
    """Keeps only the locks and the log. Close-on-exec does nothing without exec: a leaked lock would stay held."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    os.makedirs(os.path.dirname(job.log), exist_ok=True)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    lowest = 3
    for kept in sorted(job.grant.descriptors):
        os.closerange(lowest, kept)
        lowest = kept + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
    linux.become_subreaper()


class Runner:
    """The state of one run in progress."""

    def __init__(self, job: Job, machine: Machine) -> None:
        self.job = job
        self.machine = machine
        self.started_at: datetime | None = None
        self.started_s: float | None = None  # when the command was executed, by the monotonic clock
        self.stopping: Stopping | None = None
        self.fenced: fencing.Action = "none"
        self.proofs = Proofs(job.grant, self._read_stop, machine)

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

    def _record_start(self) -> bool:
        job = self.job
        assert self.started_at is not None
        pid, pid_started = self.machine.identity()
        node = job.claim.node
        started = Started(pid, pid_started, job.boot_id, self.started_at, job.log, job.fences, job.cgroup, node)
        recorded = state.write_started(job.paths, job.claim.key, job.claim.fence, started)
        steps.reached("start recorded")
        return recorded

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
            self.machine.start(command)
            self.started_s = started_s
        except (spawn.CannotStartError, OSError) as error:
            return self._end("cannot-start", str(error))
        return None

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
            variables[f"VCS_FENCE_{group.upper().replace('-', '_')}"] = str(fence)
        return variables

    def _read_stop(self) -> StopRequest | None:
        return state.read_stop(self.job.paths, self.job.claim.key, self.job.claim.fence)

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

    def _mind_signals(self) -> None:
        while self.machine.signals:
            match self.machine.signals.pop():
                case signal.SIGTERM:
                    self._stop("runner-signalled", "the runner was told to stop by a signal")
                case signal.SIGUSR1:
                    self.proofs.hurry()
                    self.proofs.watch(fencing.proof_period(self.job.fence_after_s))

    def _mind_proofs(self) -> None:
        job = self.job
        period_s = fencing.proof_period(job.fence_after_s)
        if self._ran_s() >= min(WATCH_AFTER_S, period_s):
            self.proofs.watch(period_s)
        if stop := self.proofs.stop:
            reason = f": {stop.reason}" if stop.reason else ""
            self._stop("stop-requested", f"stopped by {stop.by} on {stop.node}{reason}")
        if not self._stops_on_storage_loss:
            return
        if self.proofs.failed:
            self._stop("storage", self.proofs.failed)
        age_s = self.proofs.age_s()
        action = fencing.action(age_s, job.fence_after_s)
        if action != "none":
            self._stop("storage", f"no proof of the locks for {age_s:.0f} s")
        if action == "kill":
            self.machine.kill_everything()
        self.fenced = action

    def _mind_time(self) -> None:
        timeout_s = self.job.unit.timeout
        if timeout_s is not None and self._ran_s() >= timeout_s:
            self._stop("timeout", f"ran longer than its timeout of {timeout_s:g} s")
        if self.stopping and self.machine.monotonic() >= self.stopping.kill_at_s:
            self.machine.kill_everything()

    @property
    def _stops_on_storage_loss(self) -> bool:
        return stops_on_storage_loss(self.job.unit, self.job.fences)

    def _ran_s(self) -> float:
        assert self.started_s is not None
        return self.machine.monotonic() - self.started_s

    def _stop(self, cause: str, why: str) -> None:
        """The stop sequence: the unit's signal now, KILL after `stop_timeout`. The first cause counts, but for the
        storage: the locks may be another's, and whatever the unit says it is not given long."""
        patience_s = self.job.unit.stop_timeout
        if cause == "storage":
            patience_s = min(patience_s, STORAGE_STOP_S)
        kill_at_s = self.machine.monotonic() + patience_s
        if self.stopping is None:
            self.stopping = Stopping(cause, why, kill_at_s)
            self.machine.signal_everything(getattr(signal, f"SIG{self.job.unit.stop_signal}"))
        elif cause == "storage" != self.stopping.cause:
            self.stopping = Stopping(cause, why, min(self.stopping.kill_at_s, kill_at_s))

    def _pause_s(self) -> float:
        """How long nothing needs to be done unless something happens."""
        assert self.started_s is not None
        now_s, job = self.machine.monotonic(), self.job
        if (
            self.machine.status is not None
            or (self.stopping and now_s >= self.stopping.kill_at_s)
            or self.fenced == "kill"
        ):
            return _LOOK_AGAIN_S
        moments = [now_s + 3600.0]
        if self.stopping:
            moments.append(self.stopping.kill_at_s)
        elif job.unit.timeout is not None:
            moments.append(self.started_s + job.unit.timeout)
        watch_at_s = self.started_s + min(WATCH_AFTER_S, fencing.proof_period(job.fence_after_s))
        if watch_at_s > now_s:
            moments.append(watch_at_s)
        fence_in_s = fencing.next_deadline(job.fence_after_s, self.fenced)
        if fence_in_s is not None and self._stops_on_storage_loss:
            moments.append(now_s + fence_in_s - self.proofs.age_s())
        return max(0.001, min(moments) - now_s)

    # The outcome.

    def _outcome(self) -> End:
        assert self.machine.status is not None
        code = os.waitstatus_to_exitcode(self.machine.status)
        if self.stopping:
            return self._end(self.stopping.cause, self.stopping.why, code)
        if code < 0:
            return self._end("signal", f"killed by signal {linux.signal_name(-code)}", code)
        unit = self.job.unit
        if code in (unit.success_exit_codes if isinstance(unit, TimedUnit) else (0,)):
            return self._end("exited", f"exited with code {code}", code)
        return self._end("exit-code", f"exited with code {code}", code)

    def _end(self, cause: str, why: str, code: int | None = None) -> End:
        claim, machine, ran = self.job.claim, self.machine, self.started_s is not None
        queued_at = claim.queued_at
        waited_s = (self.started_at - queued_at).total_seconds() if queued_at and self.started_at else None
        return End(
            cause,
            why,
            claim.node,
            machine.now(),
            self.started_at if ran else None,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            duration_s=round(machine.over_s - self.started_s, 6) if self.started_s is not None else None,
            cpu_s=round(machine.cpu_s, 6) if ran else None,
            peak_memory_kib=machine.peak_kib if ran else None,
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
                    end = self._end("storage", f"{error}; the command had ended: {end.why}")
            steps.reached("locks proved again")
            try:
                state.write_end(job.paths, claim.key, claim.fence, end)
                break
            except StorageError as error:
                if noted != (noted := f"{error}; trying again until there is an outcome"):
                    _note(noted)
                self.machine.sleep(STORAGE_RETRY_S)
        steps.reached("outcome linked")
        running.leave(job.paths, claim.run_id)
        steps.reached("index removed")
        job.grant.unlock()
        steps.reached("locks freed")
        self.machine.clean_up()
