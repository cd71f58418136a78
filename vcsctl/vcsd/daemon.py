"""The process vcsd: one node with its signals, its socket, its chores, and the child that compiles its units."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from vcsctl.catalog.snapshot import Snapshot, read_snapshot
from vcsctl.config import Config
from vcsctl.errors import RefusedError, StorageError, VcsError
from vcsctl.places import Places
from vcsctl.runners import cgroups, compiler, linux, proc, spawn
from vcsctl.runners.going_down import machine_goes_down
from vcsctl.runners.programs import missing_program
from vcsctl.runners.start import start
from vcsctl.runners.supervise import Runs, nudge
from vcsctl.store import last_runs
from vcsctl.store.cell import Cell
from vcsctl.store.cell_entry import enter_cell
from vcsctl.store.locks import NodeLock
from vcsctl.store.paths import Paths
from vcsctl.store.selftest import prove_storage
from vcsctl.vcsd import systemd
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.control import Control, Reply
from vcsctl.vcsd.events import wait_for_events
from vcsctl.vcsd.keeper import Keeper
from vcsctl.vcsd.log import say
from vcsctl.vcsd.mirror import Mirror
from vcsctl.vcsd.node import Node
from vcsctl.vcsd.permits import GrantedPermits, SharedPermits
from vcsctl.vcsd.presence import Machine
from vcsctl.vcsd.shutdown import extend, stop_all, stop_patience_s
from vcsctl.vcsd.turns import STORAGE_PAUSE_S, Troubles, Turns, Wakeup

_PROBE_PATIENCE_S = 5.0
_ENDS = (signal.SIGTERM, signal.SIGINT)


class Daemon:
    def __init__(self, where: Places, config: Config) -> None:
        self.where, self.config = where, config
        self.paths = Paths(config.shared_dir)
        self.clocks = Clocks()
        self.reloading: compiler.Compilation | None = None
        self.told_when_reloaded: list[Reply] = []
        self.reload_again: list[Reply] = []  # asked for after the files of the current one were looked at
        self.troubles = Troubles()
        os.environ["TZ"] = "UTC"  # `schedule` reckons with naive local times: an hour set back froze it
        time.tzset()

    def prepare(self) -> None:
        """Everything that must be right before the first pass. Raises VcsError with the way out."""
        linux.become_subreaper()
        spawn.raise_open_files()
        self.poller = select.epoll()
        self.wakeup = Wakeup(self.poller, signal.SIGHUP)
        os.makedirs(self.where.daemons, mode=0o755, exist_ok=True)  # gone with each reboot
        self.keeper = Keeper(self.where, self.config, this_machine())
        self._compile()  # this and the keeper before anything touches the share
        cell, fence_after_s, lock = self._wait_for_storage()
        self.node = Node(
            config=self.config,
            paths=self.paths,
            timezone=cell.timezone,
            machine=this_machine(),
            lock=lock,
            fence_after_s=fence_after_s,
            cgroup_base=cgroups.find_base(cell.id),
            clocks=self.clocks,
            runs=Runs(self.poller, self.keeper.processes),
            start_runner=start,
            missing=missing_program,
            part="shared",
            local=Paths(self.where.local_cell),
            daemons=self.where.daemons,
        )
        self.loop = self.node.loop
        self.mirror = Mirror(
            self.paths,
            Paths(self.where.local_cell),
            cell.id,
            self.config.node,
            self.node.services,
            self.node.presence,
            self.node.faults,
            GrantedPermits(self.where.permits, SharedPermits(self.paths)),
            self.clocks,
            self.keeper.look,
        )
        last_runs.compact(self.paths, self.config.node)
        self.control = Control(self.where.socket, self.poller, self._answer)
        self.node.begin(self._compiled())
        hourly = (self._prove_storage_again, self.node.expire_overrides)
        self.turns = Turns(
            self.node,
            self.paths,
            self.config,
            self.clocks,
            self.poller,
            self.wakeup,
            self.troubles,
            hourly,
            self._prove_untrusted,
        )
        self.wakeup.heed(*_ENDS)  # not before: what was read of the share until here may have hung
        gc.collect()
        gc.freeze()  # what is loaded now lives for ever: no collection touches it, no fork copies it

    def _compile(self) -> None:
        compiler.start_compilation(self.where).finish()
        self.keeper.see_to(self._compiled())

    def _wait_for_storage(self) -> tuple[Cell, float | None, NodeLock]:
        """The cell, the fence that its storage needs, this node's own lock.

        A share that is not there, or is in trouble, or does not answer, is waited for, visibly.
        """
        lock = NodeLock(self.paths, self.config.node)
        while True:
            self.wakeup.heed(*_ENDS)
            self._wait_for_an_answer()
            self.wakeup.leave(*_ENDS)  # a share that hangs must not keep them from ending us
            if self._is_told_to_end():  # nor one that came just before
                self._end_without_the_share()
            try:
                cell = enter_cell(self.paths, self.config.cell, self.where.remembered_cell)
                fence_after_s = self._prove_storage()
                lock.take()
            except (StorageError, RefusedError) as error:
                hopeless = isinstance(error, RefusedError) or isinstance(error.__cause__, PermissionError)
                if hopeless and not self.keeper.is_kept:
                    raise  # waiting does not help, and nobody needs us meanwhile
                self.wakeup.heed(*_ENDS)
                self._waits(error)
                again_s = time.monotonic() + STORAGE_PAUSE_S
                while (left_s := again_s - time.monotonic()) > 0:
                    self._tend(left_s)  # which returns early at any event
                continue
            return cell, fence_after_s, lock

    def _wait_for_an_answer(self) -> None:
        """By a child: whoever asks a mount that hangs cannot be told anything until it answers, not even to stop."""
        parent, pid = os.getpid(), linux.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                signal.set_wakeup_fd(-1)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # not even a kill may end it: it would keep our locks
                linux.die_with_parent()
                if os.getppid() == parent:
                    os.listdir(self.paths.root)
            os._exit(0)
        ended, give_up_s = os.pidfd_open(pid), time.monotonic() + _PROBE_PATIENCE_S
        self.poller.register(ended, select.EPOLLIN)
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > give_up_s:
                self._waits(StorageError(f"{self.paths.root} does not answer"))
            self._tend(STORAGE_PAUSE_S)
        self.poller.unregister(ended)
        os.close(ended)

    def _waits(self, error: VcsError) -> None:
        self.troubles.say("start", error)
        systemd.notify("READY=1", f"STATUS=waits for the shared directory: {error}")

    def _tend(self, pause_s: float) -> None:
        """What goes on while the share is waited for."""
        self.wakeup.drain(wait_for_events(self.poller, pause_s))
        if self._is_told_to_end():
            self._end_without_the_share()
        self.keeper.mind()
        if self.wakeup.take(signal.SIGHUP):
            systemd.notify_reloading()
            try:
                self._compile()
            except VcsError as error:
                say(str(error))
            except OSError as error:  # no process or descriptor to be had just now
                say(f"cannot reload: {(error.strerror or str(error)).lower()}; try again later")
            systemd.notify("READY=1")

    def _is_told_to_end(self) -> bool:
        return any(self.wakeup.take(number) for number in _ENDS)

    def _end_without_the_share(self) -> NoReturn:
        systemd.notify("STOPPING=1", "STATUS=stops; daemons go on")
        if machine_goes_down():
            others = self.keeper.go_down()
            give_up_s = time.monotonic() + stop_patience_s(others)
            while not self.keeper.is_over() and time.monotonic() < give_up_s:
                extend(f"stops {len(others)} daemons")
                self.wakeup.drain(wait_for_events(self.poller, STORAGE_PAUSE_S))
        say("stopped while it waited for the shared directory")
        sys.exit(0)

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

    def _prove_untrusted(self) -> None:
        if self.node.presence.untrusted:  # an hour is long for what may have passed by now
            self._prove_storage_again()

    def run(self) -> None:
        services = len(self.loop.services.by_key) + len(self.loop.services.apart)
        say(f"vcsd on node {self.config.node}: {services} services, shared directory {self.paths.root}")
        systemd.notify("READY=1", f"STATUS=node {self.config.node}, shared directory {self.paths.root}")
        mirror_again_s = 0.0
        while not self._is_told_to_end():
            if self.wakeup.take(signal.SIGHUP):
                systemd.notify_reloading()
                self.reload(lambda _: systemd.notify("READY=1"))
            self._finish_reload()
            self._take(self.turns.one())
            self.keeper.mind()
            if self.keeper.is_kept and time.monotonic() >= mirror_again_s:
                mirror_again_s = time.monotonic() + self.config.poll
                self.troubles.guarded(self.mirror.look)
        systemd.notify("STOPPING=1", "STATUS=stops; runs go on")
        if machine_goes_down():
            self._go_down()
            return
        self.troubles.guarded(self.turns.prune)
        say("stopped; running runs go on")

    def _take(self, events: list[int]) -> None:
        if not self.troubles.guarded(lambda: self.control.take(events)):
            time.sleep(STORAGE_PAUSE_S)  # no descriptor to be had for who asks: the next look is as good

    def _go_down(self) -> None:
        others = self.keeper.go_down()
        stop_all(self.turns, self.paths, self.config.node, others, lambda: not self.keeper.is_over())
        self.troubles.guarded(self.mirror.look)  # the outcomes of those that the keeper has stopped
        say("stopped, and the runs of this machine with it")

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
            snapshot = self._compiled()
            self.node.adopt(snapshot)
            self.keeper.see_to(snapshot)
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

    # Requests.

    def _answer(self, request: dict[str, Any], reply: Reply) -> None:
        match request.get("do"):
            case "wake":
                reply({"ok": self.troubles.guarded(self._look)})
            case "reload":
                self.reload(reply)
            case "stop":
                run = self.loop.runs.by_key.get(str(request.get("key")))
                if run is not None and run.pid and (ticks := proc.process_started(run.pid)):
                    nudge(run.pid, ticks)
                reply({"ok": run is not None})
            case _:
                reply({"error": "unknown request"})

    def _look(self) -> None:
        self.loop.observe()
        if self.keeper.is_kept:
            self.mirror.look()


def this_machine() -> Machine:
    return Machine(os.uname().nodename, proc.machine_id(), proc.boot_id())
