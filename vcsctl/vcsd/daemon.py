"""One vcsd from start to end: checks, the catalog, the loop, its chores and its signals."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import schedule

from vcsctl.catalog.snapshot import Snapshot, read_snapshot
from vcsctl.config import Config, Places
from vcsctl.domain.unit import to_plain
from vcsctl.errors import RefusedError, StorageError, VcsError
from vcsctl.runners import cgroups, compiler, linux, oneshot
from vcsctl.runners.programs import missing_program
from vcsctl.runners.supervise import Runs, nudge
from vcsctl.store import history, locks, nodes, state
from vcsctl.store.cell import Cell, make_cell
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import QueueReader
from vcsctl.store.records import Faults, set_aside_in
from vcsctl.store.selftest import prove_storage
from vcsctl.vcsd import loop as looping
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.control import Control, Reply
from vcsctl.vcsd.expiry import expire_overrides
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.log import say
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.services import Services

_MOST_PRUNED_AT_ONCE = 20  # services a second: each costs a sync, and the loop stands still meanwhile
_TEMPORARY_AGE_S = 3600.0


class Daemon:
    def __init__(self, where: Places, config: Config) -> None:
        self.where, self.config, self.node = where, config, config.node
        self.paths = Paths(config.shared_dir)
        self.faults = Faults()
        self.snapshot = Snapshot({}, ())
        self.started_at = datetime.now(UTC)
        self.beats = 0
        self.ending = False
        self.hangup = False  # SIGHUP came: reload
        self.reloading: compiler.Compilation | None = None
        self.told_when_reloaded: list[Reply] = []
        self.reload_again: list[Reply] = []  # asked for after the files of the current one were looked at
        self.boot_id = linux.boot_id()
        self.clocks = Clocks()
        os.environ["TZ"] = "UTC"  # `schedule` reckons with naive local times: an hour set back froze it
        time.tzset()

    def prepare(self) -> None:
        """Everything that must be right before the first pass. Raises VcsError with the way out."""
        cell = make_cell(self.paths)
        if self.config.cell not in (None, cell.id):
            raise RefusedError(
                f"{self.paths.root} is cell {cell.id}, vcs.yaml expects {self.config.cell}; mount the right one"
            )
        self.fence_after_s = prove_storage(
            self.paths.root, allow_nfs3=self.config.allow_nfs3, fence_after=self.config.fence_after
        )
        node_lock = locks.try_lock(self.paths.node_lock(self.node))
        if node_lock is None:
            raise RefusedError(
                f"another vcsd runs as node {self.node}; stop it, or give this one another name in vcs.yaml"
            )
        self.node_lock = node_lock
        node_lock.write(node_lock.next_fence(), f"{self.node} pid {os.getpid()}")
        linux.become_subreaper()
        self.poller = select.epoll()
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.poller.register(reader, select.EPOLLIN)
        self.signals = reader
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._build(cell)
        history.compact_last(self.paths, self.node)
        self.control = Control(self.where.socket, self.poller, self._answer)
        compiler.start_compilation(self.where).finish()
        self._adopt_catalog()
        self.loop.start_over(self.services.by_key)
        self._plan_chores()
        gc.collect()
        gc.freeze()  # what is loaded now lives for ever: no collection touches it, no fork copies it

    def _build(self, cell: Cell) -> None:
        reader = state.StateReader(self.paths, self.faults)
        observer = Observer(self.paths, reader)
        recorder = Recorder(self.paths, self.node, reader, self.faults)
        runs = Runs(self.poller)
        self.services = Services(self.node, self.config.labels, cell.timezone)
        self.overrides = OverridesReader(self.paths, self.faults)
        launcher = Launcher(
            self.paths,
            self.node,
            self.boot_id,
            self.config.log_dir,
            self.fence_after_s,
            cgroups.find_base(cell.id),
            observer,
            recorder,
            runs,
            self.clocks,
            oneshot.start,
            lambda key, found, live: self.loop.view(key, found, live),
            lambda key: self.services.by_key.get(key),
        )
        entries = QueueReader(self.paths, self.faults)
        services, faults = self.services, self.faults
        self.loop = looping.Loop(
            self.config,
            self.paths,
            services,
            launcher,
            observer,
            recorder,
            runs,
            faults,
            entries,
            self.overrides,
            self.clocks,
        )

    def run(self) -> None:
        say(f"vcsd on node {self.node}: {len(self.services.by_key)} services, shared directory {self.paths.root}")
        while not self.ending:
            self.chores.run_pending()
            if self.hangup:
                self.hangup = False
                self.reload(lambda _: None)
            self._finish_reload()
            if self.clocks.look():
                say("the clock was set: no slot is claimed for 10 s")
                self.loop.dirty.update(self.services.by_key)  # what was to be looked at by the old time
                self._plan_chores()  # `schedule` keeps wall-clock times: a step back would stop the chores
            try:
                self.loop.one_pass()
            except StorageError as error:
                say(str(error))
                self.loop.dirty.update(self.services.by_key)
                time.sleep(1.0)
            pause_s = min(self.loop.pause_s(), max(0.0, self.chores.idle_seconds or 0.0))
            events = looping.wait_for_events(self.poller, pause_s)
            if self.signals in events:
                os.read(self.signals, 4096)
            self.control.take(events)
            self.loop.look_at_adopted(events)
        self._guarded(lambda: self.loop.recorder.prune(_MOST_PRUNED_AT_ONCE))
        say("stopped; running runs go on")

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
            self._adopt_catalog()
        except VcsError as error:
            say(str(error))
            self._reloaded({"error": str(error)})
            return
        texts = [str(problem) for problem in self.snapshot.all_problems]
        self._reloaded({"ok": True, **summary, "texts": texts})

    def _reloaded(self, answer: dict[str, Any]) -> None:
        for reply in self.told_when_reloaded:
            reply(answer)
        self.told_when_reloaded.clear()
        again, self.reload_again = self.reload_again, []
        for reply in again:
            self.reload(reply)

    def _adopt_catalog(self) -> None:
        snapshot = read_snapshot(self.where.snapshot)
        if snapshot is None:
            raise VcsError(f"cannot read {self.where.snapshot} back; see to the disk it lies on")
        published = nodes.read_units(self.paths, self.node)
        before = {row["key"]: row["schedule_digest"] for row in (published.units if published else {}).values()}
        self.snapshot = snapshot
        touched = self.services.adopt(snapshot, self.overrides.read())
        self.loop.dirty |= touched  # first: whatever fails below, none of them is forgotten
        for key in touched:
            self.loop.note_schedule(key, before.get(key))
        for problem in snapshot.all_problems:
            say(str(problem))
        self._publish_units()
        self._expire_overrides()
        say(f"catalog: {len(snapshot.units)} units, {len(touched)} changed")

    def _publish_units(self) -> None:
        rows: dict[str, dict[str, Any]] = {}
        for name, compiled in self.snapshot.units.items():
            unit = self.services.declared.get(name)
            service = self.services.by_key.get(self.services.keys.get(name, ""))
            rows[name] = {
                "plain": to_plain(unit) if unit else compiled.plain,
                "masked": compiled.masked,
                "stale": compiled.stale,
                "broken": compiled.plain is None and not compiled.masked,
                "key": service.key if service else "",
                "schedule_digest": service.schedule_digest if service else "",
                "missing": missing_program(unit) if unit else None,
            }
        problems = [str(problem) for problem in self.snapshot.all_problems]
        nodes.publish_units(self.paths, nodes.NodeUnits(self.node, self.services.timezone, rows, problems))

    # Chores, signals, requests.

    def _plan_chores(self) -> None:
        self.chores = schedule.Scheduler()
        self.chores.every(max(1, int(self.config.heartbeat))).seconds.do(self._guarded, self._beat)
        self.chores.every(1).seconds.do(self._guarded, lambda: self.loop.recorder.prune(_MOST_PRUNED_AT_ONCE))
        self.chores.every().hour.do(self._guarded, self._sweep)
        self.chores.every().hour.do(self._guarded, lambda: history.compact_last(self.paths, self.node))
        self.chores.every().hour.do(self._guarded, self._expire_overrides)
        self._guarded(self._beat)

    def _guarded(self, chore: Callable[[], None]) -> bool:
        """A chore that meets failing storage is done again at its next turn."""
        try:
            chore()
        except StorageError as error:
            say(str(error))
            return False
        return True

    def _beat(self) -> None:
        self.beats += 1
        faults = [str(problem) for problem in self.faults.problems.values()]
        for folder in (self.paths.queue, self.paths.overrides):
            faults += [
                f"{path}: was unreadable and is set aside; look at it and remove it" for path in set_aside_in(folder)
            ]
        nodes.publish_state(
            self.paths,
            nodes.NodeState(
                self.node,
                self.beats,
                self.boot_id,
                os.getpid(),
                self.started_at,
                self.config.heartbeat,
                self.config.labels,
                tuple(faults),
            ),
        )

    def _expire_overrides(self) -> None:
        for sentence in expire_overrides(self.paths, self.services):
            say(sentence)

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
