"""Slots against an oracle that walks the wall clock step by step, and the laws that hold for any schedule."""

from __future__ import annotations

import calendar
import struct
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcsctl.domain.calendar import (
    AtTimes,
    EveryMinutes,
    Schedule,
    count_between,
    next_slot,
    previous_slot,
    slots_between,
)

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
# The same examples each time: a red run can be repeated anywhere.
steady = settings(deadline=None, derandomize=True, database=None)


@dataclass(frozen=True)
class Place:
    """A zone around the day of one of its changes. Where offsets are no full minutes, the walk has a finer step."""

    zone: str
    day: str
    step_s: int = 60

    @property
    def start(self) -> datetime:
        return datetime.fromisoformat(self.day).replace(tzinfo=UTC) - 2 * DAY

    @property
    def end(self) -> datetime:
        return self.start + 5 * DAY


PLACES = [
    Place("Europe/Berlin", "2025-03-30"),
    Place("Europe/Berlin", "2025-10-26"),
    Place("America/New_York", "2025-03-09"),
    Place("America/New_York", "2025-11-02"),
    Place("Australia/Lord_Howe", "2025-04-05"),
    Place("Australia/Lord_Howe", "2025-10-04"),
    Place("Africa/Casablanca", "2025-02-23"),
    Place("Africa/Casablanca", "2025-04-06"),
    Place("Asia/Kathmandu", "2025-06-02"),
    Place("Asia/Kathmandu", "1985-12-31"),
    Place("Pacific/Apia", "2011-12-30"),
    Place("Pacific/Kwajalein", "1969-09-30"),  # 23 hours again
    Place("Pacific/Kwajalein", "1993-08-21"),  # a day skipped
    Place("America/Santiago", "2024-04-07"),  # the hour before midnight again
    Place("America/Santiago", "2024-09-08"),  # no midnight
    Place("America/St_Johns", "2010-03-14"),  # a minute past midnight
    Place("America/St_Johns", "2010-11-07"),
    Place("America/Toronto", "1919-03-31"),  # from 23:30 to 00:30
    Place("America/Caracas", "2007-12-09"),  # half an hour again
    Place("America/Nuuk", "2024-03-31"),
    Place("Antarctica/Troll", "2024-03-31"),  # two hours
    Place("Antarctica/Troll", "2024-10-27"),
    Place("Antarctica/Casey", "2009-10-17"),  # three hours
    Place("Africa/Freetown", "1939-09-03"),  # two changes in four days
    Place("Africa/Monrovia", "1972-01-07", step_s=30),
    Place("Europe/Berlin", "1893-03-31", step_s=4),
]


@dataclass(frozen=True)
class Walk:
    shown: tuple[tuple[datetime, datetime], ...]  # (instant, wall) of each full minute, as often as it is shown
    declared: dict[datetime, datetime]  # wall → instant: shown first, or skipped and shifted by the gap


@cache
def walk(place: Place) -> Walk:
    zone, step = ZoneInfo(place.zone), timedelta(seconds=place.step_s)
    shown: list[tuple[datetime, datetime]] = []
    declared: dict[datetime, datetime] = {}
    instant = place.start - 2 * DAY
    due = instant.astimezone(zone).replace(tzinfo=None)  # what the clock would show, had nobody touched it
    while instant <= place.end + 2 * DAY:
        wall = instant.astimezone(zone).replace(tzinfo=None)
        skipped = due
        while skipped < wall:
            if skipped.second == 0:
                declared.setdefault(skipped, instant + (skipped - due))
            skipped += step
        if wall.second == 0:
            shown.append((instant, wall))
            declared.setdefault(wall, instant)
        instant += step
        due = wall + step
    return Walk(tuple(shown), declared)


def oracle(schedule: Schedule, place: Place) -> list[datetime]:
    """The slots in a day more than (start, end] at both ends."""
    if isinstance(schedule, EveryMinutes):
        period, align = schedule.period, schedule.align
        return [at for at, wall in walk(place).shown if (wall.hour * 60 + wall.minute - align) % period == 0]
    times = {(int(text[:2]), int(text[3:])) for text in schedule.run_at}
    walls = walk(place).declared.items()
    return sorted({at for wall, at in walls if (wall.hour, wall.minute) in times and is_allowed(schedule.days, wall)})


