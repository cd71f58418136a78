"""What a look at declared units finds that is allowed and probably not meant. Values only."""

from __future__ import annotations

from typing import NamedTuple

from vcsctl.domain.unit import Periodical, Unit


class Finding(NamedTuple):
    """`place`: the key, and the item in its list, in the file of the unit `name`."""

    name: str
    place: tuple[str | int, ...]
    text: str


def timed_by(unit: Unit) -> str:
    """The key by which the unit's minutes are moved."""
    return "align" if isinstance(unit, Periodical) else "run_at"
