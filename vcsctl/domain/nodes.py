"""What a node publishes of itself and its services, and what follows from it for the others. No I/O, no clock.

Nothing here decides about safety, which is the locks' business: only who claims, who is left to claim, whose
groups count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vcsctl.domain.run import service_of

# A heartbeat counter that stands still for so many heartbeats: the node is silent, and perhaps dead.
SILENT_AFTER_BEATS = 3
# A clock further off the file server's than this claims nothing: slots would start much too early or late.
CLOCK_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """What one node says of one service. `missing` is the program that the node does not have."""

    allowed: bool
    each: bool
    groups: tuple[str, ...]
    missing: str | None = None


Catalog = Mapping[str, Told | None]


def is_key_of(key: str, told: Told | None, node: str) -> bool:
    """Whether a KEY is one that the node may run, by what it says of the service."""
    _, at, owner = key.partition("@")
    return told is not None and told.allowed and (told.each and owner == node if at else not told.each)


def nodes_of(key: str, catalogs: Mapping[str, Catalog], own: Catalog) -> list[str]:
    """The other nodes that may run a KEY. `catalogs` holds what differs from this node's own."""
    service = service_of(key)
    return [node for node, catalog in catalogs.items() if is_key_of(key, catalog.get(service, own.get(service)), node)]


def all_groups(service: str, catalogs: Iterable[Catalog]) -> tuple[str, ...]:
    """The groups that any known node declares: while they disagree a run takes all of them."""
    told = (catalog.get(service) for catalog in catalogs)
    return tuple(sorted({group for one in told if one for group in one.groups}))


def clock_fault(node: str, offset_s: float | None, doubt_s: float) -> str:
    """Why a node with that clock claims nothing; empty when it may. `offset_s` is its clock less the server's."""
    if offset_s is None or abs(offset_s) - doubt_s <= CLOCK_LIMIT_S:
        return ""
    how = "ahead of" if offset_s > 0 else "behind"
    return f"the clock of node {node} is {abs(offset_s):.0f} s {how} the file server's: it claims nothing; set it right"
