"""What a clock change does to the slots of a schedule, in words that follow from the slots. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from vcsctl.domain.calendar import (
    AtTimes,
    ClockChange,
    EveryMinutes,
    Schedule,
    declared_between,
    next_change,
    next_slot,
    previous_slot,
)

# Every zone that changes its clocks regularly does so within a year; what is further away is likely to be decided anew.
LOOK_AHEAD = timedelta(days=2 * 366)
_TICK = datetime.resolution
_CLOSE = timedelta(days=1)  # of a time that is left out or comes twice, the change is this near
_MOST_NAMED = 5


def outlook(schedule: Schedule, after: datetime) -> str:
    """The zone's next clock change and what it does to this schedule."""
    change = next_change(schedule.timezone, after, after + LOOK_AHEAD)
    if change is None:
        return f"no clock change of {schedule.timezone} is known for the next two years"
    return f"{in_words(change)}: {effect(schedule, change)}"


def oddity(schedule: Schedule, wall: datetime) -> str:
    """What is odd about a naive time that the zone's clocks leave out or show twice; empty where nothing is."""
    zone = ZoneInfo(schedule.timezone)
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return ""
    change = next_change(schedule.timezone, *sorted((first - _CLOSE, first + _CLOSE)))
    assert change is not None, "two readings of one time have a change between them"
    told = f"{in_words(change)}: {effect(schedule, change)}"
    return told if change.before < change.after else f"{told}; taken to mean the first, {first:%z}"


def in_words(change: ClockChange) -> str:
    """On which day and when, by the clocks that are to change, and by how much."""
    return _moved_in_words(_old(change), change.after - change.before, f"the clocks of {change.timezone}")


def step_in_words(shown: datetime, by: timedelta) -> str:
    """The same of this machine's clock, whose zone need not have a name. `shown` is what it shows from then on."""
    return _moved_in_words(shown.replace(tzinfo=None) - by, by, "the clock")


def _moved_in_words(old: datetime, by: timedelta, clocks: str) -> str:
    go = "goes" if clocks == "the clock" else "go"
    direction = "ahead" if by > timedelta(0) else "back"
    return f"on {old.date()} at {_time(old, old.date())} {clocks} {go} {_length(abs(by))} {direction}"


def effect(schedule: Schedule, change: ClockChange) -> str:
    """What comes of the slots that are declared for the time that is left out, or comes twice."""
    day, old, new = _day(change), _old(change), _new(change)
    if old < new:
        declared = list(declared_between(schedule, old, new))
        if not declared:
            return f"no slot falls into the time that is left out, {_span(old, new, day)}"
        return _left_out(schedule, change, declared)
    twice = f"{_span(new, old, day)} comes twice"
    declared = list(declared_between(schedule, new, old))
    if not declared:
        return f"{twice}, no slot falls into it"
    match schedule:
        case EveryMinutes():
            run = "runs" if len(declared) == 1 else "run"
            return f"{twice}, {_slots(declared, day)} {run} in both passes"
        case AtTimes():
            run = "runs at its" if len(declared) == 1 else "run at their"
            return f"{twice}, {_listed([_time(wall, day) for wall in declared])} {run} first time only"
        case _:
            assert_never(schedule)


def _left_out(schedule: Schedule, change: ClockChange, declared: Sequence[datetime]) -> str:
    day, zone = _day(change), ZoneInfo(change.timezone)
    match schedule:
        case EveryMinutes():
            before = previous_slot(schedule, change.at - _TICK).astimezone(zone)
            following = next_slot(schedule, change.at - _TICK).astimezone(zone)
            do = "does" if len(declared) == 1 else "do"
            after = f"{_time(following, day)} follows {_time(before, day)}"
            return f"{_slots(declared, day)} {do} not come, {after}"
        case AtTimes():
            return _listed([_moved(schedule, wall, zone, day) for wall in declared])
        case _:
            assert_never(schedule)


def _moved(schedule: AtTimes, wall: datetime, zone: ZoneInfo, day: date) -> str:
    shown = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None)
    is_declared = any(declared_between(schedule, shown, shown + _TICK))
    at = _time(shown, day)
    return f"{_time(wall, day)} runs at {at}" + (f", with that of {at} as one" if is_declared else "")


def _old(change: ClockChange) -> datetime:
    """What the clocks would show at the change without it."""
    return (change.at + change.before).replace(tzinfo=None)


def _new(change: ClockChange) -> datetime:
    return (change.at + change.after).replace(tzinfo=None)


def _day(change: ClockChange) -> date:
    return _old(change).date()


def _time(wall: datetime, day: date) -> str:
    time = f"{wall:%H:%M:%S}" if wall.second else f"{wall:%H:%M}"
    return time if wall.date() == day else f"{time} of {wall.date()}"


def _span(begin: datetime, end: datetime, day: date) -> str:
    return f"{_time(begin, day)} to {_time(end, day)}"


def _slots(declared: Sequence[datetime], day: date) -> str:
    if len(declared) == 1:
        return f"its slot at {_time(declared[0], day)}"
    return f"its slots from {_time(declared[0], day)} to {_time(declared[-1], day)}"


def _listed(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _MOST_NAMED} more"] if len(texts) > _MOST_NAMED else []
    return ", ".join((*texts[:_MOST_NAMED], *more))


def _length(by: timedelta) -> str:
    seconds = int(by.total_seconds())
    if seconds == 3600:
        return "one hour"
    if seconds % 3600 == 0:
        return f"{seconds // 3600} hours"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} minutes" + (f" {rest} seconds" if rest else "")
