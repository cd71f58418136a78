"""The other nodes of the cell as this one sees them: who is silent, and what they publish of their services.

Never a judge of whether a run is dead: silence is only a reason to try its lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vcsctl.domain.nodes import SILENT_AFTER_BEATS, Catalog, Told, all_groups, nodes_of
from vcsctl.domain.run import service_of
from vcsctl.store import nodes
from vcsctl.store.nodes import Identity, NodeState
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.vcsd.clocks import Clocks

_LONGEST_GAP_BEATS = 2  # so much a time between two looks counts at most


@dataclass(slots=True)
class _Heard:
    """A node's newest heartbeat, and for how long we have seen it stand still by our own clock."""

    beat: tuple[int, str]
    still_s: float = 0.0
    moved: bool = False  # it has changed while we looked


class Peers:
    def __init__(self, paths: Paths, node: str, clocks: Clocks, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._node = node
        self._clocks = clocks
        self.states: dict[str, NodeState] = {}
        self.under_our_name: NodeState | None = None  # the heartbeat that is published as this node's
        self._heard: dict[str, _Heard] = {}
        self._silent: set[str] = set()
        self._looked_s = clocks.monotonic()
        self._identities: dict[str, Identity] = {}
        self._own: Catalog = {}
        self.forgotten = False  # an operator took us for dead: what we publish is gone
        # Only what differs from this node's own catalog: normally nothing, whatever the number of units.
        self._catalogs: dict[str, dict[str, Told | None]] = {}

    # Heartbeats.

    def look(self) -> list[str]:
        """Reads all heartbeats; to be called once a heartbeat. The nodes that are silent or forgotten now and were not
        before."""
        stored, known = nodes.read_states(self._paths, self._faults), self.states.keys()
        since_s, self._looked_s = self._clocks.monotonic() - self._looked_s, self._clocks.monotonic()
        self.states = {node: one.value for node, one in stored.items()}
        self.under_our_name = self.states.pop(self._node, None)
        for node, state in self.states.items():
            beat, heard = (state.counter, state.boot_id), self._heard.get(node)
            if heard is None:
                self._heard[node] = _Heard(beat)
            elif heard.beat != beat:
                self._heard[node] = _Heard(beat, moved=True)
            else:
                # While we were held up, by the file server say, the others may have been too.
                heard.still_s += min(since_s, _LONGEST_GAP_BEATS * state.heartbeat_s)
        for node in self._heard.keys() - self.states.keys():
            del self._heard[node]
        before = self._silent
        self._silent = {node for node in self.states if self.is_silent(node)}
        return sorted((self._silent - before) | (known - self.states.keys()))

    def silent_s(self, node: str) -> float | None:
        """How long a node's heartbeat has stood still, if that is too long; None for one that is alive, and for ours.

        One that has no heartbeat at all, being forgotten, has been silent for ever.
        """
        if node == self._node:
            return None
        heard, state = self._heard.get(node), self.states.get(node)
        if heard is None or state is None:
            return float("inf")
        return heard.still_s if heard.still_s > SILENT_AFTER_BEATS * state.heartbeat_s else None

    def is_silent(self, node: str) -> bool:
        return self.silent_s(node) is not None

    def same_host(self, host: str, boot_id: str) -> str | None:
        """A living node on another machine that has this machine's host name: over NFS their locks would be one."""
        for node, state in self.states.items():
            if state.host == host and state.boot_id != boot_id and self._heard[node].moved:
                return node
        return None

    # Catalogs.

    def adopt_own(self, rows: dict[str, dict[str, Any]]) -> None:
        """This node's own catalog, as it is published; the others' are compared with it anew."""
        before, self._own = self._own, {name: _told(row) for name, row in rows.items()}
        for name in before.keys() | self._own.keys():
            if before.get(name) != self._own.get(name):
                for differing in self._catalogs.values():  # some may not be readable any more: what they said stands
                    theirs = differing.pop(name, before.get(name))
                    if theirs != self._own.get(name):
                        differing[name] = theirs
        self._identities.clear()

    def refresh(self) -> set[str]:
        """Reads what other nodes have published since; the services of which they say something else than before."""
        published = nodes.nodes_with_units(self._paths)
        self.forgotten = bool(self._own) and self._node not in published
        others = [node for node in published if node != self._node]
        touched: set[str] = set()
        for gone in self._catalogs.keys() - set(others):
            touched |= self._catalogs.pop(gone).keys()
            self._identities.pop(gone, None)
        for node in others:
            catalog = self._read_catalog(node)
            if catalog is None:
                self._catalogs.setdefault(node, {})
                continue
            before, after = self._catalogs.get(node, {}), _differences(self._own, catalog)
            self._catalogs[node] = after
            names = before.keys() | after.keys()
            touched |= {name for name in names if before.get(name) != after.get(name)}
        return touched

    def _read_catalog(self, node: str) -> Catalog | None:
        """None where it is as it was. What is damaged is told as a fault, and what the node said before stands."""
        found = nodes.read_units_text(self._paths, node, self._identities.get(node))
        if found is None:
            return None
        path = self._paths.node_units(node)
        self._identities[node], text = found
        units = nodes.units_of(text)
        if units is None:
            self._faults.add(path, f"cannot be used; restart vcsd on {node}, or `vcsctl nodes forget {node}`")
            return None
        self._faults.forget(path)
        return {name: _told(row) for name, row in units.units.items()}

    @property
    def alone(self) -> bool:
        return not self._catalogs

    def groups_of(self, service: str) -> tuple[str, ...]:
        """What any known node, this one included, declares: the locks that a run takes."""
        return all_groups(service, [self._own, *self._catalogs.values()])

    def others_for(self, key: str) -> list[str]:
        """The other known nodes that may run a KEY."""
        return nodes_of(key, self._catalogs, self._own)

    def able_for(self, key: str) -> list[str]:
        """Those of them that say they can: not silent, claiming, with the program there."""
        service = service_of(key)
        return [
            node
            for node in self.others_for(key)
            if not self.is_silent(node)
            and not self.states[node].claims_nothing
            and not (self._catalogs[node].get(service, self._own.get(service)) or _NOBODY).missing
        ]


_NOBODY = Told(False, False, ())


def _told(row: dict[str, Any]) -> Told | None:
    """None for a service that the node does not run at all: masked, or never good."""
    plain = row.get("plain")
    if row.get("masked") or not isinstance(plain, dict):
        return None
    key, missing, groups = row.get("key"), row.get("missing"), plain.get("groups")
    names = tuple(map(str, groups)) if isinstance(groups, list | tuple) else ()
    return Told(bool(key), "@" in str(key), names, str(missing) if missing else None)


def _differences(own: Catalog, other: Catalog) -> dict[str, Told | None]:
    names = own.keys() | other.keys()
    return {name: other.get(name) for name in names if own.get(name) != other.get(name)}
