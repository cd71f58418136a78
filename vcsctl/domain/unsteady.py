"""Times of day that a clock change leaves out or brings twice. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from vcsctl.domain.calendar import AtTimes, ClockChange, declared_between, next_change
from vcsctl.domain.clock_change import LOOK_AHEAD, effect, in_words
from vcsctl.domain.finding import Finding
from vcsctl.domain.unit import FixedTime, Unit

_MOVES = (1, 2, 3, -1, -2, -3)  # hours: somebody who moves 02:30 is likeliest to want 03:30


def unsteady_times(unit: Unit, now: datetime, timezone: str | None) -> Iterator[Finding]:
    """`timezone`: that of the cell, for units that name none; None where it is not known, and nothing is told."""
    zone = unit.timezone or timezone if isinstance(unit, FixedTime) else None
    if not isinstance(unit, FixedTime) or zone is None:
        return
    for place, time in enumerate(unit.run_at):
        found = _hit(AtTimes((time,), unit.days, zone), now)
        if found is not None:
            yield Finding(unit.name, ("run_at", place), f"{time} is within a clock change: {found}")


@lru_cache(maxsize=4096)
def _hit(schedule: AtTimes, now: datetime) -> str | None:
    change = next((change for change in _changes(schedule.timezone, now) if _is_within(schedule, change)), None)
    if change is None:
        return None
    steady = _steady(schedule, now)
    remedy = f"write for example {steady}" if steady else "write another time"
    return f"{in_words(change)}: {effect(schedule, change)}; {remedy}, or name a timezone without changes"


@lru_cache(maxsize=64)
def _changes(timezone: str, now: datetime) -> tuple[ClockChange, ...]:
    found = []
    after = now
    while (change := next_change(timezone, after, now + LOOK_AHEAD)) is not None:
        found.append(change)
        after = change.at
    return tuple(found)


def _is_within(schedule: AtTimes, change: ClockChange) -> bool:
    walls = sorted((change.at + offset).replace(tzinfo=None) for offset in (change.before, change.after))
    return any(declared_between(schedule, *walls))


def _steady(schedule: AtTimes, now: datetime) -> str | None:
    """The time some hours later or earlier that no change comes upon, on the same day."""
    hour, minute = schedule.run_at[0].split(":")
    for by in _MOVES:
        one = AtTimes((f"{int(hour) + by:02}:{minute}",), schedule.days, schedule.timezone)
        if 0 <= int(hour) + by < 24 and not any(_is_within(one, change) for change in _changes(one.timezone, now)):
            return one.run_at[0]
    return None
