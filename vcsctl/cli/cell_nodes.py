"""The nodes of the cell as a command sees them: who is up, silent, drained. By their heartbeats and the wishes of
operators alone, so for display and for advice; prints nothing and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from vcsctl.cli.hints import likely
from vcsctl.cli.tables import age, listed
from vcsctl.domain.nodes import CLOCK_LIMIT_S, SILENT_AFTER_BEATS
from vcsctl.errors import UnknownUnitError
from vcsctl.store import nodes
from vcsctl.store.nodes import Drain, NodeState
from vcsctl.store.paths import Paths
from vcsctl.store.records import Stored


class CellNode(NamedTuple):
    """One known node. `beat` is None for one that published its units and has no readable heartbeat."""

    name: str
    beat: Stored[NodeState] | None
    silent_s: float | None  # None: it is up
    asked_to_drain: bool
    drain: Stored[Drain] | None

    @property
    def state(self) -> NodeState | None:
        return self.beat.value if self.beat else None

    @property
    def is_silent(self) -> bool:
        return self.beat is None or self.silent_s is not None

    @property
    def is_drained(self) -> bool:
        """It has said so itself: nothing starts there any more."""
        return self.state is not None and self.state.drained

    @property
    def silence(self) -> str:
        return f"silent for {age(self.silent_s)}" if self.silent_s is not None else "without a heartbeat"

    @property
    def hindrance(self) -> str:
        """Why it can start nothing at present; empty when it can."""
        if self.is_silent:
            return self.silence
        if self.asked_to_drain or self.is_drained:
            return "drained"
        return self.state.claims_nothing if self.state else ""

    @property
    def drain_words(self) -> str:
        """Who wished that it be drained, and why."""
        if self.drain is None:
            return ""
        return f" by {self.drain.value.by}" + (f" ({self.drain.value.reason})" if self.drain.value.reason else "")

    @property
    def problems(self) -> list[str]:
        found = []
        if self.beat is None:
            starts = f"node {self.name} has no heartbeat; its vcsd is only just starting"
            found.append(f"{starts}, or it is gone: vcsctl nodes forget {self.name}")
        elif self.is_silent:
            found.append(f"vcsd on node {self.name} has been {self.silence}")
        if self.asked_to_drain:
            found.append(f"node {self.name} is drained{self.drain_words}; `vcsctl resume {self.name}` ends it")
        elif self.state and self.state.claims_nothing and not self.is_silent:
            found.append(self.state.claims_nothing)
        return found

    def may_run(self, key: str, allowed: Iterable[str]) -> bool:
        """Whether a KEY of a service with these `nodes` is this node's business."""
        _, at, only = key.partition("@")
        return only == self.name if at else self.is_allowed(allowed)

    def is_allowed(self, allowed: Iterable[str]) -> bool:
        """Whether these `nodes` of a unit, names or labels, name it."""
        labels = {f"label:{label}" for label in (self.state.labels if self.state else ())}
        wanted = set(allowed)
        return not wanted or self.name in wanted or bool(labels & wanted)


def read_nodes(paths: Paths, own: str, offset_s: float | None = None) -> dict[str, CellNode]:
    """All known nodes by name: those with a heartbeat and those that published units.

    `offset_s`: how far this machine's clock is ahead of the file server's, measured by who acts on what it is told.
    """
    beats, wishes = nodes.read_states(paths), nodes.drains(paths)
    now = _server_time(beats, own, offset_s)
    found = {}
    for name in sorted(beats.keys() | nodes.nodes_with_units(paths)):
        beat = beats.get(name)
        silent_s = (now - beat.at).total_seconds() if beat else 0.0
        is_silent = beat is not None and silent_s > SILENT_AFTER_BEATS * beat.value.heartbeat_s
        found[name] = CellNode(name, beat, silent_s if is_silent else None, name in wishes, wishes.get(name))
    return found


def _server_time(beats: Mapping[str, Stored[NodeState]], own: str, offset_s: float | None) -> datetime:
    """The file server's clock as well as a command knows it: this machine's, less the offset that was measured now or,
    without writing there, by this machine's own vcsd, and no earlier than the newest heartbeat. Some servers let the
    writer stamp a file, so that of a node whose clock is wrong says nothing."""
    now = datetime.now(UTC)
    if offset_s is None and own in beats:
        offset_s = beats[own].value.clock_offset_s
    if offset_s is not None:
        now -= timedelta(seconds=offset_s)
    return max((now, *(beat.at for beat in beats.values() if abs(beat.value.clock_offset_s or 0.0) < CLOCK_LIMIT_S)))


def unknown_node(name: str, known: Iterable[str]) -> UnknownUnitError:
    return UnknownUnitError(f"unknown node {name}; {likely(name, known, '`vcsctl nodes` lists them all')}")


def why_none_can(key: str, plain: dict[str, Any], known: Iterable[CellNode]) -> str:
    """The sentence for a KEY that no node can take up at present; empty when one can."""
    allowed = [node for node in known if node.may_run(key, plain.get("nodes", ()))]
    if any(not node.hindrance for node in allowed):
        return ""
    if not allowed:
        return "no known node may run it"
    return f"no node can take it now: {listed(f'{node.name} ({node.hindrance})' for node in allowed)}"
