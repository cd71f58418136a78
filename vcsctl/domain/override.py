"""Overrides as records: what an operator changed by hand. Values only; `effective` says what counts of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldOverride:
    """One changed key. `value` is as a unit file would say it; `declared_then` is the declaration it replaced."""

    value: Any
    declared_then: Any
    by: str
    node: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """One service's changed keys; `moment` is when the schedule or the status last changed by hand."""

    fields: dict[str, FieldOverride] = field(default_factory=dict)
    moment: datetime | None = None


def without(override: Override, keys: Iterable[str]) -> Override:
    """The override without some of its fields; its moment stays, so that nothing earlier starts to count."""
    gone = set(keys)
    return Override({key: changed for key, changed in override.fields.items() if key not in gone}, override.moment)
