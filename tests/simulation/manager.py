"""vcsd on a simulated node: the real loop, launcher, recorder, observer and services, wired as the daemon wires them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from tests.simulation.commands import Children, Conduct, SimulatedRuns
from tests.simulation.node import Node, NodeClocks
from tests.simulation.scheduler import Process
from vcsctl.catalog.snapshot import CompiledUnit, Snapshot
from vcsctl.config import Config
from vcsctl.domain.unit import Unit, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners.oneshot import Job
from vcsctl.store import history, locks, nodes, state
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import QueueReader
from vcsctl.store.records import Faults
from vcsctl.vcsd.expiry import expire_overrides
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.loop import Loop
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.services import Services

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
        began: Callable[[Job], Callable[[], None]],
        adopted: Callable[[Manager], None],
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
        self.beats = 0
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
        except StorageError:
            self.process.status = 75 << 8

    def _prepare(self) -> None:
        self.clocks = NodeClocks(self.node)
        while (node_lock := locks.try_lock(self.paths.node_lock(self.node.name))) is None:
            self.clocks.sleep(1.0)  # the init system starts it again
        node_lock.write(node_lock.next_fence(), f"{self.node.name} pid {self.process.pid}")
        self._build()
        history.compact_last(self.paths, self.node.name)
        self._adopt_catalog()
        self.loop.start_over(self.services.by_key)
        self._beat()

    def _build(self) -> None:
        self.faults = Faults()
        reader = state.StateReader(self.paths, self.faults)
        observer = Observer(self.paths, reader)
        recorder = Recorder(self.paths, self.node.name, reader, self.faults)
        runs = SimulatedRuns(self.children)
        self.services = Services(self.node.name, self.config.labels, self.timezone)
        self.overrides = OverridesReader(self.paths, self.faults)
        launcher = Launcher(
            self.paths,
            self.node.name,
            self.node.boot_id,
            self.config.log_dir,
            self.config.fence_after,
            "cgroup",
            observer,
            recorder,
            runs,
            self.clocks,
            lambda job: self.children.fork_runner(job, self.conduct(job), self.began),
            lambda key, found, live: self.loop.view(key, found, live),
            lambda key: self.services.by_key.get(key),
        )
        self.loop = Loop(
            self.config,
            self.paths,
            self.services,
            launcher,
            observer,
            recorder,
            runs,
            self.faults,
            QueueReader(self.paths, self.faults),
            self.overrides,
            self.clocks,
        )

    def _turn(self) -> None:
        chores = {"beat": self.config.heartbeat, "prune": 5.0}
        due = dict.fromkeys(chores, self.clocks.monotonic())
        while True:
            for chore, every_s in chores.items():
                if self.clocks.monotonic() >= due[chore]:
                    due[chore] = self.clocks.monotonic() + every_s
                    self._guarded(self._beat if chore == "beat" else lambda: self.loop.recorder.prune(20))
            if self.reload_wanted:
                self.reload_wanted = False
                self._guarded(self._adopt_catalog)
            if self.clocks.look():
                self.loop.dirty.update(self.services.by_key)
            self.passes += 1
            try:
                self.loop.one_pass()
            except StorageError:
                self.loop.dirty.update(self.services.by_key)
                self.clocks.sleep(1.0)
            pause_s = min(self.loop.pause_s(), *(moment - self.clocks.monotonic() for moment in due.values()))
            events = self.children.wait(max(0.0, pause_s))
            self.loop.look_at_adopted(events)

    def _guarded(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except StorageError:
            return

    def _adopt_catalog(self) -> None:
        self.current = self.catalog()
        published = nodes.read_units(self.paths, self.node.name)
        before = {row["key"]: row["schedule_digest"] for row in (published.units if published else {}).values()}
        touched = self.services.adopt(snapshot_of(self.current), self.overrides.read())
        self.adopted(self)
        self.loop.dirty |= touched
        for key in touched:
            self.loop.note_schedule(key, before.get(key))
        self._publish_units()
        for _ in expire_overrides(self.paths, self.services):
            pass

    def _publish_units(self) -> None:
        rows: dict[str, dict[str, Any]] = {}
        for name, unit in self.services.declared.items():
            service = self.services.by_key.get(self.services.keys.get(name, ""))
            rows[name] = {
                "plain": to_plain(unit),
                "masked": False,
                "stale": False,
                "broken": False,
                "key": service.key if service else "",
                "schedule_digest": service.schedule_digest if service else "",
                "missing": None,
            }
        nodes.publish_units(self.paths, nodes.NodeUnits(self.node.name, self.timezone, rows, []))

    def _beat(self) -> None:
        self.beats += 1
        nodes.publish_state(
            self.paths,
            nodes.NodeState(
                self.node.name,
                self.beats,
                self.node.boot_id,
                self.process.pid,
                self.clocks.now(),
                self.config.heartbeat,
                self.config.labels,
            ),
        )
