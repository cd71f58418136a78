"""What operators do: the commands' own steps on the share, as `vcsctl` takes them, from the machine they sit at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Literal

from tests.checker import Asked, Withdrawn
from tests.simulation.node import Node
from tests.simulation.world import World
from vcsctl.domain.daemon import Order
from vcsctl.domain.effective import changed_by
from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.run import Claim, Request
from vcsctl.domain.unit import Daemon
from vcsctl.store import daemons, history, queue, running, state
from vcsctl.store.override_change import change_override
from vcsctl.store.records import Faults


class Operators:
    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        self.kinds: set[str] = set()
        self._disabled: set[str] = set()  # one operator at a time: who enables ends what another was told

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
            case "run" | "stop" if isinstance(unit, Daemon):
                self.order(key, "restart" if kind == "run" else "stop", node)
            case "run":
                self.run(key, node, self.random.choice((None, None, None, 2.0, 20.0)))
            case "cancel":
                self.cancel(key, node)
            case "stop":
                self.stop(key, node)
            case "disable":
                self.disable(name, node, self.random.uniform(1.0, 30.0))
            case "set" if unit.schedule == "periodical":
                self.change(name, {"period": str(self.random.choice((1, 2, 3)))}, node)

    def run(self, key: str, node: Node, within_s: float | None = None) -> None:
        """`vcsctl run`: entered, then told."""
        world = self.world

        def work() -> None:
            identity = queue.new_request_id()
            queue.enter_request(world.paths, Request(identity, key, key.partition("@")[0], "op", node.name, within_s))
            world.witness.asked.append(Asked(identity, key, world.scheduler.now, expires=within_s is not None))
            world.tell(f"asked for {key} ({identity})")
            world.wake(node)

        world.ask(work, node)

    def order(self, key: str, deed: Literal["restart", "stop"], node: Node) -> None:
        """`vcsctl restart` and `vcsctl stop` of a daemon."""
        world = self.world

        def work() -> None:
            identity = queue.new_request_id()
            daemons.enter_order(world.paths, Order(identity, key, deed, "op", node.name))
            world.tell(f"ordered {deed} of {key} ({identity})")
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
                started = self._really_started(
                    key, lambda claim, identity=identity: identity in claim.requests, identity
                )  # type: ignore[misc]
                world.tell(f"{identity}: {'already started' if started else 'cancelled'}")
                if not started:
                    world.witness.withdrawn.append(Withdrawn(identity, world.scheduler.now))

        world.ask(work, node)

    def _really_started(self, key: str, is_it: Callable[[Claim], bool], identity: str | None = None) -> bool:
        """A claim of a request may have been followed by another by now: then its row is in the history."""
        world = self.world
        give_up = world.scheduler.now + 10.0
        while True:
            found = state.read_key(world.paths, key, Faults())
            if found.run is None or not is_it(found.run.value):
                return identity is not None and any(
                    row.is_run and row.cause != "recalled" and identity in row.requests
                    for row in history.read(world.paths, key.partition("@")[0])
                )
            if found.end is not None:
                return found.end.value.cause != "recalled"
            if found.began or world.scheduler.now > give_up:
                return True
            world.scheduler.sleep(0.05)

    def disable(self, name: str, node: Node, for_s: float) -> None:
        """Writes first and looks then: what it tells to be disabled starts no slot until it is enabled again."""
        if name in self._disabled:
            return
        self._disabled.add(name)
        world = self.world
        keys = [name, *(f"{name}@{one.name}" for one in world.nodes)]
        told: list[int] = []

        def work() -> None:
            before = {key: claim.fence for key in keys if (claim := self._unfinished(key))}
            if not self._change(name, {"enabled": "false"}, node):
                return
            for key in keys:
                claim = self._unfinished(key)
                if claim is not None and before.get(key) == claim.fence:
                    world.tell(f"{claim.run_id} goes on")
                elif claim is not None and self._really_started(key, claim.__eq__):
                    world.tell(f"already started {claim.run_id}")
                elif (number := world.witness.told_disabled(key)) is not None:
                    told.append(number)

        def enable() -> None:
            for number in told:
                world.witness.enabled_again(number)
            self._change(name, {"enabled": "true"}, world.outside)
            self._disabled.discard(name)

        disabling = world.ask(work, node)

        def end() -> None:
            # One that hangs would disable it after it was enabled again: an operator waits for the answer.
            if disabling is not None and disabling.alive:
                world.scheduler.at(world.scheduler.now + 1.0, end)
            else:
                world.ask(enable)

        world.scheduler.at(world.scheduler.now + for_s, end)

    def _unfinished(self, key: str) -> Claim | None:
        found = state.read_key(self.world.paths, key, Faults())
        return found.run.value if found.run and not found.end else None

    def stop(self, key: str, node: Node) -> None:
        world = self.world

        def work() -> None:
            stored = running.live(world.paths, Faults()).get(key)
            if stored is not None:
                state.write_stop(world.paths, key, stored.value.fence, StopRequest("op", node.name))
                world.tell(f"stop {stored.value.run_id}")

        world.ask(work, node)

    def change(self, name: str, changes: dict[str, str], node: Node) -> None:
        self.world.ask(lambda: self._change(name, changes, node), node)

    def _change(self, name: str, changes: dict[str, str], node: Node) -> bool:
        """As `set`, `enable` and `disable` do it; False when it was refused."""
        world = self.world
        unit = world.catalogs[world.nodes[0].name].get(name)
        if unit is None:
            return False

        def changed(current: Override | None, moment: datetime) -> Override | None:
            return changed_by(unit, current, changes, FieldOverride(None, None, "op", node.name, moment), moment)

        try:
            change_override(world.paths, name, changed)
        except ValueError as error:
            world.tell(f"refused: {error}")  # the unit or its override has changed meanwhile
            return False
        world.tell(f"set {name} {changes}")
        world.wake(node)
        return True
