"""Schedules and their slots: the instants at which a service is due. Knows no clock and remembers nothing.

Every slot is one UTC instant, found by asking what the wall clocks of the schedule's zone show then:

- periodical: a slot is an instant at which the wall clock shows the full minute `m` of its day, with
  `(m - align) % period == 0`. So an hour that comes twice has its slots twice, an hour that is skipped has none,
  and the count begins anew at each midnight that the clock shows.
- fixed-time: a slot is the first instant at which the wall clock shows the declared day and time. A time that is
  skipped is read with the offset before the change, which shifts it by the gap (02:30 becomes 03:30, and a whole
  skipped day falls on the next one); it still belongs to the day for which it was declared.

Offsets need not be full minutes: before standard time a zone's minutes began at odd UTC seconds, and so do its slots.

Two facts about the time zone database make the search short; the tests hold the installed database to both:
no zone changes its clock twice in `_CHANGES_APART`, and no change skips more than one day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import assert_never
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_TICK = datetime.resolution
# The nearest two changes of the database are four days apart: Africa/Freetown, September 1939.
_CHANGES_APART = timedelta(days=3)
# The longest wait for an allowed day is 61 days, from one 31st to the next but one month's; the search starts up to
# two days early. Whoever needs more has a schedule that never comes.
_SEARCH_DAYS = 64


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


@dataclass(frozen=True, slots=True)
class ClockChange:
    """An instant from which on a zone's clocks show another time than before, and the offsets before and from then."""

    timezone: str
    at: datetime
    before: timedelta
    after: timedelta


def next_slot(schedule: Schedule, after: datetime) -> datetime:
    """The first slot later than `after`."""
    after = _utc(after)
    match schedule:
        case EveryMinutes():
            slot = _next_periodical(schedule, after)
        case AtTimes():
            slot = _next_fixed(schedule, after)
        case _:
            assert_never(schedule)
    if slot <= after:
        raise AssertionError(f"cannot go on from {after}: the next slot of {schedule} would be {slot}")
    return slot


def previous_slot(schedule: Schedule, until: datetime) -> datetime:
    """The last slot not later than `until`."""
    until = _utc(until)
    match schedule:
        case EveryMinutes():
            slot = _previous_periodical(schedule, until)
        case AtTimes():
            slot = _previous_fixed(schedule, until)
        case _:
            assert_never(schedule)
    if slot > until:
        raise AssertionError(f"cannot go back from {until}: the previous slot of {schedule} would be {slot}")
    return slot


