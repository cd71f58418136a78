"""One node of a cell: everything of vcsd that the shared directory and the clocks decide.

No signals, no socket, no child that compiles: those are daemon.py's. So the same node runs in the simulation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

from vcsctl.catalog.snapshot import Snapshot
from vcsctl.config import Config
from vcsctl.domain.run import Claim, is_lock
from vcsctl.domain.unit import Daemon, Unit, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners.base import Job
from vcsctl.runners.supervise import Runs
from vcsctl.store import nodes, running, state
from vcsctl.store.daemons import carried_out, carried_out_here
from vcsctl.store.locks import NodeLock
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import QueueReader
from vcsctl.store.records import Faults, set_aside_in
from vcsctl.store.running import RunningReader
from vcsctl.store.state import KeyState
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.conflict import drop_dead_waiters, is_held
from vcsctl.vcsd.daemons import publisher_of
from vcsctl.vcsd.expiry import expire_overrides
from vcsctl.vcsd.keeping import Keeping
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.log import say
from vcsctl.vcsd.loop import Loop
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.orders import Orders
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.permits import Permits, SharedPermits
from vcsctl.vcsd.presence import Machine, Presence
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.recovery import Recovery
from vcsctl.vcsd.rolling import Rolling
from vcsctl.vcsd.services import Services
from vcsctl.vcsd.sharing import Sharing

MOST_PRUNED_AT_ONCE = 20  # services a second: each costs a sync, and the loop stands still meanwhile


# Which services a node looks after: all, or those that need the shared directory, or those that do not.
Part = Literal["all", "shared", "local"]


class Node:
    """`missing` tells what program of a unit this machine lacks. `lock` has been taken. `daemons` is the folder in
    which runners of daemons tell how they are; with `publishes` all that is told there is published in the cell.
    `permits` says whose turn it is to restart a daemon of each node; None: the cell itself.
    """

    def __init__(
        self,
        config: Config,
        paths: Paths,
        timezone: str,
        machine: Machine,
        lock: NodeLock,
        fence_after_s: float | None,
        cgroup_base: str | None,
        clocks: Clocks,
        runs: Runs,
        start_runner: Callable[[Job], int],
        missing: Callable[[Unit], str | None],
        daemons: str | None = None,
        *,
        publishes: bool = True,
        part: Part = "all",
        local: Paths | None = None,
        permits: Permits | None = None,
    ) -> None:
        self.config, self.paths, self._missing = config, paths, missing
        self._lock = lock
        self.faults = Faults()
        self.snapshot = Snapshot({}, ())
        self._schedules_before: dict[str, str | None] = {}  # KEY → digest published before, until the new one is
        self.services = Services(config.node, config.labels, timezone, keeps_apart=part == "shared")
        self._expires_overrides = part != "local"  # there they are copies
        self.overrides = OverridesReader(paths, self.faults)
        self.peers = Peers(paths, config.node, clocks, self.faults)
        self.presence = Presence(paths, config, machine, clocks, self.peers)
        self.index = RunningReader(paths, self.faults)
        reader = state.StateReader(paths, self.faults)
        observer = Observer(paths, reader)
        self.recorder = Recorder(paths, config.node, reader, self.faults, self.peers.is_silent)
        launcher = Launcher(
            paths=paths,
            node=config.node,
            log_dir=config.log_dir,
            boot_id=machine.boot_id,
            fence_after_s=fence_after_s,
            cgroup_base=cgroup_base,
            observer=observer,
            recorder=self.recorder,
            runs=runs,
            index=self.index,
            peers=self.peers,
            clocks=clocks,
            start_runner=start_runner,
            view=lambda key, found: self.loop.fresh_view(key, found),
            service=lambda key: self.services.by_key.get(key),
            missing=self._missing_for,
            daemons=daemons,
            local=local,
        )
        keeping = Keeping(
            paths=paths,
            node=config.node,
            boot_id=machine.boot_id,
            runs=runs,
            peers=self.peers,
            presence=self.presence,
            rolling=Rolling(
                permits or SharedPermits(paths), daemons, clocks, observer.state, lambda key: self.loop.would_start(key)
            ),
            orders=Orders(
                paths=paths,
                node=config.node,
                runs=runs,
                peers=self.peers,
                faults=self.faults,
                state=observer.state,
                decided=lambda key, found: self.loop.decided(key, found),
                is_ours=lambda key: key in self.services.by_key,
                is_apart=self.services.is_apart,
                finish=carried_out_here if part == "local" else carried_out,
            ),
            publisher=publisher_of(paths, config.node, daemons, clocks, cgroup_base) if daemons and publishes else None,
            state=observer.state,
        )
        self.loop = Loop(
            config=config,
            paths=paths,
            services=self.services,
            launcher=launcher,
            recovery=Recovery(launcher),
            observer=observer,
            recorder=self.recorder,
            runs=runs,
            peers=self.peers,
            presence=self.presence,
            sharing=Sharing(config, self.peers, self.presence, runs, self.index, clocks, self._missing_for),
            faults=self.faults,
            queue_reader=QueueReader(paths, self.faults),
            overrides_reader=self.overrides,
            clocks=clocks,
            keeping=keeping,
        )

    def begin(self, snapshot: Snapshot) -> None:
        """Before the first pass: every KEY will be looked at once."""
        self.presence.measure_clock()
        self.presence.refuse_a_double()
        self.peers.look()
        self.adopt(snapshot)
        self.loop.start_over(self.services.by_key)

    # The catalog.

    def adopt(self, snapshot: Snapshot) -> None:
        """Takes over a compiled catalog and publishes it; nothing starts before the other nodes can read it."""
        published = nodes.read_units(self.paths, self.config.node)
        before = {row["key"]: row["schedule_digest"] for row in (published.units if published else {}).values()}
        overrides = self.overrides.read()  # before anything is taken over: what fails here fails as a whole
        self.snapshot = snapshot
        self.presence.unpublished = True
        touched = self.services.adopt(snapshot, overrides)
        self.loop.dirty |= touched  # first: whatever fails below, none of them is forgotten
        for problem in snapshot.all_problems:
            say(str(problem))
        self._schedules_before |= {key: before.get(key) for key in touched}
        self.publish()
        self.expire_overrides()
        say(f"catalog: {len(snapshot.units)} units, {len(touched)} changed")

    def publish(self) -> None:
        rows = {name: self._row(name) for name in self.snapshot.units}
        problems = [str(problem) for problem in self.snapshot.all_problems]
        for key, before in self._schedules_before.items():  # first: it is by what is published that a change is seen
            self.loop.note_schedule(key, before)
        nodes.publish_units(self.paths, nodes.NodeUnits(self.config.node, self.services.timezone, rows, problems))
        self.peers.adopt_own(rows)
        self.loop.note_peers(self.peers.refresh())
        for key in list(self._schedules_before):
            self.loop.note_no_schedule(key)  # last: of two nodes that remove it one sees that the other has
            del self._schedules_before[key]
        self.presence.unpublished = False

    def _row(self, name: str) -> dict[str, Any]:
        compiled = self.snapshot.units[name]
        unit = self.services.declared.get(name)
        service = self.services.named(name)
        return {
            "plain": to_plain(unit) if unit else compiled.plain,
            "masked": compiled.masked,
            "stale": compiled.stale,
            "broken": compiled.plain is None and not compiled.masked,
            "key": service.key if service else "",
            "schedule_digest": service.schedule_digest if service else "",
            "missing": self._missing(unit) if unit else None,
        }

    def _missing_for(self, key: str) -> str | None:
        service = self.services.by_key.get(key)
        return self._missing(service.effective) if service else None

    def expire_overrides(self) -> None:
        if not self._expires_overrides:
            return
        for sentence in expire_overrides(self.paths, self.services):
            say(sentence)

    def one_pass(self) -> None:
        self.loop.one_pass()
        if self.loop.has_news:
            self.loop.has_news = False
            with contextlib.suppress(StorageError):  # the next heartbeat says it
                self.presence.beat(self._faults())

    # Once a heartbeat.

    def beat(self) -> None:
        """Raises RefusedError when another vcsd has this node's name by now."""
        if self.loop.launcher.fence_after_s is not None:  # then locks can be lost
            self._keep_name()
        if self.presence.unpublished or self.peers.forgotten:
            self.publish()
        self.presence.measure_clock()
        for node in self.peers.look():
            self.recorder.take_over(node)
        self.presence.beat(self._faults())
        self.loop.look_at_standing()
        self.loop.note_peers(self.peers.refresh())
        self.sweep()
        self.loop.look_at_adopted(every=True)
        self.loop.dirty |= self._stood_by()
        self.loop.keeping.beat()
        self.loop.recovery.end_leftovers()

    def _keep_name(self) -> None:
        try:
            self._lock.keep()
        except StorageError as error:
            self.presence.unnamed = str(error)
            raise  # nor does it go on beating under a name that may be another's by now
        self.presence.unnamed = ""

    def _faults(self) -> tuple[str, ...]:
        self.faults.forget_removed()
        faults = [str(problem) for problem in self.faults.problems.values()]
        for folder in (self.paths.queue, self.paths.overrides):
            faults += [
                f"{path}: was unreadable and is set aside; look at it and remove it" for path in set_aside_in(folder)
            ]
        return tuple(faults)

    def sweep(self) -> None:
        """Looks at the live runs that are nobody's duty any more, and at names that mean nothing any more."""
        loop = self.loop
        drop_dead_waiters(self.paths, loop.left_to_others)
        for run in loop.runs.adopted():
            if run.descriptor is None and self._is_orphaned(run.claim, loop.observer.state(run.claim.key)):
                loop.runs.remove(run)  # not believed for ever: its lock is tried again
                loop.dirty.add(run.claim.key)
        for run_id, stored in self.index.read().items():
            claim, known = stored.value, loop.runs.by_key.get(stored.value.key)
            if known is not None and known.claim.fence == claim.fence:
                continue
            found = loop.observer.state(claim.key)
            if found.run is None or found.run.value.fence != claim.fence or found.end is not None:
                # Whose removal was cut short, or which was linked late; that of a `vcsctl lock` has served its purpose.
                if not is_lock(claim.key) or self._is_written(claim, found):
                    running.leave(self.paths, run_id)
                loop.dirty.add(claim.key)
            elif self._is_orphaned(claim, found):
                loop.dirty.add(claim.key)

    def _is_written(self, claim: Claim, found: KeyState) -> bool:
        """Whether the history has what a `vcsctl lock` ran. Its name in the index, which is there before its claim, is
        how vcsd learns of it."""
        if found.run is None or found.run.value.fence < claim.fence:
            return not is_held(self.paths, claim.key)
        if claim.node != self.config.node and not self.peers.is_silent(claim.node):
            return False
        self.recorder.record(claim.key)
        return claim.key not in self.recorder.behind

    def _stood_by(self) -> set[str]:
        """KEYs of daemons that other nodes may run and that no run is known of: one may have begun and ended there."""
        found = set()
        for key, service in self.services.by_key.items():
            unit = service.effective
            if isinstance(unit, Daemon) and unit.run_on == "any" and unit.enabled and key not in self.loop.runs.by_key:
                found.add(key)
        return found

    def _is_orphaned(self, claim: Claim, found: KeyState) -> bool:
        """Whether nobody is known to look after a run: its lock is to be tried. It may have been held at one look by
        another node that only tried it too."""
        if found.started is None or claim.node == self.config.node or self.peers.is_silent(claim.node):
            return True
        return self.peers.states[claim.node].boot_id != found.started.value.boot_id
