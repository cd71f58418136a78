"""Where a service may run, as its allowed nodes published it: the KEYs of a manual run, and why there may be none.
Asks; enters nothing."""

from __future__ import annotations

from dataclasses import dataclass

import click

from vcsctl.cli.cell_nodes import CellNode
from vcsctl.cli.context import Context
from vcsctl.cli.tables import listed
from vcsctl.domain.effective import fitting
from vcsctl.domain.unit import Daemon, from_plain
from vcsctl.errors import RefusedError
from vcsctl.runners.programs import missing_program
from vcsctl.store.overrides import read_override

node_option = click.option("--node", metavar="NODE", help="Only on this node.")


@dataclass(frozen=True, slots=True)
class Place:
    """A node that may run a service, under which KEY, and the program that it lacks."""

    node: str
    key: str
    missing: str | None

    def hindrance(self, node: CellNode | None) -> str:
        """Why the service cannot start there, with what is known of the node; empty where it can."""
        missing = f"program missing: {self.missing}" if self.missing else ""
        return "; ".join(filter(None, (node.hindrance if node else "", missing)))

    def remedy(self, node: CellNode | None) -> str:
        """What would let it start there."""
        remedies = [f"{self.missing} is installed on {self.node}"] if self.missing else []
        if node is not None and node.is_silent:
            remedies.append(f"vcsd runs on {self.node} again")
        elif node is not None and node.hindrance == "drained":
            remedies.append(f"{self.node} is drained no more (`vcsctl resume {self.node}`)")
        elif node is not None and node.hindrance:
            remedies.append(f"{self.node} claims again")
        return " and ".join(remedies)


def places(context: Context, name: str) -> list[Place]:
    """The known nodes that may run it, by name."""
    found = []
    for node, row in sorted(context.catalogs.rows(name).items()):
        if row["key"]:
            missing = row["missing"]
            if node == context.config.node and node in context.nodes and row["plain"]:
                missing = missing_program(from_plain(row["plain"]))  # it may have been installed since
            found.append(Place(node, row["key"], missing))
    return found


def runnable(context: Context, name: str, only: str | None = None) -> list[Place]:
    """The places where it may run. Raises RefusedError with the reason where it cannot run in any of them."""
    unit, _ = fitting(context.unit(name), read_override(context.paths, name))
    if isinstance(unit, Daemon):
        raise RefusedError(f"{name} is a daemon: it is kept up, not run; `vcsctl restart {name}` restarts it")
    found = places(context, name)
    if only is not None:
        context.node(only)
        if unit.run_on != "each":
            raise RefusedError(f"{name} runs on any one of its nodes, not on each; leave --node out")
        found = [place for place in found if place.node == only]
    if not found:
        where = f"node {only} may not" if only else "no known node may"
        allowed = f"allowed: {', '.join(unit.nodes)}" if unit.nodes else "its unit is not there"
        raise RefusedError(f"{name}: {where} run it ({allowed}); see to its `nodes`")
    refuse_without_program(context, name, found)
    return found


def refuse_without_program(context: Context, name: str, found: list[Place]) -> None:
    if found and all(place.missing for place in found):
        where = f" on {listed(place.node for place in found)}" if len(context.nodes) > 1 else ""
        raise RefusedError(f"{name}: program missing: {found[0].missing}; install it first{where}")
