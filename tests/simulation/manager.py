"""vcsd on a simulated node: the real node of the cell, its loop turned and its chores done as the daemon does it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from tests.simulation.commands import Began, Children, Conduct, SimulatedRuns
from tests.simulation.node import Node, NodeClocks
from tests.simulation.scheduler import Process
from vcsctl.catalog.snapshot import CompiledUnit, Snapshot
from vcsctl.config import Config
from vcsctl.domain.unit import Unit, to_plain
from vcsctl.errors import RefusedError, StorageError
from vcsctl.runners.base import Job
from vcsctl.store import last_runs
from vcsctl.store.cell import make_cell
from vcsctl.store.locks import NodeLock
from vcsctl.store.paths import Paths
from vcsctl.vcsd.node import MOST_PRUNED_AT_ONCE
from vcsctl.vcsd.node import Node as CellNode
from vcsctl.vcsd.presence import Machine

Catalog = dict[str, Unit]


def snapshot_of(catalog: Catalog) -> Snapshot:
    units = {}
    for name, unit in catalog.items():
        plain = json.loads(json.dumps(to_plain(unit)))
        digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=8).hexdigest()
        units[name] = CompiledUnit(name, plain, False, False, digest, (), (), ())
    return Snapshot(units, ())


class Manager:
    """One vcsd from its start to its death. `catalog` is what the unit files of this node say at present."""

    def __init__(
        self,
        node: Node,
        config: Config,
        timezone: str,
        catalog: Callable[[], Catalog],
        conduct: Callable[[Job], Conduct],
        began: Began,
        adopted: Callable[[Manager], None],
        say: Callable[[str], None],
        *,
        with_cgroups: bool,
    ) -> None:
        self.node = node
        self.config = config
        self.timezone = timezone
        self.catalog = catalog
        self.process: Process = node.process("vcsd")
        self.children = Children(self.process)
        self.conduct = conduct
        self.began = began
        self.adopted = adopted
        self.paths = Paths(config.shared_dir)
        self.reload_wanted = False
        self.current: Catalog = {}
        self.say = say
        self.with_cgroups = with_cgroups
        self.passes = 0

    # From outside: signals and the socket.

    def reload(self) -> None:
        self.reload_wanted = True
        self.children.wake()

    def wake(self) -> None:
        self.children.wake()

    # The process.

    def start(self) -> None:
        self.process.run(self._run)

    def _run(self) -> None:
        try:
            self._prepare()
            self._turn()
        except (StorageError, RefusedError) as error:
            self.say(str(error))
            self.process.status = 75 << 8

    def _prepare(self) -> None:
        self.clocks = NodeClocks(self.node)
        lock = NodeLock(self.paths, self.node.name)
        while True:
            try:
                make_cell(self.paths)  # each vcsd sees to it: who made it may have been interrupted
                lock.take()
                break
            except StorageError as error:
                self.say(f"{error}; trying again")
                self.clocks.sleep(1.0)
        self.cell = CellNode(
            config=self.config,
            paths=self.paths,
            timezone=self.timezone,
            machine=Machine(self.node.name, self.node.name, self.node.boot_id),
            lock=lock,
            fence_after_s=self.config.fence_after,
            cgroup_base="cgroup" if self.with_cgroups else None,
            clocks=self.clocks,
            runs=SimulatedRuns(self.children),
            start_runner=lambda job: self.children.fork_runner(job, self.conduct, self.began),
            missing=lambda unit: None,
        )
        self.loop = self.cell.loop
        last_runs.compact(self.paths, self.node.name)
        self._take_over(self.cell.begin)

    def _turn(self) -> None:
        chores = {self.cell.beat: self.config.heartbeat, self._prune: self.config.heartbeat}
        due = dict.fromkeys(chores, self.clocks.monotonic())
        while True:
            for chore, every_s in chores.items():
                if self.clocks.monotonic() >= due[chore]:
                    due[chore] = self.clocks.monotonic() + every_s
                    self._guarded(chore)
            if self.reload_wanted:
                self._guarded(self._reload)
            if self.clocks.look():
                self.loop.dirty.update(self.loop.services.by_key)
            self.passes += 1
            try:
                self.cell.one_pass()
            except StorageError as error:
                self.say(f"{error}; trying again")
                self.loop.dirty.update(self.loop.services.by_key)
                self.clocks.sleep(1.0)
            pause_s = min(self.loop.pause_s(), *(moment - self.clocks.monotonic() for moment in due.values()))
            events = self.children.wait(max(0.0, pause_s))
            self.loop.look_at_adopted(events)

    def _prune(self) -> None:
        self.cell.recorder.prune(MOST_PRUNED_AT_ONCE)

    def _reload(self) -> None:
        """An operator repeats a reload that failed."""
        self._take_over(self.cell.adopt)
        self.reload_wanted = False

    def _take_over(self, adopt: Callable[[Snapshot], None]) -> None:
        catalog = self.catalog()
        snapshot = snapshot_of(catalog)
        try:
            adopt(snapshot)
        finally:
            digests = {name: unit.digest for name, unit in snapshot.units.items()}
            if self.process.alive and self.cell.services.digests == digests:
                self.current = catalog
                self.adopted(self)

    def _guarded(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except StorageError as error:
            self.say(f"{error}; trying again")
