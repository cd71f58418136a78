"""One turn of a process that looks after a cell: its chores, a pass of its node, then sleep until something happens."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import schedule

from vcsctl.config import Config
from vcsctl.errors import StorageError
from vcsctl.store import last_runs, state
from vcsctl.store.paths import Paths
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.events import wait_for_events
from vcsctl.vcsd.log import say
from vcsctl.vcsd.node import MOST_PRUNED_AT_ONCE, Node

STORAGE_PAUSE_S = 1.0
_TEMPORARY_AGE_S = 3600.0


class Troubles:
    """What met trouble of the storage, or of this machine (no descriptor or process to be had just now), said once and
    not at every try."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def say(self, source: str, error: Exception) -> None:
        text = f"this machine: {(error.strerror or str(error)).lower()}" if isinstance(error, OSError) else str(error)
        if self._said.get(source) != text:
            say(f"{text}; trying again")
        self._said[source] = text

    def over(self, source: str) -> bool:
        """Whether there had been any."""
        return self._said.pop(source, None) is not None

    def guarded(self, chore: Callable[[], None]) -> bool:
        """A chore that meets such a trouble is done again at its next turn."""
        source = chore.__qualname__
        try:
            chore()
        except (StorageError, OSError) as error:
            self.say(source, error)
            return False
        self.over(source)
        return True


class Wakeup:
    """Signals as events of a poller: those that have come and were not taken yet, and the ends of children."""

    def __init__(self, poller: select.epoll, *numbers: int) -> None:
        self._reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._come: set[int] = set()
        self._former: dict[int, Any] = {}
        poller.register(self._reader, select.EPOLLIN)
        self.heed(signal.SIGCHLD, *numbers)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def heed(self, *numbers: int) -> None:
        for number in numbers:
            self._former.setdefault(number, signal.getsignal(number))
            signal.signal(number, lambda number, _frame: self._come.add(number))

    def leave(self, *numbers: int) -> None:
        """From now on they do again what they did before they were heeded."""
        for number in numbers:
            signal.signal(number, self._former.pop(number))

    def take(self, number: int) -> bool:
        """Whether that signal has come since it was taken last."""
        if number in self._come:
            self._come.discard(number)
            return True
        return False

    def drain(self, events: list[int]) -> None:
        if self._reader in events:
            os.read(self._reader, 4096)


class Turns:
    """`hourly` are chores of the process's own, and so is what it does `before_beat`."""

    def __init__(
        self,
        node: Node,
        paths: Paths,
        config: Config,
        clocks: Clocks,
        poller: select.epoll,
        wakeup: Wakeup,
        troubles: Troubles,
        hourly: tuple[Callable[[], None], ...] = (),
        before_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.node, self.loop, self.troubles = node, node.loop, troubles
        self._paths, self._config, self._clocks = paths, config, clocks
        self._poller, self._wakeup, self._hourly = poller, wakeup, hourly
        self._before_beat = before_beat
        self._plan_chores()

    def one(self) -> list[int]:
        """The descriptors at which something happened."""
        self._chores.run_pending()
        if self._clocks.look():
            say("the clock was set: no slot is claimed for 10 s")
            self.loop.dirty.update(self.loop.services.by_key)  # what was to be looked at by the old time
            self._plan_chores()  # `schedule` keeps wall-clock times: a step back would stop the chores
        try:
            self.node.one_pass()
            if self.troubles.over("pass"):
                self.loop.dirty.update(self.loop.services.by_key)  # what was not looked at meanwhile
        except (StorageError, OSError) as error:
            self.troubles.say("pass", error)
            time.sleep(STORAGE_PAUSE_S)
        return self.wait(min(self.loop.pause_s(), max(0.0, self._chores.idle_seconds or 0.0)))

    def wait(self, pause_s: float) -> list[int]:
        events = wait_for_events(self._poller, pause_s)
        self._wakeup.drain(events)
        if not self.troubles.guarded(lambda: self.loop.look_at_adopted(events)):
            time.sleep(STORAGE_PAUSE_S)
        return events

    def prune(self) -> None:
        self.node.recorder.prune(MOST_PRUNED_AT_ONCE)

    def _plan_chores(self) -> None:
        self._chores = schedule.Scheduler()
        guarded = self.troubles.guarded
        self._chores.every(max(1, int(self._config.heartbeat))).seconds.do(guarded, self._beat)
        self._chores.every(1).seconds.do(guarded, self.prune)
        for chore in (self._sweep, self._compact, *self._hourly):
            self._chores.every().hour.do(guarded, chore)
        guarded(self._beat)

    def _beat(self) -> None:
        self.troubles.guarded(self._before_beat)
        self.node.beat()

    def _compact(self) -> None:
        last_runs.compact(self._paths, self._config.node)

    def _sweep(self) -> None:
        paths = self._paths
        for folder in (paths.queue, paths.overrides, paths.nodes, paths.running):
            state.sweep_temporaries(folder, _TEMPORARY_AGE_S, time.time())
