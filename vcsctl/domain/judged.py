"""What is probably not meant in declared units, each alone and all beside each other. No I/O, no clock.

What a unit cannot be is told where it is read; everything here is allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vcsctl.domain.finding import Finding
from vcsctl.domain.mistyped import lonely_groups, unknown_nodes
from vcsctl.domain.occupation import overfull
from vcsctl.domain.same_minute import same_minutes
from vcsctl.domain.unit import Unit
from vcsctl.domain.unsteady import unsteady_times


@dataclass(frozen=True, slots=True)
class Known:
    """What unit files do not say. What is not known judges nothing."""

    now: datetime
    nodes: frozenset[str] | None = None  # names, and labels as label:NAME
    timezone: str | None = None  # the cell's
    durations: Mapping[str, float] = field(default_factory=dict)  # seconds a run lasts, by service


def alone(unit: Unit, known: Known) -> Iterator[Finding]:
    if known.nodes is not None:
        yield from unknown_nodes(unit, known.nodes)
    yield from unsteady_times(unit, known.now, known.timezone)


def together(units: Collection[Unit], known: Known) -> Iterator[Finding]:
    """Of a whole set, what each has alone included."""
    for unit in units:
        yield from alone(unit, known)
    yield from lonely_groups(units)
    yield from same_minutes(units)
    yield from overfull(units, known.durations)