def is_allowed(days: tuple[str, ...], wall: datetime) -> bool:
    last = calendar.monthrange(wall.year, wall.month)[1]
    return not days or any(
        (word == "last" and wall.day == last)
        or (word.isdigit() and wall.day == int(word))
        or (word.isalpha() and calendar.day_abbr[wall.weekday()].lower() == word)
        for word in days
    )


def inside(slots: list[datetime], start: datetime, end: datetime) -> list[datetime]:
    return [slot for slot in slots if start < slot <= end]


WORDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "last", *map(str, range(1, 32)))
clock_times = st.one_of(
    st.tuples(st.integers(0, 23), st.integers(0, 59)),
    st.tuples(st.sampled_from([0, 1, 2, 3, 23]), st.sampled_from([0, 1, 15, 30, 45, 59])),  # where clocks are changed
).map(lambda time: f"{time[0]:02}:{time[1]:02}")


@st.composite
def schedules(draw: st.DrawFn, zone: str, least_period: int = 1) -> Schedule:
    if draw(st.booleans()):
        period = draw(st.integers(least_period, 60))
        return EveryMinutes(period, draw(st.integers(0, period - 1)), zone)
    run_at = draw(st.lists(clock_times, min_size=1, max_size=5, unique=True))
    days = draw(st.one_of(st.just(()), st.lists(st.sampled_from(WORDS), min_size=1, max_size=6, unique=True)))
    return AtTimes(tuple(run_at), tuple(days), zone)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Place, Schedule, datetime]:
    place = draw(st.sampled_from(PLACES))
    seconds = draw(st.integers(0, 5 * 86400))
    jitter = draw(st.sampled_from([timedelta(0), TICK, -TICK, timedelta(seconds=1, microseconds=500)]))
    return place, draw(schedules(place.zone)), place.start + timedelta(seconds=seconds) + jitter


@settings(steady, max_examples=60)
@given(situations())
def test_the_slots_are_what_the_wall_clock_shows(situation: tuple[Place, Schedule, datetime]) -> None:
    place, schedule, start = situation
    expected = inside(oracle(schedule, place), start, place.end)
    assert list(slots_between(schedule, start, place.end)) == expected
    assert count_between(schedule, start, place.end) == len(expected)


@settings(steady, max_examples=200)
@given(situations())
def test_next_and_previous_are_the_neighbours_on_the_wall_clock(situation: tuple[Place, Schedule, datetime]) -> None:
    place, schedule, instant = situation
    slots = oracle(schedule, place)
    at = bisect_right(slots, instant)
    if at:
        assert previous_slot(schedule, instant) == slots[at - 1]
    if at < len(slots):
        assert next_slot(schedule, instant) == slots[at]


@pytest.mark.parametrize("place", PLACES, ids=[f"{place.zone} {place.day}" for place in PLACES])
def test_no_slot_is_lost_or_repeated_around_a_change(place: Place) -> None:
    for schedule in (
        EveryMinutes(1, 0, place.zone),
        EveryMinutes(7, 3, place.zone),
        EveryMinutes(45, 15, place.zone),
        EveryMinutes(60, 30, place.zone),
        AtTimes(tuple(f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 30)), (), place.zone),
        AtTimes(("00:00", "00:15", "23:45"), ("mon", "wed", "sat", "30", "31", "last"), place.zone),
    ):
        expected = inside(oracle(schedule, place), place.start, place.end)
        assert list(slots_between(schedule, place.start, place.end)) == expected
        assert count_between(schedule, place.start, place.end) == len(expected)


@pytest.mark.parametrize("place", PLACES, ids=[f"{place.zone} {place.day}" for place in PLACES])
def test_each_moment_around_a_change_has_the_right_neighbours(place: Place) -> None:
    for schedule in (AtTimes(("00:00", "00:15", "23:45"), (), place.zone), EveryMinutes(50, 20, place.zone)):
        slots = oracle(schedule, place)
        for number in range(0, 5 * 1440, 15):
            instant = place.start + timedelta(minutes=number)
            at = bisect_right(slots, instant)
            assert (previous_slot(schedule, instant), next_slot(schedule, instant)) == (slots[at - 1], slots[at])


