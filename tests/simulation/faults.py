"""What goes wrong in a simulation: drawn by the seed, done at moments or at the n-th change that a process makes.

Not drawn together, because nothing can exclude what follows: a runner that is stopped while its node is cut off for
longer than the lease, and a machine that stands still for longer than a third of it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.simulation.node import Node
from tests.simulation.scenario import change_catalog
from tests.simulation.scheduler import Process
from tests.simulation.world import World

KINDS = (
    *("kill vcsd", "kill runner", "kill both", "stop vcsd", "stop runner", "freeze", "cut", "power", "server down"),
    *("read only", "full", "clock", "push", "drain", "aimed"),
)
_ONLY_SHARED = {"cut", "drain"}


class Faults:
    def __init__(self, world: World, random: Random, until: float) -> None:
        self.world = world
        self.random = random
        self.scheduler = world.scheduler
        self.until = until
        lease_s = world.setting.lease_s
        self.lease_s = lease_s if lease_s is not None else 30.0
        kinds = set(random.sample(KINDS, random.randint(0, 7)))
        if world.setting.hard_on_locks:
            kinds = {"cut", *random.sample(sorted(set(KINDS) - {"stop runner"}), random.randint(0, 2))}
        if lease_s is None:
            kinds -= _ONLY_SHARED
        if "stop runner" in kinds and "aimed" in kinds:
            kinds -= {"stop runner"}  # what is aimed may be a cut
        if {"cut", "stop runner"} <= kinds:
            kinds -= {random.choice(("cut", "stop runner"))}
        self.kinds = kinds
        self._aims: list[tuple[str, int, bool, str]] = []  # process, change, before or after it, what
        self._done: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []

    def plan(self) -> None:
        """Arranges everything from now until the calm."""
        density = self.random.choice((8.0, 20.0, 40.0))
        for kind in sorted(self.kinds - {"aimed"}):
            moment = self.scheduler.now + self.random.uniform(2.0, density)
            while moment < self.until:
                self.scheduler.at(moment, lambda kind=kind: self.strike(kind))  # type: ignore[misc]
                moment += self.random.expovariate(1 / density) + 0.5
        if "aimed" in self.kinds:
            self._aim()

    def calm(self) -> None:
        """Everything is well again, for good."""
        self._aims.clear()
        world = self.world
        undo, self._undo = self._undo, []
        for back in undo:
            back()
        for node in world.nodes:
            node.thaw()
            if not node.on:
                world.boot(node)
            node.client.heal()
            node.clock_offset_s = self.random.uniform(-3.0, 3.0)
            # A drain that hung while the server was down may still arrive.
            self.scheduler.at(self.scheduler.now + 2.0, lambda node=node: world.resume(node.name))  # type: ignore[misc]
        newest = world.newest_catalog
        for node in world.nodes:
            world.catalogs[node.name] = newest
            world.reload(node)

    # Faults at moments.

    def strike(self, kind: str) -> None:
        if self.scheduler.now >= self.until:
            return
        node = self.random.choice(self.world.nodes)
        self.world.tell(f"FAULT {kind} {node.name}")
        match kind:
            case "kill vcsd":
                self._end(self._vcsd(node))
            case "kill runner":
                self._end(self._runner(node))
            case "kill both":
                first, second = self.random.sample((self._vcsd(node), self._runner(node)), 2)
                self._end(first)
                self.scheduler.at(self.scheduler.now + self.random.random() ** 3, lambda: self._end(second))
            case "stop vcsd":
                self._stop(self._vcsd(node), self.random.uniform(0.1, 2 * self.lease_s))
            case "stop runner":
                self._stop(self._runner(node), self.random.uniform(0.1, 2 * self.lease_s))
            case "freeze":
                self._freeze(node)
            case "cut":
                self._cut(node)
            case "power":
                self._power(node)
            case "server down":
                self._server_down()
            case "read only":
                self._disk("read_only")
            case "full":
                self._disk("full")
            case "clock":
                self._clock(node)
            case "push":
                self._push()
            case "drain":
                drained = self.world.drain(node.name)
                self._later(self.random.uniform(5.0, 40.0), lambda: self.world.resume(node.name, drained))
            case _:
                raise AssertionError(kind)

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        """Undoes a fault after a time, and at the calm at the latest."""
        open_ = True

        def once() -> None:
            nonlocal open_
            if open_:
                open_ = False
                act()

        self._undo.append(once)
        self.scheduler.at(self.scheduler.now + after_s, once)

    def _vcsd(self, node: Node) -> Process | None:
        manager = self.world.managers.get(node.name)
        return manager.process if manager is not None and manager.process.alive else None

    def _runner(self, node: Node) -> Process | None:
        runners = [process for process in node.processes.values() if process.name.startswith("runner")]
        return self.random.choice(runners) if runners else None

    def _end(self, process: Process | None) -> None:
        if process is not None:
            process.end(9)

    def _stop(self, process: Process | None, for_s: float) -> None:
        if process is not None and process.alive:
            process.stop()
            self._later(for_s, process.go_on)

    def _freeze(self, node: Node) -> None:
        if node.on and not node.frozen:
            node.freeze()
            self._later(self.random.uniform(0.1, self.lease_s / 3 * 0.95), node.thaw)

    def _cut(self, node: Node) -> None:
        client = node.client
        if node.on and not client.cut:
            client.cut_off()
            longest = 4.0 if self.world.setting.hard_on_locks else self.random.choice((0.5, 1.5, 3.0))
            for_s = longest * self.lease_s * self.random.uniform(0.3, 1.0)
            self._later(for_s, lambda: client.heal() if node.client is client and node.on else None)

    def _power(self, node: Node) -> None:
        if node.on:
            node.power_off()
            if self.world.setting.lease_s is None:
                self.world.disk.lose_power(self.random)
                self.world.witness.forget_what_was_lost(self.world.disk)

            def back() -> None:
                if not node.on:
                    self.world.boot(node)

            self._later(self.random.choice((0.2, 1.0, 2.5)) * self.lease_s, back)

    def _server_down(self) -> None:
        if not self.world.server.down:
            self.world.server.go_down()
            self._later(self.random.uniform(0.5, self.lease_s), self.world.server.come_back)

    def _disk(self, trouble: str) -> None:
        disk = self.world.disk
        setattr(disk, trouble, True)
        self._later(self.random.uniform(0.5, 30.0), lambda: setattr(disk, trouble, False))

    def _clock(self, node: Node) -> None:
        before = node.clock_offset_s
        step_s = self.random.choice((3.0, -3.0, 30.0, -30.0, 86400.0, -86400.0, 3600.0, 0.4))
        node.clock_offset_s += step_s
        for_s = 3.0 if abs(step_s) > 3000 else self.random.uniform(1.0, 40.0)

        def back() -> None:
            node.clock_offset_s = before + self.random.uniform(-1.0, 1.0)

        self._later(for_s, back)

    def _push(self) -> None:
        """The files of the nodes change one after another; one may stay behind until the calm."""
        world = self.world
        names = [node.name for node in world.nodes]
        world.newest_catalog = change_catalog(self.random, world.newest_catalog, names)
        catalog = world.newest_catalog
        for node in world.nodes:
            if self.random.random() < 0.15:
                continue

            def arrive(node: Node = node) -> None:
                world.catalogs[node.name] = catalog
                world.reload(node)

            self.scheduler.at(self.scheduler.now + self.random.random() ** 2 * 20.0, arrive)

    # Faults aimed at a step.

    def _aim(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            process = self.random.choice(("vcsd", "runner"))
            change = self.random.randint(1, 400 if process == "vcsd" else 120)
            what = self.random.choice(("kill", "kill", "kill", "kill both", "cut", "power", "stop"))
            if self.world.setting.lease_s is None and what == "cut":
                what = "power"
            if what == "stop" and process == "runner" and "cut" in self.kinds:
                what = "kill"
            self._aims.append((process, change, self.random.random() < 0.5, what))
        inner = self.world.posix.at_change

        def at_change(process: Process, call: str, path: str, done: bool) -> None:
            if inner is not None:
                inner(process, call, path, done)
            kind = process.name.partition(" ")[0]
            if self._aims and kind in ("vcsd", "runner"):
                self._fire(process, kind, done)

        self.world.posix.at_change = at_change

    def _fire(self, process: Process, kind: str, done: bool) -> None:
        if not done:
            self._done[kind] = self._done.get(kind, 0) + 1
        for aim in [aim for aim in self._aims if aim[:3] == (kind, self._done.get(kind, 0), done)]:
            if aim in self._aims:  # a first hit may have stopped this process, and it was calm when it went on
                self._aims.remove(aim)
                self._hit(process, aim[3])

    def _hit(self, process: Process, what: str) -> None:
        node: Node = process.node
        self.world.tell(f"FAULT aimed: {what} {process.name} on {node.name}")
        match what:
            case "kill":
                process.kill()
                self.scheduler.wait()
            case "kill both":
                self._kill_soon(self._vcsd(node))
                self._kill_soon(self._runner(node))
                process.kill()
                self.scheduler.wait()
            case "power":
                self.scheduler.at(self.scheduler.now, lambda: self._power(node))
                self.scheduler.wait()
            case "cut":
                self._cut(node)
            case "stop":
                self._stop(process, self.random.uniform(0.1, 2 * self.lease_s))
                self.scheduler.wait(0.0)

    def _kill_soon(self, process: Process | None) -> None:
        if process is not None:
            process.kill()
