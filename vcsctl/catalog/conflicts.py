"""What units cannot be beside each other. Values only: no files, no YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Conflict(NamedTuple):
    """A daemon holds its groups for ever: a timed service in one of them would never start."""

    daemon: str
    place: int  # of the group in the daemon's list
    group: str
    timed: str

    @property
    def text(self) -> str:
        return (
            f"{self.group!r} is a group of {self.timed}, which would never start beside a daemon; remove the group "
            f"and take it for one job at a time with: vcsctl lock {self.group} -- COMMAND"
        )


def conflicts(units: Iterable[Mapping[str, Any]]) -> list[Conflict]:
    """Takes units as `to_plain` writes them."""
    timed: dict[str, str] = {}
    daemons: list[tuple[str, Sequence[str]]] = []
    for plain in units:
        groups = plain.get("groups")
        if not groups:
            continue
        if plain["schedule"] == "daemon":
            daemons.append((plain["name"], groups))
        else:
            for group in groups:
                timed[group] = min(plain["name"], timed.get(group, plain["name"]))
    return [
        Conflict(name, place, group, timed[group])
        for name, groups in daemons
        for place, group in enumerate(groups)
        if group in timed
    ]
