"""What each node declares, and where they disagree. Parses no more of the published units than a question needs;
prints nothing.

Units should be identical on all nodes; in the middle of a push they are not, and until a node that is gone is
forgotten its declarations count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from vcsctl.cli.cell_nodes import CellNode
from vcsctl.errors import StorageError
from vcsctl.store import nodes
from vcsctl.store.nodes import NodeUnits
from vcsctl.store.paths import Paths

# What differs between nodes of one catalog: where they may run a service, and which programs they have.
_OF_THE_NODE = re.compile(rb'"key":"[^"]*","schedule_digest":"[^"]*","missing":(?:null|"(?:[^"\\]|\\.)*")')

Row = dict[str, Any]


class Catalogs:
    def __init__(self, paths: Paths, known: Mapping[str, CellNode], own: str) -> None:
        self._paths = paths
        self._known = known
        self._own = own
        self._groups: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _texts(self) -> dict[str, bytes]:
        """The published units as they are, in the order of whom to believe: nodes that are up, this one first,
        then the newest push."""
        read = {name: nodes.read_units_text(self._paths, name) for name in nodes.nodes_with_units(self._paths)}
        found = {name: text for name, text in read.items() if text is not None}

        def rank(name: str) -> tuple[bool, bool, int]:
            node, (_, published_at, _) = self._known.get(name), found[name][0]
            return node is None or node.is_silent, name != self._own, -published_at

        return {name: found[name][1] for name in sorted(found, key=rank)}

    @cached_property
    def _first(self) -> NodeUnits:
        found = map(nodes.units_of, self._texts.values()) if self.agree else self.by_node.values()
        for units in found:
            if units is not None:
                return units
        raise StorageError(
            f"no vcsd has published its units in {self._paths.root} yet, so there is nothing to show; start vcsd,"
            " or ask again in a moment if it has just been started"
        )

    @property
    def readable(self) -> set[str]:
        """The nodes whose units can be read."""
        return set(self._texts if self.agree else self.by_node)

    @cached_property
    def _declarations(self) -> dict[str, bytes]:
        """What is the same on nodes of one catalog, comparable without being read."""
        return {name: _OF_THE_NODE.sub(b"", text[text.find(b'"units":') :]) for name, text in self._texts.items()}

    @cached_property
    def agree(self) -> bool:
        return len(self._texts) < 2 or len(set(self._declarations.values())) == 1

    @cached_property
    def by_node(self) -> dict[str, NodeUnits]:
        if len(self._texts) == 1:
            return dict.fromkeys(self._texts, self._first)
        found = {name: nodes.units_of(text) for name, text in self._texts.items()}
        return {name: units for name, units in found.items() if units is not None}

    @cached_property
    def published(self) -> NodeUnits:
        """The units of the node to believe first, and beside them those that only others declare."""
        if self.agree:
            return self._first
        rows: dict[str, Row] = {}
        for units in reversed(self.by_node.values()):
            rows |= units.units
        return NodeUnits(self._first.node, self._first.timezone, rows, self._first.problems)

    def rows(self, name: str) -> dict[str, Row]:
        """What each node says of a service."""
        return {node: units.units[name] for node, units in self.by_node.items() if name in units.units}

    def groups(self, name: str) -> tuple[str, ...]:
        """The union of what all known nodes declare: a run takes them all."""
        if name not in self._groups:
            catalogs = [self.published] if self.agree else self.by_node.values()
            rows = [units.units[name] for units in catalogs if name in units.units]
            found = {group for row in rows for group in (row["plain"] or {}).get("groups", ())}
            self._groups[name] = tuple(sorted(found))
        return self._groups[name]

    @cached_property
    def differences(self) -> dict[str, dict[str, str]]:
        """Node → service → in what it differs there from what most nodes declare."""
        if self.agree:
            return {}
        shared = Counter(self._declarations.values())
        # Of equals the first by name, so that it is the same whoever asks.
        most = max(sorted(self.by_node), key=lambda name: shared[self._declarations[name]])
        reference = self.by_node[most].units
        found = {}
        for node, units in sorted(self.by_node.items()):
            names = sorted(units.units.keys() | reference.keys())
            differing = {name: _difference(units.units.get(name), reference.get(name)) for name in names}
            if kept := {name: text for name, text in differing.items() if text}:
                found[node] = kept
        return found

    def problems(self) -> list[tuple[str, str]]:
        """The faults of the unit files, each with the nodes that have it; empty where all have."""
        if self.agree:
            return [("", text) for text in self._first.problems]
        found: dict[str, list[str]] = {}
        for node, units in sorted(self.by_node.items()):
            for text in dict.fromkeys(units.problems):
                found.setdefault(text, []).append(node)
        return [("" if len(where) == len(self.by_node) else ", ".join(where), text) for text, where in found.items()]


def _difference(there: Row | None, reference: Row | None) -> str:
    if there is None or reference is None:
        return "missing there" if there is None else "only there"
    if there["masked"] != reference["masked"]:
        return "masked there" if there["masked"] else "not masked there"
    if there["plain"] == reference["plain"]:
        return ""
    if there["plain"] is None or reference["plain"] is None:
        return "broken there" if there["plain"] is None else "not broken there"
    keys = there["plain"].keys() | reference["plain"].keys()
    return ", ".join(sorted(key for key in keys if there["plain"].get(key) != reference["plain"].get(key)))
