"""What counts of a service: its declaration with the overrides on top, by the three-way rule. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.parsed import FieldError
from vcsctl.domain.unit import Unit, to_plain, with_fields

# `enable`/`disable` and `set` may change these; `nodes` and `groups` are configured at deployment.
OVERRIDABLE = ("enabled", "schedule", "period", "align", "run_at", "timeout")
RETIMING = frozenset(("enabled", "schedule", "period", "align", "run_at"))


def declared_values(unit: Unit) -> dict[str, Any]:
    """The declaration of the keys that can be overridden, as JSON values; a missing key is None."""
    plain = {"enabled": True, "align": 0 if unit.schedule == "periodical" else None, **to_plain(unit)}
    return {key: _listed(plain.get(key)) for key in OVERRIDABLE}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def in_force(override: Override | None, unit: Unit) -> dict[str, FieldOverride]:
    """The fields that still apply: those whose declaration is what it was when the operator spoke."""
    if override is None:
        return {}
    declared = declared_values(unit)
    return {
        key: changed
        for key, changed in override.fields.items()
        if key in declared and declared[key] == changed.declared_then
    }


def outdated(override: Override, unit: Unit) -> tuple[str, ...]:
    """The fields whose declaration has changed since; the declaration wins and the field can go."""
    return tuple(key for key in override.fields if key not in in_force(override, unit))


def effective(unit: Unit, override: Override | None) -> Unit:
    """The unit as it counts now. Raises ValueError when an override's value does not fit the unit."""
    fields = {key: as_text(changed.value) for key, changed in in_force(override, unit).items()}
    return with_fields(unit, fields) if fields else unit


def fitting(unit: Unit, override: Override | None) -> tuple[Unit, str]:
    """The unit as it counts now, the declaration where an override does not fit it any more, and then why."""
    try:
        return effective(unit, override), ""
    except (ValueError, TypeError) as error:
        return unit, f"the override of {unit.name} is left out: {error}"


def as_text(value: Any) -> Any:
    """JSON values as the texts a unit file holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value


def changed_by(
    unit: Unit, before: Override | None, changes: Mapping[str, Any], author: FieldOverride, moment: datetime
) -> Override:
    """The override after an operator's `changes` (values as a unit file would say them).

    A value that equals the declaration leaves only its moment behind. Raises FieldError when it does not fit.
    """
    for key in changes:
        if key not in OVERRIDABLE:
            raise FieldError(key, f"is configured at deployment, in the unit file of {unit.name}")
    kept, fields = in_force(before, unit), dict[str, FieldOverride]()
    current, _ = fitting(unit, before)
    target = with_fields(current, {key: as_text(value) for key, value in changes.items()})
    declared, wanted = declared_values(unit), declared_values(target)
    for key in OVERRIDABLE:
        if wanted[key] != declared[key] and wanted[key] is not None:
            value = wanted[key]
            if key in kept and kept[key].value == value:
                fields[key] = kept[key]  # saying the same again changes neither who said it nor when
            else:
                fields[key] = FieldOverride(value, declared[key], author.by, author.node, author.at, author.reason)
    retimed = any(declared_values(current)[key] != wanted[key] for key in RETIMING)
    earlier = before.moment if before else None
    return Override(fields, moment if retimed else earlier)
