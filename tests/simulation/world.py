"""A cell in virtual time: nodes with their managers on one share, what operators ask of it, and what it all came to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from tests.checker import Due, violations
from tests.simulation.client import Server
from tests.simulation.commands import Conduct
from tests.simulation.disk import Disk
from tests.simulation.manager import Catalog, Manager
from tests.simulation.node import Node
from tests.simulation.posix import Posix
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.seams import in_place
from tests.simulation.witness import Witness
from vcsctl.config import Config
from vcsctl.domain.calendar import next_slot
from vcsctl.domain.history import Row
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, schedule_of
from vcsctl.errors import StorageError
from vcsctl.runners.base import Job
from vcsctl.store import history, nodes
from vcsctl.store.cell import make_cell
from vcsctl.store.paths import Paths

SHARE = "/share"
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Setting:
    """What a simulation starts from. `lease_s` None: one machine with a disk of its own."""

    nodes: int
    catalog: Catalog
    lease_s: float | None = 30.0
    began_at: float = NOON - 20.0
    soft_s: float | None = None  # of a soft mount: after so long without an answer a call fails
    grace_s: float | None = None  # of a file server that has come back; None: as long as the lease
    poll_s: float = 4.0
    poll_busy_s: float = 1.5
    heartbeat_s: float = 5.0
    fair_after_s: float = 20.0
    jitter_s: float = 0.2
    server_offset_s: float = 0.0
    longest_s: float = 4.0  # of a command
    hard_on_locks: bool = False  # nodes are cut off again and again
    with_cgroups: bool = True
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)


class World:
    def __init__(self, seed: int, setting: Setting) -> None:
        self.setting = setting
        self.scheduler = Scheduler(seed, setting.began_at)
        self.random = Random(seed * 7919 + 1)
        clock = lambda: self.scheduler.now  # noqa: E731 - three words
        self.disk = Disk(clock, SHARE, setting.server_offset_s, journals=setting.lease_s is None)
        grace_s = setting.grace_s if setting.grace_s is not None else setting.lease_s or 0.0
        self.server = Server(self.scheduler, self.disk, self.scheduler.random, grace_s)
        self.posix = Posix(self.scheduler, self.scheduler.random, setting.jitter_s)
        self.witness = Witness(self.scheduler)
        self.disk.named = lambda path, inode: self.witness.named(path, inode.data)
        self.disk.unnamed = self.witness.unnamed
        self.server.lock_lost = self.witness.lock_lost
        self.paths = Paths(SHARE)
        self.nodes = [
            Node(self.scheduler, self.server, f"n{number + 1}", setting.lease_s, setting.soft_s)
            for number in range(setting.nodes)
        ]
        self.outside = Node(self.scheduler, self.server, "outside", setting.lease_s, None)  # no fault ever meets it
        self.catalogs: dict[str, Catalog] = {node.name: setting.catalog for node in self.nodes}
        self.newest_catalog = setting.catalog
        self.managers: dict[str, Manager] = {}
        self.wanted: set[str] = set()  # nodes whose init system keeps vcsd running
        self.conduct: Callable[[Job], Conduct] = lambda job: Conduct(1.0)
        self.restart_s: Callable[[], float] = lambda: 1.0
        self.trace: list[tuple[float, str, str, str]] | None = None
        self.commands = 0

    # Telling.

    def tell(self, what: str, who: str = "") -> None:
        if self.trace is not None:
            task = self.scheduler.current
            node, process = (task.process.node.name, task.process.name) if task else ("-", who or "-")
            self.trace.append((self.scheduler.now - self.setting.began_at, node, process, what))

    def follow(self) -> None:
        """From now on everything is written down that anybody does."""
        self.trace = []
        before = self.posix.at_change

        def at_change(process: Process, call: str, path: str, done: bool) -> None:
            if done:
                self.tell(f"{call} {path.removeprefix(SHARE)}")
            if before is not None:
                before(process, call, path, done)

        self.posix.at_change = at_change

    # Making it.

    @contextmanager
    def at_work(self) -> Iterator[World]:
        with in_place(self.scheduler, self.posix, self.tell):
            self.outside.boot()
            self.ask(lambda: make_cell(self.paths))
            self.scheduler.run(self.scheduler.now + 1.0)
            try:
                yield self
            finally:  # a task that waits for ever would never be freed
                self.wanted.clear()
                for process in [one for node in (*self.nodes, self.outside) for one in node.processes.values()]:
                    process.end(9)

    def config(self, node: Node) -> Config:
        setting = self.setting
        return Config(
            node=node.name,
            labels=setting.labels.get(node.name, ()),
            shared_dir=SHARE,
            log_dir="/log",
            poll=setting.poll_s,
            poll_busy=setting.poll_busy_s,
            heartbeat=setting.heartbeat_s,
            fence_after=setting.lease_s,
            fair_after=setting.fair_after_s,
        )

    def boot(self, node: Node) -> None:
        node.boot()
        self.wanted.add(node.name)
        self.start_vcsd(node)

    def start_vcsd(self, node: Node) -> None:
        """As an init system does: once it is gone, again a little later."""
        manager = self.managers.get(node.name)
        if not node.on or node.name not in self.wanted or (manager is not None and manager.process.alive):
            return
        if node.frozen:
            self.scheduler.at(self.scheduler.now + 1.0, lambda: self.start_vcsd(node))
            return
        manager = Manager(
            node,
            self.config(node),
            "UTC",
            lambda: self.catalogs[node.name],
            lambda job: self.conduct(job),
            self.witness.on_node(node.name),
            self._adopted,
            self.tell,
            with_cgroups=self.setting.with_cgroups,
        )
        self.managers[node.name] = manager
        boot = node.boots

        def again(_: Process) -> None:
            if node.on and node.boots == boot:
                self.scheduler.at(self.scheduler.now + self.restart_s(), lambda: self.start_vcsd(node))

        manager.process.at_end.append(again)
        manager.start()

    def _adopted(self, manager: Manager) -> None:
        """From here on the node knows where its units may run."""
        name = manager.node.name
        for unit in manager.current.values():
            allowed = not unit.nodes or name in unit.nodes
            change = self.witness.allow if allowed else self.witness.forbid
            for key in (unit.name, f"{unit.name}@{name}"):
                change(name, key, "may not run it")

    # Asking.

    def ask(self, work: Callable[[], object], node: Node | None = None, name: str = "operator") -> Process | None:
        """An operator's command as a process on some node; None when that node is off."""
        node = node or self.outside
        if not node.on or node.frozen:
            return None
        self.commands += 1
        process = node.process(f"{name} {self.commands}")

        def guarded() -> None:
            try:
                work()
            except StorageError as error:
                self.tell(f"command failed: {error}")

        process.run(guarded)
        return process

    def wake(self, node: Node) -> None:
        """The command tells the vcsd of its machine."""
        manager = self.managers.get(node.name)
        if manager is not None and manager.process.alive:
            manager.wake()

    def reload(self, node: Node) -> None:
        manager = self.managers.get(node.name)
        if manager is not None and manager.process.alive:
            manager.reload()

    def retire_daemons(self) -> None:
        """The last push: their runs, which would go on for ever, come to an end."""
        self.newest_catalog = {
            name: replace(unit, enabled=False) if isinstance(unit, Daemon) else unit
            for name, unit in self.newest_catalog.items()
        }
        for node in self.nodes:
            self.catalogs[node.name] = self.newest_catalog
            self.reload(node)

    def drain(self, name: str) -> Process | None:
        return self.ask(lambda: nodes.ask_to_drain(self.paths, nodes.Drain(name, "op")))

    def resume(self, name: str, drained: Process | None = None) -> None:
        """Once the command that drained it has returned: an operator waits for the answer."""
        if drained is not None and drained.alive:
            self.scheduler.at(self.scheduler.now + 0.1, lambda: self.resume(name, drained))
        else:
            self.ask(lambda: nodes.resume(self.paths, name))

    # What it came to.

    def rows(self) -> list[Row]:
        """The history as any command would read it."""
        found: list[Row] = []

        def work() -> None:
            keys = (path.split("/") for path in list(self.disk.folders))
            services = {
                parts[3].partition("@")[0] for parts in keys if parts[2:3] in (["history"], ["state"]) and parts[3:]
            }
            for service in sorted(services):
                found.extend(history.read(self.paths, service))

        process = self.ask(work, name="reader")
        assert process is not None
        while process.alive:
            self.scheduler.run(self.scheduler.now + 1.0)
        return found

    def due_slots(self, until: float) -> list[Due]:
        """The slots that have counted since each schedule came into force, where none has changed since."""
        found = []
        for path, folder in sorted(self.disk.folders.items()):
            parent, _, key = path.rpartition("/")
            unit = self.newest_catalog.get(key.partition("@")[0])
            marks = [inode.modified_ns for name, (inode, _) in folder.names.items() if name.startswith("since.")]
            if parent != f"{SHARE}/state" or unit is None or not marks:
                continue
            schedule = None if isinstance(unit, Daemon) else schedule_of(unit, "UTC")
            slot = datetime.fromtimestamp(max(marks) / 1e9, UTC)
            while schedule is not None and (slot := next_slot(schedule, slot)).timestamp() < until:
                found.append(Due(key, to_text(slot), slot.timestamp()))
        return found

    def violations(self, due: list[Due], *, calm_from: float, bound_s: float, settled_until: float) -> list[str]:
        told = self.witness.history(self.rows(), due, calm_from=calm_from, bound_s=bound_s, settled_until=settled_until)
        return [*violations(told), *self._repeated_rows()]

    def _repeated_rows(self) -> list[str]:
        """What a node wrote twice into its own file, which readers leave out. Two nodes may both write what one of them
        left: neither knows of the other."""
        found = []
        for folder in [path for path in self.disk.folders if path.startswith(f"{SHARE}/history/")]:
            for name, (inode, _) in self.disk.folders[folder].names.items():
                count = Counter(_row_ids(inode.data))
                found += [
                    f"recorded {times} times in {name}: {identity}" for identity, times in count.items() if times > 1
                ]
        return found


def _row_ids(text: bytes) -> Iterator[str]:
    """Of whole lines; one may be torn, or closed off after it was."""
    for line in text.splitlines():
        with suppress(ValueError):
            yield json.loads(line)["id"]
