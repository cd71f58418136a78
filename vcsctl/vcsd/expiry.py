"""Removes what operators changed by hand once no node declares any more what they changed. Decides by the domain."""

from __future__ import annotations

from datetime import datetime

from vcsctl.domain.effective import outdated
from vcsctl.domain.override import Override, without
from vcsctl.domain.unit import Unit, from_plain
from vcsctl.store import nodes
from vcsctl.store.override_change import change_override
from vcsctl.store.paths import Paths
from vcsctl.vcsd.services import Services


def expire_overrides(paths: Paths, services: Services) -> list[str]:
    """What was removed, a sentence each. A node back from repair with an old tree erases nothing for the others."""
    suspects = {
        name: override
        for name, override in services.overrides.items()
        if override.fields and name not in services.masked and _suspect(override, services.declared.get(name))
    }
    published = [units for node in nodes.nodes_with_units(paths) if (units := nodes.read_units(paths, node))]
    said = []
    for name in sorted(suspects if published else ()):
        rows = [units.units[name] for units in published if name in units.units]
        try:
            declared = [from_plain(row["plain"]) for row in rows]
        except (KeyError, TypeError, ValueError):
            continue  # masked or broken somewhere, or of another version: what it declares is not known now
        gone = [key for key in suspects[name].fields if all(key in outdated(suspects[name], unit) for unit in declared)]
        if gone:
            _remove(paths, name, tuple(gone), declared)
            said.append(f"{name}: override of {', '.join(gone)} removed: the declaration has changed since")
    return said


def _suspect(override: Override, unit: Unit | None) -> bool:
    return unit is None or bool(outdated(override, unit))


def _remove(paths: Paths, name: str, keys: tuple[str, ...], declared: list[Unit]) -> None:
    def change(current: Override | None, _moment: datetime) -> Override | None:
        if current is None:
            return None
        # The command that wrote meanwhile may have meant the new declaration: only what is still outdated goes.
        after = without(current, [key for key in keys if all(key in outdated(current, unit) for unit in declared)])
        return after if after.fields or (declared and after.moment) else None

    change_override(paths, name, change)
