"""The runner of a daemon: starts its process, and again after its end as the unit says, until the run is over.

Between two processes nothing of the former is left. Readiness, health and limits of one process are in `life`,
the restart policy in the domain, what all runners share in `base`.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta

from vcsctl import steps
from vcsctl.domain import fencing
from vcsctl.domain.daemon import DaemonState, Phase
from vcsctl.domain.outcome import End, StopRequest
from vcsctl.domain.restarts import Exit, GiveUp, Restart, after_exit, exits_that_count
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, Health, Probe
from vcsctl.errors import StorageError
from vcsctl.runners import base, spawn
from vcsctl.runners.base import LOOK_AGAIN_S, BaseRunner, Job, kill_pause_s
from vcsctl.runners.daemon_log import DaemonLog
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.life import Commands, Life
from vcsctl.runners.spawn import Command
from vcsctl.store import daemons, running

_STOP_CAUSES = ("stop-requested", "unwanted", "restart-requested", "shutdown", "storage")
_TELL_PAUSE_S = 1.0  # what only its STATUS changes is told no more often
_TELL_AGAIN_S = 10.0  # after telling failed
_LOG_PERIOD_S = 10.0
_PREPARED_WITHIN_S = 1.0  # by then it waits for a mount or for who knows the accounts


@dataclass(slots=True)
class _Preparation:
    """What the next process is started with, while it is found out."""

    began_s: float
    is_slow: bool = False
    found: Commands | Exception | None = None


class Runner(BaseRunner):
    """The state of one run of a daemon in progress."""

    machine: DaemonMachine

    def __init__(self, job: Job, machine: DaemonMachine) -> None:
        super().__init__(job, machine)
        assert isinstance(job.unit, Daemon)
        self.unit: Daemon = job.unit
        self.life: Life | None = None
        self.preparing: _Preparation | None = None
        self.exits: deque[Exit] = deque(maxlen=exits_that_count(self.unit))
        self.starts = 0
        self.started_s = machine.monotonic()
        self.next_start_s = self.started_s
        self.give_up: GiveUp | None = None
        self.code: int | None = None  # of the last main process
        self.reload_wanted = False
        self.address: str | None = None
        self.said_foreign = False
        self.was_ready = False
        claim = job.claim
        pid, started = machine.identity()
        self.shown = DaemonState(claim.run_id, claim.key, claim.node, "starting", machine.now(), pid)
        self.shown = replace(self.shown, log=job.log, runner_started=started)
        self.told: DaemonState | None = None
        self.tell_at_s = 0.0
        self.log = DaemonLog(job.log, self.unit.log_size, self.unit.log_keep)
        self.look_at_log_s = self.started_s
        self.log_trouble = ""

    def run(self) -> None:
        self.proofs.prove()
        steps.reached("locks proved")
        self.started_at = self.machine.now()
        if not self._record_start():
            return  # an outcome is on record: this claim is over
        end = self._keep_up()
        self._note(f"the run is over: {end.why}")
        self._tell()
        self._finish(end)
        if self.job.daemons is not None:
            daemons.forget(self.job.daemons, self.job.claim.run_id)

    # While the daemon runs: no shared storage in this thread.

    def _keep_up(self) -> End:
        """Until the run is over; how it ended."""
        while True:
            self._take_messages()  # before the dead are collected: whose message it is must still be known
            left = self.machine.reap()
            self._mind_signals()
            self._mind_proofs()
            if self.life is None:
                if (end := self._between()) is not None:
                    return end
            elif self.machine.status is None:
                self._mind_life(self.life)
            elif left:
                self.machine.kill_everything()
            else:
                self._process_over(self.life)
                continue
            if self.preparing is None or self.preparing.is_slow:
                self._tell()
            self._mind_log()
            self.machine.wait(self._pause_s())

    def _between(self) -> End | None:
        """No process is there: the end of the run, the next start, or waiting."""
        if self.stopping:
            return self._end(self.stopping.cause, self.stopping.why, self.code, self._ran_s())
        if self.give_up:
            return self._end(self.give_up.cause, self.give_up.why, self.code, self._ran_s())
        if self.preparing is not None:
            self._mind_preparing(self.preparing)
        elif self.machine.monotonic() >= self.next_start_s:
            self._prepare()
        return None

    def _ran_s(self) -> float | None:
        return self.machine.monotonic() - self.started_s if self.starts else None

    def _prepare(self) -> None:
        """In a thread of its own: a dead mount or a directory of accounts must not keep stops and proofs unheeded."""
        preparing = self.preparing = _Preparation(self.machine.monotonic())

        def work() -> None:
            try:
                preparing.found = self._commands()
            except Exception as error:  # noqa: BLE001 - raised again in the main thread
                preparing.found = error

        try:
            if self.unit.ready == "notify" or self.unit.watchdog is not None:
                self.address = self.machine.listen(self.job.daemons, self.job.claim.run_id)
            self.machine.prepare_beside(work)
        except (OSError, RuntimeError) as error:  # RuntimeError: as many threads as there may be
            preparing.found = spawn.CannotStartError(f"cannot prepare its start: {_reason(error)}")

    def _mind_preparing(self, preparing: _Preparation) -> None:
        if preparing.found is not None:
            self.preparing = None
            self._start_process(preparing.began_s, preparing.found)
        elif not preparing.is_slow and self.machine.monotonic() >= preparing.began_s + _PREPARED_WITHIN_S:
            preparing.is_slow = True
            self._note("its start waits: a program, an environment file or who knows its account does not answer")
            self.proofs.watch(fencing.proof_period(self.job.fence_after_s))

    def _start_process(self, began_s: float, commands: Commands | Exception) -> None:
        self.machine.end_preparing()
        try:
            if isinstance(commands, Exception):
                raise commands
            # Last: what was prepared may have hung on a mount for longer than our locks are ours.
            if self._stops_on_storage_loss and not fencing.may_start(self.proofs.age_s(), self.job.fence_after_s):
                self._stop("storage", "the storage took too long to answer before the start")
                return
            self.was_ready = self.reload_wanted = False
            self.machine.admit(commands.main)
            self.life = Life(self.machine, self.unit, commands)
        except (spawn.CannotStartError, OSError) as error:
            self.proofs.watch(fencing.proof_period(self.job.fence_after_s))  # a stop must be seen, and the locks proved
            why = f"cannot start it: {_reason(error)}" if isinstance(error, OSError) else str(error)
            self._after(Exit("cannot-start", why, began_s, self.machine.monotonic()))
            return
        if self.starts == 0:
            steps.reached("command started")
        self.starts += 1
        self._note(f"process {self.machine.main} started")
        self.proofs.watch(fencing.proof_period(self.job.fence_after_s))

    def _commands(self) -> Commands:
        unit = self.unit
        variables = self._variables() | {"VCS_TRIGGER": "daemon", "VCS_SLOT": ""}
        if self.address is not None:
            variables["NOTIFY_SOCKET"] = self.address
            if unit.watchdog is not None:
                variables["WATCHDOG_USEC"] = str(round(unit.watchdog * 1e6))
        main = self.machine.prepare(unit, variables, tuple(self.job.grant.descriptors))
        return Commands(
            main,
            self._beside(main, unit.ready.exec, output=0) if isinstance(unit.ready, Probe) else None,
            self._beside(main, unit.health.exec, output=0) if isinstance(unit.health, Health) else None,
            self._beside(main, unit.reload.exec) if unit.reload is not None else None,
        )

    def _beside(self, main: Command, argv: tuple[str, ...], output: int | None = None) -> Command | str | None:
        """As the process itself, but without its locks. What a probe prints again and again is not for the log."""
        if not argv:
            return None
        program = spawn.find_program(argv[0])
        if program is None:
            return f"program missing: {argv[0]}"
        return replace(main, argv=(program, *argv[1:]), inherited=(), output=output)

    def _process_over(self, life: Life) -> None:
        assert self.machine.status is not None
        self.code = os.waitstatus_to_exitcode(self.machine.status)
        self.life = None
        steps.reached("command over")
        self._after(life.exit())

    def _after(self, end: Exit) -> None:
        self.exits.append(end)
        self.shown = replace(self.shown, last_exit=end.why, last_exit_at=self.machine.now())
        self.give_up = None
        if self.stopping:
            self._note(f"the process is gone: {end.why}")
            return
        decision = after_exit(self.unit, self.exits)
        self._note(f"the process is gone: {decision.why}")
        match decision:
            case Restart(delay_s=delay_s):
                self.next_start_s = self.machine.monotonic() + delay_s
                self.shown = replace(self.shown, next_start_at=self.machine.now() + timedelta(seconds=delay_s))
            case GiveUp():
                self.give_up = decision

    def _mind_life(self, life: Life) -> None:
        was_stopping = life.is_stopping
        life.mind()
        if life.ready and not self.was_ready:
            self.was_ready = True
            self._note("ready")
        if life.failed and not was_stopping:
            self._note(f"{life.failed[1]}; stopping the process")
        self._note_reload(life)
        if self.reload_wanted and life.can_reload:
            self.reload_wanted = False
            self.shown = replace(self.shown, reload_begun=self.shown.reload_begun + 1)
            life.reload()
            self._note_reload(life)

    def _note_reload(self, life: Life) -> None:
        if life.reloaded is None:
            return
        now, number = self.machine.now(), self.shown.reload_begun
        self.shown = replace(self.shown, last_reload=life.reloaded, last_reload_at=now, reload_over=number)
        self._note(life.reloaded)
        life.reloaded = None

    def _take_messages(self) -> None:
        for message in self.machine.take_messages():
            if message.is_own and self.life is not None:
                self.life.heed(message)
            elif not message.is_own and not self.said_foreign:
                self.said_foreign = True
                self._note(f"a message of process {message.pid}, which is not of this run, does not count")

    def _heed(self, number: int) -> None:
        super()._heed(number)
        if number == signal.SIGUSR2:
            self.reload_wanted = True

    def _mind_proofs(self) -> None:
        if stop := self.proofs.stop:
            self._stop(stop.cause if stop.cause in _STOP_CAUSES else "stop-requested", stop.why)
        self._mind_storage()

    def _read_stop(self) -> StopRequest | None:
        """One that went on without its locks (`on_storage_loss: continue`) ends when its run is over for all others:
        another may be active by then, and this one would be so beside it for ever."""
        job = self.job
        stop = super()._read_stop()
        if stop is None and self.proofs.failed and running.is_over(job.paths, job.claim.key, job.claim.fence):
            reason = "it went on without its locks, and the others have taken it for lost"
            return StopRequest("its runner", job.claim.node, reason, "storage")
        return stop

    def _signal_stop(self) -> None:
        assert self.stopping is not None
        self._note(self.stopping.why)
        if self.life is not None:
            self.life.may_extend_stop = self.stopping.cause != "storage"
            self.life.stop(self.stopping.kill_at_s)

    def _hurry_stop(self) -> None:
        self._signal_stop()  # the signal is sent once

    def _pause_s(self) -> float:
        """How long nothing needs to be done unless something happens."""
        now_s = self.machine.monotonic()
        moments = [self.look_at_log_s, *self._fencing_moments(now_s)]
        if self.life is None:
            if self.stopping or self.give_up:
                return 0.0
            if (preparing := self.preparing) is None:
                moments.append(self.next_start_s)
            elif not preparing.is_slow:
                moments.append(preparing.began_s + _PREPARED_WITHIN_S)
        elif self.machine.status is not None:
            return kill_pause_s(now_s - self.machine.over_s)
        elif self.life.kill_at_s is not None and now_s >= self.life.kill_at_s:
            return kill_pause_s(now_s - self.life.kill_at_s)
        elif self.fenced == "kill":
            return LOOK_AGAIN_S
        else:
            moments += self.life.moments()
        if self.told != self.shown and self.job.daemons is not None:
            moments.append(self.tell_at_s)
        return max(0.001, min(moments) - now_s)

    # What is shown.

    def _phase(self) -> Phase:
        life = self.life
        if life is None:
            return "stopping" if self.stopping or self.give_up else "waiting" if self.exits else "starting"
        if life.is_stopping or life.leaving:
            return "stopping"
        if not life.ready:
            return "starting"
        return "reloading" if life.is_reloading else "up"

    def _tell(self) -> None:
        """Writes how the daemon is, when that has changed. Nothing depends on it: a /run that is full does no harm."""
        now_s, life, phase = self.machine.monotonic(), self.life, self._phase()
        pid = self.machine.main if life is not None and self.machine.status is None else 0
        if (phase, pid) != (self.shown.phase, self.shown.pid):
            self.shown = replace(self.shown, phase=phase, pid=pid, since=self.machine.now())
        self.shown = replace(
            self.shown,
            began_at=life.began_at if life else None,
            restarts=max(0, self.starts - 1),
            says=life.says if life else "",
            healthy=life.healthy if life else None,
            health_why=life.health_why if life else "",
            next_start_at=self.shown.next_start_at if phase == "waiting" else None,
        )
        if self.job.daemons is None or self.shown == self.told:
            return
        only_says = self.told is not None and replace(self.told, says=self.shown.says) == self.shown
        if now_s < self.tell_at_s and (only_says or self.told is None):
            return
        try:
            os.makedirs(self.job.daemons, exist_ok=True)
            daemons.tell(self.job.daemons, self.shown)
            self.told, self.tell_at_s = self.shown, now_s + _TELL_PAUSE_S
        except (StorageError, OSError):
            self.told, self.tell_at_s = None, now_s + _TELL_AGAIN_S

    def _mind_log(self) -> None:
        now_s = self.machine.monotonic()
        if now_s < self.look_at_log_s:
            return
        self.look_at_log_s = now_s + _LOG_PERIOD_S
        self.machine.look_at_log(self.log)
        if self.machine.log_trouble and self.machine.log_trouble != self.log_trouble:
            self._note(self.machine.log_trouble)
        self.log_trouble = self.machine.log_trouble

    def _note(self, text: str) -> None:
        base.note(f"{to_text(self.machine.now().replace(microsecond=0))} {text}")


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error)).lower()
