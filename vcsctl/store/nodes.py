"""What each node tells the cell of itself: its heartbeat and its units. For display and agreement, never for safety."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vcsctl.errors import StorageError
from vcsctl.store import codec, files, records
from vcsctl.store.opening import again_where_stale, open_shared
from vcsctl.store.paths import DRAINED, UNITS, Paths, is_part
from vcsctl.store.records import Faults, Stored


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node's heartbeat; `counter` grows with each. `faults` are what its vcsd has to say.

    `claims_nothing` is the sentence why it starts nothing at present, empty when it does. `clock_offset_s` is its
    clock less the file server's, known to `clock_doubt_s`.
    """

    node: str
    counter: int
    boot_id: str
    pid: int
    started_at: datetime
    heartbeat_s: float
    labels: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    host: str = ""
    machine: str = ""
    clock_offset_s: float | None = None
    clock_doubt_s: float = 0.0
    drained: bool = False
    claims_nothing: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """An operator's wish that a node start nothing until `resume`; `overrides/NODE.drained`."""

    node: str
    by: str
    reason: str = ""


@dataclass(slots=True)
class NodeUnits:
    """A node's catalog as JSON values: name → {plain, masked, stale, digest, missing, key, schedule_digest}."""

    node: str
    timezone: str
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def publish_state(paths: Paths, state: NodeState) -> None:
    """A heartbeat; not synced, since a lost one is followed by the next."""
    files.replace(paths.node(state.node), codec.encode(state))


def read_states(paths: Paths, faults: Faults | None = None) -> dict[str, Stored[NodeState]]:
    """Node → its heartbeat. What cannot be read is left out, and is among the `faults`."""
    faults = Faults() if faults is None else faults
    found, names = {}, files.names(paths.nodes)
    for path in [path for path in faults.problems if os.path.dirname(path) == paths.nodes]:
        if os.path.basename(path) not in names:
            faults.forget(path)
    for name in names:
        node = name.removesuffix(".json")
        if name.endswith(".json") and not node.endswith((".units", ".daemons")) and not name.startswith("."):
            stored = records.read(NodeState, f"{paths.nodes}/{name}", faults)
            if stored is not None and stored.value.node == node:
                found[node] = stored
    return found


def ask_to_drain(paths: Paths, drain: Drain) -> bool:
    """False when it was asked for before."""
    return records.publish(paths.drain(drain.node), drain, sync_folder=True)


def resume(paths: Paths, node: str) -> bool:
    """Takes the wish back; False when there was none."""
    there = node in drains(paths)
    files.discard(paths.drain(node))
    files.sync_directory(paths.overrides)
    return there


def drains(paths: Paths) -> dict[str, Stored[Drain] | None]:
    """Node → the wish that it be drained. The name alone counts: None where the content cannot be read."""
    found = {}
    for name in files.names(paths.overrides):
        node = name.removesuffix(DRAINED)
        if name.endswith(DRAINED) and is_part(node) and not name.startswith("."):
            found[node] = records.read(Drain, paths.drain(node), Faults())
    return found


def is_drained(paths: Paths, node: str) -> bool:
    return os.path.basename(paths.drain(node)) in files.names(paths.overrides)


def forget(paths: Paths, node: str) -> bool:
    """Removes what a node has published, so that its units and groups count no more. False when it was unknown."""
    own = (paths.node(node), paths.node_units(node), paths.node_runs(node), paths.node_daemons(node))
    known = {os.path.basename(path) for path in own} & set(files.names(paths.nodes))
    for path in own:
        files.discard(path)
    files.sync_directory(paths.nodes)
    return bool(known)


def publish_units(paths: Paths, units: NodeUnits) -> None:
    content = {
        "version": codec.FORMAT_VERSION,
        "node": units.node,
        "timezone": units.timezone,
        "units": units.units,
        "problems": units.problems,
    }
    files.replace(paths.node_units(units.node), json.dumps(content, separators=(",", ":")).encode(), durable=True)


def read_units(paths: Paths, node: str) -> NodeUnits | None:
    """Read whole and as plain JSON: `status` shows 10,000 of them in a fraction of a second."""
    found = read_changed_units(paths, node, None)
    return found[1] if found else None


Identity = tuple[int, int, int]
_NOT_OURS = (
    errno.ENOENT,
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENXIO,
)  # that name's trouble, not the storage's


def read_changed_units(paths: Paths, node: str, known: Identity | None) -> tuple[Identity, NodeUnits] | None:
    """What a node has published and which file that was; None when it is the one `known`, absent or damaged."""
    found = read_units_text(paths, node, known)
    units = units_of(found[1]) if found else None
    return (found[0], units) if found and units else None


def read_units_text(paths: Paths, node: str, known: Identity | None = None) -> tuple[Identity, bytes] | None:
    """The same, unread.

    The file is opened each time: over NFS the answers of stat() may be seconds old, those of open() are not.
    """
    try:
        with files.named_faults("read", paths.node_units(node)):
            return again_where_stale(lambda: _read_units_text(paths.node_units(node), known))
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_OURS:
            return None
        raise


def _read_units_text(path: str, known: Identity | None) -> tuple[Identity, bytes] | None:
    descriptor = open_shared(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        if identity == known:
            return None
        data = b""
        while part := os.read(descriptor, status.st_size + 1 - len(data)):
            data += part
        return identity, data
    finally:
        os.close(descriptor)


_ROW_KEYS = frozenset(("plain", "masked", "stale", "broken", "key", "schedule_digest", "missing"))


def units_of(text: bytes) -> NodeUnits | None:
    """None for what is damaged or not ours."""
    try:
        content = json.loads(text)
        if not codec.OLDEST_READABLE_VERSION <= content["version"] <= codec.FORMAT_VERSION + 1:
            return None
        if not all(row.keys() >= _ROW_KEYS for row in content["units"].values()):
            return None
        return NodeUnits(content["node"], content["timezone"], content["units"], content["problems"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def nodes_with_units(paths: Paths) -> list[str]:
    found = (name.removesuffix(UNITS) for name in files.names(paths.nodes) if name.endswith(UNITS))
    return sorted(filter(is_part, found))
