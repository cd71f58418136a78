"""For scripted cases: a small cell, and things done at the very step that a case is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.simulation.commands import Conduct
from tests.simulation.manager import Catalog
from tests.simulation.node import Node
from tests.simulation.scheduler import Process
from tests.simulation.world import NOON, Setting, World
from vcsctl.domain.history import Row
from vcsctl.domain.unit import FixedTime, Periodical, Unit

LEASE_S = 12.0


def once(name: str, *groups: str, nodes: tuple[str, ...] = (), at: str = "12:00", on_lost: str = "none") -> Unit:
    return FixedTime(
        name=name,
        exec=("/bin/true",),
        groups=groups,
        nodes=nodes,
        run_at=(at,),
        on_lost=on_lost,  # type: ignore[arg-type]
    )


def each_minute(name: str, *groups: str, nodes: tuple[str, ...] = ()) -> Unit:
    return Periodical(name=name, exec=("/bin/true",), groups=groups, nodes=nodes, period=1)


def catalog(*units: Unit) -> Catalog:
    return {unit.name: unit for unit in units}


class Script(World):
    """Times are in seconds from noon, when the first slots are."""

    def __init__(self, seed: int, setting: Setting) -> None:
        super().__init__(seed, setting)
        self.awaited: set[tuple[str, str, str]] = set()  # steps that a case is about and that were not met yet

    def until(self, seconds: float) -> None:
        self.scheduler.run(NOON + seconds)

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        self.scheduler.at(NOON + seconds, act)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def upon(self, who: str, call: str, path: str, act: Callable[[Process], None], *, done: bool) -> None:
        """Once, when such a process (`n1 vcsd`) makes such a call, before or after it has its effect."""
        inner, awaited = self.posix.at_change, (who, call, path)
        self.awaited.add(awaited)

        def at_change(process: Process, made: str, at_path: str, is_done: bool) -> None:
            if inner is not None:
                inner(process, made, at_path, is_done)
            name = f"{process.node.name} {process.name}"
            hit = awaited in self.awaited and is_done == done and re.fullmatch(call, made)
            if hit and name.startswith(who) and re.search(path, at_path):
                self.awaited.discard(awaited)
                act(process)

        self.posix.at_change = at_change

    def cut(self, node: Node, for_s: float) -> None:
        """From now on; its kernel has spoken to the server this very moment."""
        client = node.client
        client.cut_off()
        client.renewed_at = self.scheduler.now
        self.scheduler.at(self.scheduler.now + for_s, client.heal)

    def cut_under_way(self, node: Node, for_s: float) -> None:
        """While the call that is being made is on its way: it is done before, or late, when the line is whole again."""
        self.scheduler.at(self.scheduler.now + 0.00005, lambda: self.cut(node, for_s))

    def kill(self, process: Process) -> None:
        """A process that is just making a call goes no further."""
        process.kill()
        self.scheduler.wait()

    def power_off(self, node: Node, for_s: float) -> None:
        """From within a call on that node."""

        def off() -> None:
            node.power_off()
            if self.setting.lease_s is None:
                self.disk.lose_power(self.random)
                self.witness.forget_what_was_lost(self.disk)

        self.scheduler.at(self.scheduler.now, off)
        self.scheduler.at(self.scheduler.now + for_s, lambda: self.boot(node))
        self.scheduler.wait()

    def push(self, node: str, *units: Unit) -> None:
        self.newest_catalog = self.catalogs[node] = catalog(*units)
        self.reload(self.node(node))

    def ran(self, key: str) -> list[tuple[str, str]]:
        """The runs of a KEY that were executed, with their nodes."""
        return [(one.run, one.node) for one in self.witness.executions if one.key == key]

    def verdict(self, settled_until: float) -> tuple[list[str], dict[str, Row]]:
        """Broken promises, and the rows of history by their ids."""
        assert not self.awaited, f"nobody came by {self.awaited}"
        rows = {row.id: row for row in self.rows()}
        found = self.violations([], calm_from=NOON, bound_s=1e9, settled_until=NOON + settled_until)
        return found, rows


@contextmanager
def cell(
    seed: int, nodes: int, *units: Unit, lease_s: float | None = LEASE_S, lasts_s: float = 2.0
) -> Iterator[Script]:
    setting = Setting(nodes=nodes, catalog=catalog(*units), lease_s=lease_s, heartbeat_s=3.0, jitter_s=0.05)
    with begun(Script(seed, setting), lasts_s) as script:
        yield script


@contextmanager
def begun(script: Script, lasts_s: float) -> Iterator[Script]:
    script.conduct = lambda job: Conduct(lasts_s)
    with script.at_work():
        for node in script.nodes:
            script.boot(node)
        yield script
