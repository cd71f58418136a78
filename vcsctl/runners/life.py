"""One process of a daemon from its start to its end: readiness, health, watchdog, time limits. Starts no other one.

`mind` is called whenever something may have happened; `moments` says when at the latest.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from datetime import datetime

from vcsctl.domain.restarts import Exit
from vcsctl.domain.unit import Daemon, Health, Probe
from vcsctl.runners import linux
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.notify import Message
from vcsctl.runners.probes import Question, describe
from vcsctl.runners.spawn import Command

_READY_TIMEOUT_S = 5.0
_LONGEST_EXTENSION_S = 3600.0  # by one message: a mistake in it must not keep a stop from ending
_LONGEST_STATUS = 200
_FIRST_READY_PAUSE_S, _LONGEST_READY_PAUSE_S = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Commands:
    """What a process of the daemon is started with, and the commands beside it; a text says why there is none."""

    main: Command
    ready: Command | str | None = None
    health: Command | str | None = None
    reload: Command | str | None = None


class Life:
    def __init__(self, machine: DaemonMachine, unit: Daemon, commands: Commands) -> None:
        self.ready = False
        self.healthy: bool | None = None
        self.health_why = ""
        self.says = ""
        self.reloading = False
        self.reloaded: str | None = None  # how a reload went that is over
        self.leaving = False  # it said STOPPING=1
        self.failed: tuple[str, str] | None = None  # cause and reason of a stop that is no operator's
        self.kill_at_s: float | None = None
        self.may_extend_stop = True
        self.began_s = machine.monotonic()
        self.began_at: datetime = machine.now()
        self._machine = machine
        self._unit = unit
        self._commands = commands
        self._ready_by_s = self.began_s + unit.start_timeout
        self._over_by_s = self.began_s + unit.timeout if unit.timeout is not None else None
        self._alive_by_s: float | None = None  # the watchdog's
        self._question: Question | None = None
        self._ask_at_s = self.began_s
        self._ready_pause_s = _FIRST_READY_PAUSE_S
        self._failures = 0
        self._reload: Question | None = None
        machine.start(commands.main)

    @property
    def is_stopping(self) -> bool:
        return self.kill_at_s is not None

    def mind(self) -> None:
        now_s = self._machine.monotonic()
        if self.kill_at_s is not None:
            if now_s >= self.kill_at_s:
                self._machine.kill_everything()
            return
        if not self._machine.executed:
            if now_s >= self._ready_by_s:
                self._not_ready()
            return
        if not self.ready:
            self._mind_readiness(now_s)
        if self.ready:
            self._mind_health(now_s)
            self._mind_reload()
        if self._over_by_s is not None and now_s >= self._over_by_s:
            self._fail("timeout", f"ran longer than its timeout of {self._unit.timeout:g} s")
        if self._alive_by_s is not None and now_s >= self._alive_by_s:
            self._fail("unhealthy", f"unhealthy: no WATCHDOG=1 within {self._unit.watchdog:g} s")

    # Readiness.

    def _mind_readiness(self, now_s: float) -> None:
        match self._unit.ready:
            case None:
                self._is_ready(now_s)
            case Probe(after=after) if after is not None:
                if now_s >= self.began_s + after:
                    self._is_ready(now_s)
            case Probe() as probe:
                if self._ask(probe, self._commands.ready, now_s, _READY_TIMEOUT_S) == "":
                    self._is_ready(now_s)
                elif self._question is None and self._ask_at_s <= now_s:
                    self._ask_at_s = now_s + self._ready_pause_s
                    self._ready_pause_s = min(2 * self._ready_pause_s, _LONGEST_READY_PAUSE_S)
        if not self.ready and now_s >= self._ready_by_s:
            self._not_ready()

    def _is_ready(self, now_s: float) -> None:
        self.ready = True
        self._question = None
        if self._unit.health is not None:
            self._ask_at_s = now_s + self._unit.health.period
        if self._unit.watchdog is not None and self._alive_by_s is None:
            self._alive_by_s = now_s + self._unit.watchdog

    def _not_ready(self) -> None:
        self._fail("not-ready", f"not ready within {self._unit.start_timeout:g} s")

    # Health.

    def _mind_health(self, now_s: float) -> None:
        health = self._unit.health
        if health is None:
            return
        answer = self._ask(health, self._commands.health, now_s, health.timeout)
        if answer is None:
            return
        self._ask_at_s = max(now_s, self._ask_at_s + health.period)
        self._failures = self._failures + 1 if answer else 0
        self.healthy, self.health_why = not answer, f"{describe(health)}: {answer}" if answer else ""
        if self._failures >= health.threshold:
            times = f", {self._failures} times" if self._failures > 1 else ""
            self._fail("unhealthy", f"unhealthy: {self.health_why}{times}")

    def _ask(self, probe: Probe | Health, command: Command | str | None, now_s: float, timeout_s: float) -> str | None:
        """An answer that has just come; None while there is none or it is not time to ask."""
        if self._question is None and now_s >= self._ask_at_s:
            self._question = Question(self._machine, probe, command, now_s + timeout_s)
        answer = self._question.answer() if self._question is not None else None
        if answer is not None:
            self._question = None
        return answer

    # Reload.

    @property
    def can_reload(self) -> bool:
        """Not while a command of an earlier one is under way, which may have read what is old by now."""
        return self.ready and not self.is_stopping and self._reload is None

    def reload(self) -> None:
        """Begins it; `reloaded` tells how it went."""
        how = self._unit.reload
        if how is None:
            self.reloaded = "not reloaded: its unit has no reload"
        elif how.signal is not None:
            self._machine.signal_main(getattr(signal, f"SIG{how.signal}"))
            self.reloaded = f"reloaded by SIG{how.signal}"
        else:
            by_s = self._machine.monotonic() + self._unit.start_timeout
            command = self._commands.reload
            if isinstance(command, Command):
                command = replace(command, environment=command.environment | {"MAINPID": str(self._machine.main)})
            self._reload = Question(self._machine, Probe(exec=how.exec), command, by_s)
            self._mind_reload()

    def _mind_reload(self) -> None:
        if self._reload is not None and (answer := self._reload.answer()) is not None:
            self._reload = None
            self.reloaded = f"not reloaded: {answer}" if answer else "reloaded"

    @property
    def is_reloading(self) -> bool:
        return self.reloading or self._reload is not None

    # Messages.

    def heed(self, message: Message) -> None:
        """Of one of its own processes."""
        now_s = self._machine.monotonic()
        fields = message.fields
        if (pid := message.main_pid()) is not None:
            self._machine.set_main(pid)
        if "STATUS" in fields:
            text = fields["STATUS"][:_LONGEST_STATUS]
            self.says = "".join(letter if letter.isprintable() else " " for letter in text)
        if fields.get("RELOADING") == "1":
            self.reloading = True
        if fields.get("READY") == "1":
            self.reloading = False
            if not self.ready and self._unit.ready == "notify" and not self.is_stopping:
                self._is_ready(now_s)
        if fields.get("STOPPING") == "1":
            self.leaving = True
        if self._unit.watchdog is not None and not self.is_stopping:
            if fields.get("WATCHDOG") == "1":
                self._alive_by_s = now_s + self._unit.watchdog
            elif fields.get("WATCHDOG") == "trigger":
                self._fail("unhealthy", "unhealthy: it said WATCHDOG=trigger")
        if (extra_s := message.seconds("EXTEND_TIMEOUT_USEC")) is not None:
            self._extend(now_s + min(extra_s, _LONGEST_EXTENSION_S))

    def _extend(self, until_s: float) -> None:
        """Of the limit that is running: for stopping, for starting, or for its life."""
        if self.kill_at_s is not None:
            if self.may_extend_stop:
                self.kill_at_s = max(self.kill_at_s, until_s)
        elif not self.ready:
            self._ready_by_s = max(self._ready_by_s, until_s)
        elif self._over_by_s is not None:
            self._over_by_s = max(self._over_by_s, until_s)

    # The end.

    def _fail(self, cause: str, why: str) -> None:
        if not self.is_stopping:
            self.failed = (cause, why)
            self.stop(self._machine.monotonic() + self._unit.stop_timeout)

    def stop(self, kill_at_s: float) -> None:
        """The unit's signal now, once; KILL at that moment at the latest."""
        if self.kill_at_s is None:
            self.kill_at_s = kill_at_s
            self._machine.signal_everything(getattr(signal, f"SIG{self._unit.stop_signal}"))
        self.kill_at_s = min(self.kill_at_s, kill_at_s)

    def exit(self) -> Exit:
        """Once the main process and all that it left are gone."""
        cause, why = self.failed or self._end_of_process()
        return Exit(cause, why, self.began_s, self._machine.over_s)

    def _end_of_process(self) -> tuple[str, str]:
        if self._machine.fault:
            return "cannot-start", self._machine.fault
        if not self._machine.is_status_known:
            return "exited", "ended, its parent has the status"
        assert self._machine.status is not None
        code = os.waitstatus_to_exitcode(self._machine.status)
        if code < 0:
            return "signal", f"killed by signal {linux.signal_name(-code)}"
        return ("exit-code" if code else "exited"), f"exited with code {code}"

    def moments(self) -> list[float]:
        """When something is due, in monotonic seconds."""
        if self.kill_at_s is not None:
            return [self.kill_at_s]
        if not self._machine.executed:
            return [self._ready_by_s]
        found = [moment for moment in (self._over_by_s, self._alive_by_s) if moment is not None]
        if not self.ready:
            found.append(self._ready_by_s)
            if isinstance(self._unit.ready, Probe):
                after = self._unit.ready.after
                found.append(self._asks_at_s() if after is None else self.began_s + after)
        elif self._unit.health is not None:
            found.append(self._asks_at_s())
        if self._reload is not None:
            found.append(self._reload.by_s)
        return found

    def _asks_at_s(self) -> float:
        return self._question.by_s if self._question is not None else self._ask_at_s
