"""The process vcsd: one node with its signals, its socket, its chores, and the child that compiles its units."""

from __future__ import annotations

import functools
import gc
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import schedule

from vcsctl.catalog.snapshot import Snapshot, read_snapshot
from vcsctl.config import Config, Places
from vcsctl.errors import RefusedError, StorageError, VcsError
from vcsctl.runners import cgroups, compiler, linux, oneshot, spawn
from vcsctl.runners.programs import missing_program
from vcsctl.runners.supervise import Runs, nudge
from vcsctl.store import history, state
from vcsctl.store.cell import Cell, enter_cell
from vcsctl.store.locks import NodeLock
from vcsctl.store.paths import Paths
from vcsctl.store.selftest import prove_storage
from vcsctl.vcsd import loop as looping
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.control import Control, Reply
from vcsctl.vcsd.log import say
from vcsctl.vcsd.node import MOST_PRUNED_AT_ONCE, Node
from vcsctl.vcsd.presence import Machine

_TEMPORARY_AGE_S = 3600.0
_STORAGE_PAUSE_S = 1.0


class Daemon:
    def __init__(self, where: Places, config: Config) -> None:
        self.where, self.config = where, config
        self.paths = Paths(config.shared_dir)
        self.clocks = Clocks()
        self.ending = False
        self.hangup = False  # SIGHUP came: reload
        self.reloading: compiler.Compilation | None = None
        self.told_when_reloaded: list[Reply] = []
        self.reload_again: list[Reply] = []  # asked for after the files of the current one were looked at
        self._troubles: dict[str, str] = {}  # what met trouble of the storage → as it was said last
        os.environ["TZ"] = "UTC"  # `schedule` reckons with naive local times: an hour set back froze it
        time.tzset()

    def prepare(self) -> None:
        """Everything that must be right before the first pass. Raises VcsError with the way out."""
        cell, fence_after_s, lock = self._wait_for_storage()
        linux.become_subreaper()
        spawn.raise_open_files()
        self.poller = select.epoll()
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.poller.register(reader, select.EPOLLIN)
        self.signals = reader
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.node = Node(
            config=self.config,
            paths=self.paths,
            timezone=cell.timezone,
            machine=this_machine(),
            lock=lock,
            fence_after_s=fence_after_s,
            cgroup_base=cgroups.find_base(cell.id),
            clocks=self.clocks,
            runs=Runs(self.poller),
            start_runner=oneshot.start,
            missing=missing_program,
        )
        self.loop = self.node.loop
        history.compact_last(self.paths, self.config.node)
        self.control = Control(self.where.socket, self.poller, self._answer)
        compiler.start_compilation(self.where).finish()
        self.node.begin(self._compiled())
        self._plan_chores()
        gc.collect()
        gc.freeze()  # what is loaded now lives for ever: no collection touches it, no fork copies it

    def _wait_for_storage(self) -> tuple[Cell, float | None, NodeLock]:
        """The cell, the fence that its storage needs, this node's own lock.

        A share that is not there, or is in trouble, is waited for, visibly.
        """
        lock = NodeLock(self.paths, self.config.node)
        while True:
            try:
                cell = enter_cell(self.paths, self.config.cell, self.where.remembered_cell)
                fence_after_s = self._prove_storage()
                lock.take()
            except StorageError as error:
                if isinstance(error.__cause__, PermissionError):
                    raise  # waiting does not help
                self._trouble("start", error)
                time.sleep(_STORAGE_PAUSE_S)
                continue
            return cell, fence_after_s, lock

    def _prove_storage(self) -> float | None:
        config = self.config
        return prove_storage(self.paths.root, allow_nfs3=config.allow_nfs3, fence_after=config.fence_after)

    def _prove_storage_again(self) -> None:
        """It may have been mounted anew, with other options, or its server may give another lease."""
        try:
            self.loop.launcher.fence_after_s = self._prove_storage()
            self.node.presence.untrusted = ""
        except RefusedError as error:
            self.node.presence.untrusted = str(error)

    def _trouble(self, source: str, error: StorageError | OSError) -> None:
        """Of the storage, or of this machine: no descriptor or process to be had just now. Said once, not at every
        try."""
        text = (
            str(error) if isinstance(error, StorageError) else f"this machine: {(error.strerror or str(error)).lower()}"
        )
        if self._troubles.get(source) != text:
            say(f"{text}; trying again")
        self._troubles[source] = text

    def run(self) -> None:
        services = len(self.loop.services.by_key)
        say(f"vcsd on node {self.config.node}: {services} services, shared directory {self.paths.root}")
        while not self.ending:
            self.chores.run_pending()
            if self.hangup:
                self.hangup = False
                self.reload(lambda _: None)
            self._finish_reload()
            if self.clocks.look():
                say("the clock was set: no slot is claimed for 10 s")
                self.loop.dirty.update(self.loop.services.by_key)  # what was to be looked at by the old time
                self._plan_chores()  # `schedule` keeps wall-clock times: a step back would stop the chores
            try:
                self.node.one_pass()
                if self._troubles.pop("pass", None):
                    self.loop.dirty.update(self.loop.services.by_key)  # what was not looked at meanwhile
            except (StorageError, OSError) as error:
                self._trouble("pass", error)
                time.sleep(_STORAGE_PAUSE_S)
            pause_s = min(self.loop.pause_s(), max(0.0, self.chores.idle_seconds or 0.0))
            events = looping.wait_for_events(self.poller, pause_s)
            if self.signals in events:
                os.read(self.signals, 4096)
            if not self._guarded(functools.partial(self._take, events), "events"):
                time.sleep(_STORAGE_PAUSE_S)
        self._guarded(lambda: self.node.recorder.prune(MOST_PRUNED_AT_ONCE))
        say("stopped; running runs go on")

    def _take(self, events: list[int]) -> None:
        self.loop.look_at_adopted(events)
        self.control.take(events)

    # The catalog.

    def reload(self, reply: Reply) -> None:
        """Has the unit files compiled beside the loop; `reply` is told what came of it."""
        if self.reloading is not None:
            self.reload_again.append(reply)
            return
        self.told_when_reloaded.append(reply)
        try:
            self.reloading = compiler.start_compilation(self.where)
            self.loop.runs.helpers.add(self.reloading.process.pid)
        except OSError as error:
            self._reloaded({"error": f"cannot start the compiler: {error.strerror}"})

    def _finish_reload(self) -> None:
        if self.reloading is None or not self.reloading.is_over():
            return
        compilation, self.reloading = self.reloading, None
        self.loop.runs.helpers.discard(compilation.process.pid)
        try:
            summary = compilation.finish()
            self.node.adopt(self._compiled())
        except (VcsError, OSError) as error:
            say(str(error))
            self._reloaded({"error": str(error)})
            return
        texts = [str(problem) for problem in self.node.snapshot.all_problems]
        self._reloaded({"ok": True, **summary, "texts": texts})

    def _reloaded(self, answer: dict[str, Any]) -> None:
        for reply in self.told_when_reloaded:
            reply(answer)
        self.told_when_reloaded.clear()
        again, self.reload_again = self.reload_again, []
        for reply in again:
            self.reload(reply)

    def _compiled(self) -> Snapshot:
        snapshot = read_snapshot(self.where.snapshot)
        if snapshot is None:
            raise VcsError(f"cannot read {self.where.snapshot} back; see to the disk it lies on")
        return snapshot

    # Chores, signals, requests.

    def _plan_chores(self) -> None:
        self.chores = schedule.Scheduler()
        self.chores.every(max(1, int(self.config.heartbeat))).seconds.do(self._guarded, self._beat)
        self.chores.every(1).seconds.do(self._guarded, lambda: self.node.recorder.prune(MOST_PRUNED_AT_ONCE))
        self.chores.every().hour.do(self._guarded, self._sweep)
        self.chores.every().hour.do(self._guarded, self._prove_storage_again)
        self.chores.every().hour.do(self._guarded, lambda: history.compact_last(self.paths, self.config.node))
        self.chores.every().hour.do(self._guarded, self.node.expire_overrides)
        self._guarded(self._beat)

    def _guarded(self, chore: Callable[[], None], source: str = "") -> bool:
        """A chore that meets failing storage is done again at its next turn."""
        source = source or chore.__qualname__
        try:
            chore()
        except (StorageError, OSError) as error:
            self._trouble(source, error)
            return False
        self._troubles.pop(source, None)
        return True

    def _beat(self) -> None:
        if self.node.presence.untrusted:  # an hour is long for what may have passed by now
            self._guarded(self._prove_storage_again)
        self.node.beat()

    def _sweep(self) -> None:
        for folder in (self.paths.queue, self.paths.overrides, self.paths.nodes, self.paths.running):
            state.sweep_temporaries(folder, _TEMPORARY_AGE_S, time.time())

    def _signalled(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.ending = True
        elif number == signal.SIGHUP:
            self.hangup = True

    def _answer(self, request: dict[str, Any], reply: Reply) -> None:
        match request.get("do"):
            case "wake":
                reply({"ok": self._guarded(self.loop.observe)})
            case "reload":
                self.reload(reply)
            case "stop":
                run = self.loop.runs.by_key.get(str(request.get("key")))
                if run is not None and run.pid and (ticks := linux.process_started(run.pid)):
                    nudge(run.pid, ticks)
                reply({"ok": run is not None})
            case _:
                reply({"error": "unknown request"})


def this_machine() -> Machine:
    return Machine(os.uname().nodename, linux.machine_id(), linux.boot_id())