def change_days(zone: str, start: datetime, end: datetime) -> list[str]:
    """The UTC days on which the offset changes, found by asking every hour."""
    days, instant, before = [], start, start.astimezone(ZoneInfo(zone)).utcoffset()
    while instant < end:
        instant += timedelta(hours=1)
        offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
        if offset != before:
            days.append(f"{instant:%Y-%m-%d}")
        before = offset
    return days


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_no_slot_is_lost_or_repeated_over_years(zone: str) -> None:
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)
    days = change_days(zone, start, end)
    assert len(days) >= 6
    for schedule in (EveryMinutes(45, 15, zone), AtTimes(("01:45", "02:15", "02:30", "03:00"), (), zone)):
        slots = list(slots_between(schedule, start, end))
        assert count_between(schedule, start, end) == len(slots)
        back, instant = [], end
        while (instant := previous_slot(schedule, instant)) > start:
            back.append(instant)
            instant -= TICK
        assert back[::-1] == slots
        for place in (Place(zone, day) for day in days):
            assert inside(slots, place.start, place.end) == inside(oracle(schedule, place), place.start, place.end)


ZONES = sorted({place.zone for place in PLACES} | {"UTC", "Asia/Gaza", "America/Noronha", "Europe/Dublin"})
instants = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(steady, max_examples=200)
@given(st.sampled_from(ZONES).flatmap(schedules), instants)
def test_next_advances_and_previous_agrees(schedule: Schedule, instant: datetime) -> None:
    before, slot = previous_slot(schedule, instant), next_slot(schedule, instant)
    assert before <= instant < slot
    assert previous_slot(schedule, slot) == slot
    assert previous_slot(schedule, before) == before
    assert next_slot(schedule, before) == slot
    assert previous_slot(schedule, slot - TICK) == before


@settings(steady, max_examples=50)
@given(
    st.sampled_from(ZONES).flatmap(lambda zone: schedules(zone, least_period=20)),
    instants,
    st.integers(0, 250 * 24),
    st.integers(0, 250),
)
def test_ranges_add_up(schedule: Schedule, start: datetime, hours: int, part: int) -> None:
    end = start + timedelta(hours=hours)
    middle = start + (end - start) * part / 250
    slots, slot = [], next_slot(schedule, start)
    while slot <= end:
        slots.append(slot)
        slot = next_slot(schedule, slot)
    assert list(slots_between(schedule, start, end)) == slots
    assert count_between(schedule, start, end) == len(slots)
    assert count_between(schedule, start, middle) + count_between(schedule, middle, end) == len(slots)


def test_the_database_is_as_the_search_takes_it_to_be() -> None:
    """No zone changes its clock twice in three days, and no change skips or repeats more than one day."""
    for zone in sorted(available_timezones()):
        before = None
        for instant, shift_s in changes(zone):
            assert abs(shift_s) <= 86400, zone
            assert before is None or instant - before > 3 * 86400, zone
            before = instant


def changes(zone: str) -> list[tuple[int, int]]:
    """(Unix time, shift in seconds) of each change of offset listed in the zone's TZif file."""
    paths = [Path(root, zone) for root in TZPATH if Path(root, zone).is_file()]
    content = paths[0].read_bytes() if paths else resources.files("tzdata.zoneinfo").joinpath(zone).read_bytes()
    isut, isstd, leap, times, types, chars = struct.unpack(">6l", content[20:44])
    second = 44 + times * 5 + types * 6 + chars + leap * 8 + isstd + isut  # the 64-bit half
    _, _, _, times, types, _ = struct.unpack(">6l", content[second + 20 : second + 44])
    at = second + 44
    instants = struct.unpack(f">{times}q", content[at : at + times * 8])
    kinds = content[at + times * 8 : at + times * 9]
    offsets = [struct.unpack(">l", content[o : o + 4])[0] for o in range(at + times * 9, at + times * 9 + types * 6, 6)]
    befores = [offsets[0], *(offsets[kind] for kind in kinds)]
    return [
        (instant, offsets[kind] - before)
        for instant, kind, before in zip(instants, kinds, befores, strict=False)
        if offsets[kind] != before
    ]
