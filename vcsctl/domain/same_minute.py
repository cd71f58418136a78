"""Members of a run group all of whose slots fall into minutes in which another member has a slot too. No I/O, no clock.

One of two such services always waits, which another minute would spare it. Told only where there is such a minute:
beside a service that runs each minute, or with all minutes taken, nothing can be written instead. Nor of times of day
beside a period: such a service waits for one short run a day, and there may be no better time for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from vcsctl.domain.finding import Finding, timed_by
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Unit

_DAY_MINUTES = 24 * 60
_EVERY_MINUTE = (1, 0)
_SHIFTS = sorted(range(-30, 31), key=lambda by: (abs(by), -by))  # of times of day, the nearest first
Timed = Periodical | FixedTime
_Spot = tuple[str, str | None]  # a group and a zone: in two zones the same minutes are not the same instants


@dataclass(slots=True)
class _Crowd:
    """The members of one group in one zone, by their minutes. What holds for one of several alike holds for all, so
    the first by name stands for them."""

    periodical: dict[tuple[int, int], str] = field(default_factory=dict)  # period, align → name
    fixed: dict[int, dict[tuple[tuple[int, ...], tuple[str, ...]], str]] = field(default_factory=dict)  # by each minute

    def add(self, unit: Timed) -> None:
        if isinstance(unit, Periodical):
            self.periodical.setdefault((unit.period, unit.align), unit.name)
            return
        minutes = _minutes(unit)
        for minute in minutes:
            self.fixed.setdefault(minute, {}).setdefault((minutes, tuple(sorted(unit.days))), unit.name)

    def covers_period(self, period: int, align: int) -> str | None:
        """A member with slots in all minutes of that schedule."""
        for shorter in range(2, period + 1):
            if period % shorter == 0 and (name := self.periodical.get((shorter, align % shorter))):
                return name
        return None

    def covers_times(self, minutes: Sequence[int], days: tuple[str, ...], asking: str = "") -> str | None:
        for (others, on), name in self.fixed.get(minutes[0], {}).items():
            if name != asking and set(minutes) <= set(others) and (not on or (days and set(days) <= set(on))):
                return name
        return None

    def meets_period(self, period: int, align: int) -> bool:
        """Whether any slot of that schedule falls into a minute of a member."""
        if any((align - other) % math.gcd(period, every) == 0 for every, other in self.periodical):
            return True
        return any(minute % period == align for minute in self.fixed)

    def meets_times(self, minutes: Sequence[int]) -> bool:
        return any(
            minute in self.fixed or any(minute % period == align for period, align in self.periodical)
            for minute in minutes
        )


def same_minutes(units: Iterable[Unit]) -> Iterator[Finding]:
    """Only of units that are enabled: others have no slots."""
    timed = sorted((one for one in units if one.enabled and one.groups and not isinstance(one, Daemon)), key=_name)
    crowds: dict[_Spot, _Crowd] = {}
    for unit in timed:
        for group in unit.groups:
            crowds.setdefault((group, unit.timezone), _Crowd()).add(unit)
    ways_out: dict[tuple[object, ...], str | None] = {}
    for unit in timed:
        if (found := _company(unit, crowds)) is None:
            continue
        group, other = found
        asked = (unit.groups, unit.timezone, _minutes_of(unit))
        if asked not in ways_out:
            ways_out[asked] = _way_out(unit, [crowds[group, unit.timezone] for group in unit.groups])
        if way_out := ways_out[asked]:
            text = f"{other}, also in group {group}, has a slot in each of its minutes, so one of the two always waits"
            yield Finding(unit.name, (timed_by(unit),), f"{text}; write {way_out}")


def _company(unit: Timed, crowds: dict[_Spot, _Crowd]) -> tuple[str, str] | None:
    for group in unit.groups:
        crowd = crowds[group, unit.timezone]
        if _EVERY_MINUTE in crowd.periodical:
            continue  # in whatever minute, it is not alone
        if isinstance(unit, Periodical):
            other = crowd.covers_period(unit.period, unit.align)
        else:
            other = crowd.covers_times(_minutes(unit), unit.days, unit.name)
        if other is not None and other != unit.name:
            return group, other
    return None


def _way_out(unit: Timed, crowds: Sequence[_Crowd]) -> str | None:
    """The nearest minutes that no member has, else the nearest that none always has."""
    if isinstance(unit, Periodical):
        near = sorted(range(unit.period), key=lambda align: (abs(align - unit.align), align))
        free = [align for align in near if not any(crowd.covers_period(unit.period, align) for crowd in crowds)]
        lonely = (align for align in free if not any(crowd.meets_period(unit.period, align) for crowd in crowds))
        return f"align: {next(lonely, free[0])}" if free else None
    moved = [tuple(minute + by for minute in _minutes(unit)) for by in _SHIFTS]
    inside = [minutes for minutes in moved if minutes[0] >= 0 and minutes[-1] < _DAY_MINUTES]
    open_ = [minutes for minutes in inside if not any(crowd.covers_times(minutes, unit.days) for crowd in crowds)]
    alone = (minutes for minutes in open_ if not any(crowd.meets_times(minutes) for crowd in crowds))
    return f"run_at: {', '.join(map(_clock, next(alone, open_[0])))}" if open_ else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minutes(unit: FixedTime) -> tuple[int, ...]:
    return tuple(sorted(int(text[:2]) * 60 + int(text[3:]) for text in unit.run_at))


def _minutes_of(unit: Timed) -> tuple[object, ...]:
    return (unit.period, unit.align) if isinstance(unit, Periodical) else (_minutes(unit), unit.days)


def _name(unit: Unit) -> str:
    return unit.name