def slots_between(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """The slots later than `after` and not later than `until`, ascending."""
    return _walk(schedule, _utc(after), _utc(until))


def count_between(schedule: Schedule, after: datetime, until: datetime) -> int:
    """How many slots `slots_between` yields, without walking them: years take milliseconds."""
    after, until = _utc(after), _utc(until)
    if until <= after:
        return 0
    match schedule:
        case EveryMinutes():
            return _count_periodical(schedule, after, until)
        case AtTimes():
            return _count_fixed(schedule, after, until)
        case _:
            assert_never(schedule)


def in_words(schedule: Schedule) -> str:
    match schedule:
        case EveryMinutes(period, align):
            return f"every {period} min" + (f" +{align}" if align else "")
        case AtTimes(run_at, days):
            return " ".join(run_at) + (f" on {','.join(days)}" if days else "")
        case _:
            assert_never(schedule)


def declared_between(schedule: Schedule, begin: datetime, end: datetime) -> Iterator[datetime]:
    """What the wall clock shows when a slot is declared, from `begin` on and before `end`, all three without a zone:
    also where a clock change leaves that time out or brings it twice."""
    day = datetime.combine(begin, time())
    while day < end:
        match schedule:
            case EveryMinutes(period, align):
                minutes: Iterable[int] = range(align, _DAY_MINUTES, period)
            case AtTimes(run_at, days):
                times = sorted(_times(run_at)) if _allows(days, day.date()) else []
                minutes = [at.hour * 60 + at.minute for at in times]
            case _:
                assert_never(schedule)
        walls = (day + timedelta(minutes=minute) for minute in minutes)
        yield from (wall for wall in walls if begin <= wall < end)
        day += _DAY


def next_change(timezone: str, after: datetime, until: datetime) -> ClockChange | None:
    """The zone's first clock change later than `after`, if there is one not later than `until`."""
    zone = ZoneInfo(timezone)
    for at in _changes(zone, _utc(after), _utc(until)):
        return ClockChange(timezone, at, _offset(zone, at - _TICK), _offset(zone, at))
    return None


def _walk(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    while after < until and (after := next_slot(schedule, after)) <= until:
        yield after


def _utc(instant: datetime) -> datetime:
    if instant.utcoffset() is None:
        raise ValueError(f"cannot place {instant} in time: it names no time zone; give an aware datetime")
    return instant.astimezone(UTC)


# Periodical: while the offset stays, the next minute is found by arithmetic alone; a change starts it afresh.


def _next_periodical(schedule: EveryMinutes, after: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    start = after + _TICK
    while True:
        local = start.astimezone(zone)
        slot = start + _until_due(schedule, local)
        if _offset(zone, slot) == local.utcoffset():
            return slot
        start = _change_between(zone, start, slot)


def _previous_periodical(schedule: EveryMinutes, until: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    while True:
        local = until.astimezone(zone)
        slot = until - _since_due(schedule, local)
        if _offset(zone, slot) == local.utcoffset():
            return slot
        until = _change_between(zone, slot, until) - _TICK


def _until_due(schedule: EveryMinutes, wall: datetime) -> timedelta:
    """How long from `wall` to the first due minute at or after it."""
    now = wall.hour * 60 + wall.minute
    minute = now + 1 if wall.second or wall.microsecond else now
    due = minute + (schedule.align - minute) % schedule.period
    if due >= _DAY_MINUTES:
        due = _DAY_MINUTES + schedule.align
    return timedelta(0, (due - now) * 60 - wall.second, -wall.microsecond)


def _since_due(schedule: EveryMinutes, wall: datetime) -> timedelta:
    """How long from the last due minute at or before `wall` to it."""
    now = wall.hour * 60 + wall.minute
    if now >= schedule.align:
        minutes = (now - schedule.align) % schedule.period
    else:
        minutes = now + 1 + (_DAY_MINUTES - 1 - schedule.align) % schedule.period
    return timedelta(0, minutes * 60 + wall.second, wall.microsecond)


def _count_periodical(schedule: EveryMinutes, after: datetime, until: datetime) -> int:
    zone = ZoneInfo(schedule.timezone)
    ends = (*(change - _TICK for change in _changes(zone, after, until)), until)
    counted = 0
    for start, end in pairwise((after, *ends)):
        # The offset of `end` holds in all of (start, end], if not at `start` itself.
        wall = end.astimezone(zone).replace(tzinfo=None)
        counted += _number(schedule, wall) - _number(schedule, wall - (end - start))
    return counted


def _number(schedule: EveryMinutes, wall: datetime) -> int:
    """How many due minutes the calendar has up to `wall`, itself included."""
    of_a_day = len(range(schedule.align, _DAY_MINUTES, schedule.period))
    today = (wall.hour * 60 + wall.minute - schedule.align) // schedule.period + 1
    return wall.toordinal() * of_a_day + today


# Fixed-time: the days are tried one by one. A shifted time may fall on the day after its own, and so come later than
# that day's first times: hence always two days are compared.


def _next_fixed(schedule: AtTimes, after: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    day = after.astimezone(zone).date() - _DAY
    for _ in range(_SEARCH_DAYS):
        following = day + _DAY
        if later := [slot for slot in _slots_of(schedule, zone, day) if slot > after]:
            return min(later + [slot for slot in _slots_of(schedule, zone, following) if slot > after])
        day = following
    raise AssertionError(f"cannot find a slot of {schedule} in {_SEARCH_DAYS} days after {after}")


def _previous_fixed(schedule: AtTimes, until: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    # Where the clock goes back over midnight, tomorrow's first times are already gone while today comes again.
    day = until.astimezone(zone).date() + _DAY
    for _ in range(_SEARCH_DAYS):
        before = day - _DAY
        if earlier := [slot for slot in _slots_of(schedule, zone, day) if slot <= until]:
            return max(earlier + [slot for slot in _slots_of(schedule, zone, before) if slot <= until])
        day = before
    raise AssertionError(f"cannot find a slot of {schedule} in {_SEARCH_DAYS} days before {until}")


def _count_fixed(schedule: AtTimes, after: datetime, until: datetime) -> int:
    """Days well away from both ends and from any change have all their times, each once; the others are looked at."""
    zone = ZoneInfo(schedule.timezone)
    marks = [instant.astimezone(zone).date() for instant in (after, *_changes(zone, after, until), until)]
    near = {mark + away * _DAY for mark in marks for away in (-2, -1, 0, 1, 2)}
    looked_at = {slot for day in near for slot in _slots_of(schedule, zone, day) if after < slot <= until}
    days = (date.fromordinal(number) for number in range(marks[0].toordinal(), marks[-1].toordinal()))
    whole_days = sum(1 for day in days if day not in near and _allows(schedule.days, day))
    return len(looked_at) + whole_days * len(_times(schedule.run_at))


def _slots_of(schedule: AtTimes, zone: ZoneInfo, day: date) -> list[datetime]:
    """The slots declared for one local day. That `fold` is 0 means both the first of two and the shift by the gap."""
    if not _allows(schedule.days, day):
        return []
    return [datetime.combine(day, at, zone).astimezone(UTC) for at in _times(schedule.run_at)]


@lru_cache(maxsize=1024)  # a schedule is asked many times a minute, its texts need not be read each time
def _times(run_at: tuple[str, ...]) -> tuple[time, ...]:
    return tuple({time(int(text[:2]), int(text[3:])) for text in run_at})


def _allows(days: tuple[str, ...], day: date) -> bool:
    if not days or str(day.day) in days or WEEKDAYS[day.weekday()] in days:
        return True
    return "last" in days and (day + _DAY).day == 1


# The zone's changes of offset; `zoneinfo` does not list them, so they are found by asking.


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def _changes(zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] from which the offset is another one."""
    low, before = after, _offset(zone, after)
    while low < until:
        high = min(low + _CHANGES_APART, until)
        if (offset := _offset(zone, high)) != before:
            yield _change_between(zone, low, high)
        low, before = high, offset


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The instant in (low, high] from which the offset is no longer that of `low`; always a full second."""
    offset = _offset(zone, low)
    low = low.replace(microsecond=0)
    seconds = -((low - high) // _SECOND)
    same = 0
    while seconds - same > 1:
        middle = (same + seconds) // 2
        if _offset(zone, low + middle * _SECOND) == offset:
            same = middle
        else:
            seconds = middle
    return low + seconds * _SECOND
