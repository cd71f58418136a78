"""Schedules and their slots: the instants at which a service is due. Knows no clock and remembers nothing.

All results are UTC instants. A periodical slot is an instant whose local wall clock shows a whole minute `m`
of the day with `(m - align) % period == 0`: so a repeated hour has its slots twice, a skipped hour has
none, and each midnight begins the count anew. A fixed time that a clock change skips is shifted by the
gap (02:30 becomes 03:30), one that exists twice counts at the first; both are what PEP 495 says of fold=0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_DAY_MINUTES = 1440
# `days: [31]` waits 62 days at most (July to August are neighbours, December to January too); then something is wrong.
_SEARCH_DAYS = 70
# A skipped time may be shifted by a whole day (Pacific/Apia left out 2011-12-30): look at the neighbours too.
_SHIFT_DAYS = 2
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class EveryMinutes:
    """A periodical schedule: minutes `align`, `align + period`, ... of each local day."""

    period: int
    align: int
    timezone: str


@dataclass(frozen=True, slots=True)
class AtTimes:
    """A fixed-time schedule: each `HH:MM` of each allowed day; no `days` allows every day."""

    run_at: tuple[str, ...]
    days: tuple[str, ...]
    timezone: str


Schedule = EveryMinutes | AtTimes


def next_slot(schedule: Schedule, after: datetime) -> datetime:
    """The first slot later than `after`."""
    after = _utc(after)
    slot = _next_periodical(schedule, after) if isinstance(schedule, EveryMinutes) else _next_fixed(schedule, after)
    if slot <= after:
        raise AssertionError(f"the slot after {after} of {schedule} does not advance: {slot}")
    return slot


def previous_slot(schedule: Schedule, until: datetime) -> datetime:
    """The last slot that is not later than `until`."""
    until = _utc(until)
    slot = (
        _previous_periodical(schedule, until)
        if isinstance(schedule, EveryMinutes)
        else _previous_fixed(schedule, until)
    )
    if slot > until:
        raise AssertionError(f"the slot before {until} of {schedule} does not go back: {slot}")
    return slot


def slots_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """The slots later than `after` and not later than `until`, ascending."""
    until = _utc(until)
    slot = next_slot(schedule, after)
    while slot <= until:
        yield slot
        slot = next_slot(schedule, slot)


def count_between(schedule: Schedule, after: datetime, until: datetime) -> int:
    """How many slots `slots_between` would yield; days without a clock change are counted, not walked."""
    after, until = _utc(after), _utc(until)
    if isinstance(schedule, AtTimes):
        return sum(1 for _ in slots_between(schedule, after, until))
    zone = ZoneInfo(schedule.timezone)
    a_day = len(range(schedule.align, _DAY_MINUTES, schedule.period))
    counted = 0
    while after < until:
        # (after, end] is what is left of a local day: the instants from one midnight to before the next.
        wall = (after + _TICK).astimezone(zone)
        midnight = datetime(wall.year, wall.month, wall.day, tzinfo=zone) + _DAY
        end = min(max(midnight.astimezone(UTC) - _TICK, after + _TICK), until)
        whole_day = end - after == _DAY and _offset(zone, after) == _offset(zone, end)
        counted += a_day if whole_day else sum(1 for _ in slots_between(schedule, after, end))
        after = end
    return counted


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant} names no time zone")
    return instant.astimezone(UTC)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    return timedelta(0) if offset is None else offset


def _next_periodical(schedule: EveryMinutes, after: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    offset = _offset(zone, after)
    slot = _ceiling(schedule, after + offset, inclusive=False) - offset
    if _offset(zone, slot) == offset:
        return slot
    change = _first_change(zone, after, slot)
    offset = _offset(zone, change)
    return _ceiling(schedule, change + offset, inclusive=True) - offset


def _previous_periodical(schedule: EveryMinutes, until: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    offset = _offset(zone, until)
    slot = _floor(schedule, until + offset) - offset
    if _offset(zone, slot) == offset:
        return slot
    before = _first_change(zone, slot, until) - timedelta(microseconds=1)
    offset = _offset(zone, before)
    return _floor(schedule, before + offset) - offset


def _ceiling(schedule: EveryMinutes, wall: datetime, *, inclusive: bool) -> datetime:
    """The first matching wall clock minute later than `wall`, or at it. `wall` is local time in UTC's clothes."""
    minute = wall.replace(second=0, microsecond=0)
    if minute < wall or not inclusive:
        minute += _MINUTE
    midnight = minute.replace(hour=0, minute=0)
    of_day = minute.hour * 60 + minute.minute
    of_day += (schedule.align - of_day) % schedule.period
    return midnight + (timedelta(minutes=of_day) if of_day < _DAY_MINUTES else _DAY + timedelta(minutes=schedule.align))


def _floor(schedule: EveryMinutes, wall: datetime) -> datetime:
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    of_day = wall.hour * 60 + wall.minute
    if of_day < schedule.align:
        midnight -= _DAY
        of_day = _DAY_MINUTES - 1
    return midnight + timedelta(minutes=of_day - (of_day - schedule.align) % schedule.period)


def _first_change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The second from which the offset is no longer that of `low`; there is one change in between."""
    offset = _offset(zone, low)
    low = low.replace(microsecond=0)
    high = high.replace(microsecond=0) + timedelta(seconds=1)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def _next_fixed(schedule: AtTimes, after: datetime) -> datetime:
    today = after.astimezone(ZoneInfo(schedule.timezone)).date()
    for ahead in range(_SEARCH_DAYS):
        day = today + ahead * _DAY
        days = (day + near * _DAY for near in range(-_SHIFT_DAYS, 2))
        later = [slot for near in days for slot in _slots_of(schedule, near) if slot > after]
        if later:
            return min(later)
    raise AssertionError(f"{schedule} has no slot in {_SEARCH_DAYS} days after {after}")


def _previous_fixed(schedule: AtTimes, until: datetime) -> datetime:
    today = until.astimezone(ZoneInfo(schedule.timezone)).date()
    for back in range(-1, _SEARCH_DAYS):
        day = today - back * _DAY
        days = (day - near * _DAY for near in range(_SHIFT_DAYS + 1))
        earlier = [slot for near in days for slot in _slots_of(schedule, near) if slot <= until]
        if earlier:
            return max(earlier)
    raise AssertionError(f"{schedule} has no slot in {_SEARCH_DAYS} days before {until}")


@cache
def _times(run_at: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((int(text[:2]), int(text[3:])) for text in run_at))


def _slots_of(schedule: AtTimes, day: date) -> list[datetime]:
    """The slots declared for one local day; a skipped time may fall on the next day's."""
    if not _allows(schedule.days, day):
        return []
    zone = ZoneInfo(schedule.timezone)
    return [
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
        for hour, minute in _times(schedule.run_at)
    ]


def _allows(days: tuple[str, ...], day: date) -> bool:
    is_last = (day + _DAY).day == 1
    return not days or WEEKDAYS[day.weekday()] in days or str(day.day) in days or (is_last and "last" in days)
