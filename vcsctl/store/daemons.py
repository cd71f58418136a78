"""How daemons are, and what operators want of them, as small files. Decides nothing.

A runner says how its daemon is in a file of this machine, so that it needs no share; vcsd publishes all of them
in the shared directory for the other nodes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from vcsctl.domain.daemon import DaemonState, Order
from vcsctl.store import codec, files, records
from vcsctl.store.paths import DAEMONS, DONE, ORDER, Paths, is_part, split_queue_name
from vcsctl.store.records import Faults, Stored


@dataclass(frozen=True, slots=True)
class NodeDaemons:
    """`nodes/NODE.daemons.json`."""

    node: str
    daemons: tuple[DaemonState, ...] = ()


def tell(folder: str, state: DaemonState) -> None:
    """By the runner, at each change; shown only, so not synced. The folder is there."""
    files.replace(_told(folder, state.run_id), codec.encode(state))


def forget(folder: str, run_id: str) -> None:
    files.discard(_told(folder, run_id))


def told_here(folder: str) -> dict[str, Stored[DaemonState]]:
    """Run id → what runners of this machine have told. One that was killed has not taken its file away."""
    found = {}
    for name in files.names(folder):
        if name.endswith(".json") and not name.startswith("."):
            stored = records.read(DaemonState, f"{folder}/{name}", Faults())
            if stored is not None:
                found[stored.value.run_id] = stored
    return found


def _told(folder: str, run_id: str) -> str:
    if not is_part(run_id):
        raise ValueError(f"{run_id!r} cannot be part of a file name")
    return f"{folder}/{run_id}.json"


def publish(paths: Paths, daemons: NodeDaemons) -> None:
    files.replace(paths.node_daemons(daemons.node), codec.encode(daemons))


def published(paths: Paths) -> dict[str, Stored[NodeDaemons]]:
    """Node → what its vcsd has published, and when by the file server's clock."""
    found = {}
    for name in files.names(paths.nodes):
        node = name.removesuffix(DAEMONS)
        if name.endswith(DAEMONS) and is_part(node):
            stored = records.read(NodeDaemons, paths.node_daemons(node), Faults())
            if stored is not None and stored.value.node == node:
                found[node] = stored
    return found


# Orders.


def enter_order(paths: Paths, order: Order) -> None:
    records.publish(paths.order(order.key, order.id), order, sync_folder=True)


def orders(paths: Paths, faults: Faults) -> list[Stored[Order]]:
    """The oldest first."""
    found = []
    for name in files.names(paths.queue):
        parts = split_queue_name(name)
        if parts is not None and parts[2] == ORDER:
            stored = records.read(Order, f"{paths.queue}/{name}", faults)
            if stored is not None and (stored.value.key, stored.value.id) == parts[:2]:
                found.append(stored)
    return sorted(found, key=lambda one: (one.at, one.value.id))


def is_waiting(paths: Paths, key: str, identity: str) -> bool:
    return os.path.basename(paths.order(key, identity)) in files.names(paths.queue)


def carried_out(paths: Paths, key: str, identity: str) -> None:
    files.remove(paths.order(key, identity))


def carried_out_here(paths: Paths, key: str, identity: str) -> None:
    """In the cell of one machine: it is done, and stays known as done until the shared directory knows it too.

    One rename: whatever dies, it is either to be carried out still or never again."""
    files.move(paths.order(key, identity), paths.done(key, identity))


def done_here(paths: Paths) -> list[tuple[str, str]]:
    """(KEY, id) of the orders that were carried out and of which the shared directory is not known to know."""
    parts = map(split_queue_name, files.names(paths.queue))
    return [(one[0], one[1]) for one in parts if one is not None and one[2] == DONE]


def done_everywhere(paths: Paths, key: str, identity: str) -> None:
    files.remove(paths.done(key, identity))
