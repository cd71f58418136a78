"""What operators do: the commands' own steps on the share, as `vcsctl` takes them, from the machine they sit at."""

from __future__ import annotations

from random import Random

from tests.checker import Asked, Withdrawn
from tests.simulation.node import Node
from tests.simulation.world import World
from vcsctl.domain.effective import changed_by
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.run import Request, StopRequest
from vcsctl.store import queue, running, state
from vcsctl.store.override_change import change_override
from vcsctl.store.records import Faults


class Operators:
    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        self.kinds: set[str] = set()

    def plan(self, until: float) -> None:
        """A few commands at moments of the seed's choice."""
        scheduler = self.world.scheduler
        kinds = ["run", "run", *self.random.sample(("cancel", "stop", "disable", "set"), self.random.randint(0, 3))]
        self.kinds = set(kinds)
        moment = scheduler.now + self.random.uniform(1.0, 20.0)
        while moment < until:
            scheduler.at(moment, lambda: self.act(self.random.choice(kinds)))
            moment += self.random.expovariate(1 / 6.0)

    def act(self, kind: str) -> None:
        world = self.world
        name = self.random.choice(sorted(world.newest_catalog))
        unit = world.newest_catalog[name]
        places = [node for node in world.nodes if node.on and not node.frozen]
        if not places:
            return
        node = self.random.choice(places)
        key = f"{name}@{self.random.choice(unit.nodes or (node.name,))}" if unit.run_on == "each" else name
        match kind:
            case "run":
                self.run(key, node, self.random.choice((None, None, None, 2.0, 20.0)))
            case "cancel":
                self.cancel(key, node)
            case "stop":
                self.stop(key, node)
            case "disable":
                self.change(name, {"enabled": "false"}, node)
                self.world.scheduler.at(
                    self.world.scheduler.now + self.random.uniform(1.0, 30.0),
                    lambda: self.change(name, {"enabled": "true"}, world.outside),
                )
            case "set" if unit.schedule == "periodical":
                self.change(name, {"period": str(self.random.choice((1, 2, 3)))}, node)

    def run(self, key: str, node: Node, within_s: float | None = None) -> None:
        """`vcsctl run`: entered, then told."""
        world = self.world

        def work() -> None:
            identity = queue.new_request_id()
            queue.enter_request(world.paths, Request(identity, key, key.partition("@")[0], "op", node.name, within_s))
            world.witness.asked.append(Asked(identity, key, world.scheduler.now))
            world.tell(f"asked for {key} ({identity})")
            world.wake(node)

        world.ask(work, node)

    def cancel(self, key: str, node: Node) -> None:
        """Marks first and looks then: what it tells to be cancelled must not run."""
        world = self.world

        def work() -> None:
            pending = queue.QueueReader(world.paths, Faults()).read_key(key)
            for queued in pending.requests if pending else ():
                identity = queued.request.id
                queue.cancel(world.paths, key, identity)
                world.wake(node)
                started = self._really_started(key, identity)
                world.tell(f"{identity}: {'already started' if started else 'cancelled'}")
                if not started:
                    world.witness.withdrawn.append(Withdrawn(identity, world.scheduler.now))

        world.ask(work, node)

    def _really_started(self, key: str, identity: str) -> bool:
        world = self.world
        give_up = world.scheduler.now + 10.0
        while True:
            found = state.read_key(world.paths, key, Faults())
            if found.run is None or identity not in found.run.value.requests:
                return False
            if found.end is not None:
                return found.end.value.cause != "recalled"
            if found.began or world.scheduler.now > give_up:
                return True
            world.scheduler.sleep(0.05)

    def stop(self, key: str, node: Node) -> None:
        world = self.world

        def work() -> None:
            stored = running.live(world.paths, Faults()).get(key)
            if stored is not None:
                state.write_stop(world.paths, key, stored.value.fence, StopRequest("op", node.name))
                world.tell(f"stop {stored.value.run_id}")

        world.ask(work, node)

    def change(self, name: str, changes: dict[str, str], node: Node) -> None:
        world = self.world
        unit = world.catalogs[world.nodes[0].name].get(name)
        if unit is None:
            return

        def work() -> None:
            def changed(current: Override | None, moment: object) -> Override | None:
                author = FieldOverride(None, None, "op", node.name, moment)  # type: ignore[arg-type]
                return changed_by(unit, current, changes, author, moment)  # type: ignore[arg-type]

            try:
                change_override(world.paths, name, changed)
            except ValueError as error:
                world.tell(f"refused: {error}")  # the unit or its override has changed meanwhile
                return
            world.tell(f"set {name} {changes}")
            world.wake(node)

        world.ask(work, node)
