"""Slots against literal UTC instants, and against an oracle that walks every minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

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


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


CASES = [
    ("period 5 align 2", EveryMinutes(5, 2, "UTC"), "2026-01-01 00:00", ["2026-01-01 00:02", "2026-01-01 00:07"]),
    ("every minute", EveryMinutes(1, 0, "UTC"), "2026-01-01 00:00", ["2026-01-01 00:01", "2026-01-01 00:02"]),
    ("period 7: short gap at midnight", EveryMinutes(7, 0, "UTC"), "2026-01-01 23:50", ["2026-01-01 23:55", "2026-01-02 00:00"]),
    ("period 45 begins anew each day", EveryMinutes(45, 0, "UTC"), "2026-01-01 23:00", ["2026-01-01 23:15", "2026-01-02 00:00"]),
    ("period 60 align 50", EveryMinutes(60, 50, "UTC"), "2026-01-01 23:50", ["2026-01-02 00:50", "2026-01-02 01:50"]),
    ("an offset of 5:45", EveryMinutes(60, 0, "Asia/Kathmandu"), "2026-01-01 00:00", ["2026-01-01 00:15", "2026-01-01 01:15"]),
    ("both passes of a repeated hour", EveryMinutes(60, 0, "Europe/Berlin"), "2026-10-24 23:30",
     ["2026-10-25 00:00", "2026-10-25 01:00", "2026-10-25 02:00"]),
    ("half an hour repeated", EveryMinutes(60, 0, "Australia/Lord_Howe"), "2026-04-04 13:30",
     ["2026-04-04 14:00", "2026-04-04 15:30", "2026-04-04 16:30"]),
    ("skipped time is shifted, Berlin", AtTimes(("02:30",), (), "Europe/Berlin"), "2026-03-28 12:00",
     ["2026-03-29 01:30", "2026-03-30 00:30"]),
    ("02:30 and 03:30 on a spring day are one", AtTimes(("02:30", "03:30"), (), "Europe/Berlin"), "2026-03-28 12:00",
     ["2026-03-29 01:30", "2026-03-30 00:30", "2026-03-30 01:30"]),
    ("repeated time counts at the first, Berlin", AtTimes(("02:30",), (), "Europe/Berlin"), "2026-10-24 12:00",
     ["2026-10-25 00:30", "2026-10-26 01:30"]),
    ("skipped time is shifted, New York", AtTimes(("02:30",), (), "America/New_York"), "2026-03-07 12:00",
     ["2026-03-08 07:30", "2026-03-09 06:30"]),
    ("repeated time counts at the first, New York", AtTimes(("01:30",), (), "America/New_York"), "2026-10-31 12:00",
     ["2026-11-01 05:30", "2026-11-02 06:30"]),
    ("skipped half hour is shifted, Lord Howe", AtTimes(("02:15",), (), "Australia/Lord_Howe"), "2026-10-03 00:00",
     ["2026-10-03 15:45", "2026-10-04 15:15"]),
    ("Ramadan ends, Casablanca", AtTimes(("02:30",), (), "Africa/Casablanca"), "2026-03-21 12:00",
     ["2026-03-22 02:30", "2026-03-23 01:30"]),
    ("no clock change, Kathmandu", AtTimes(("00:00",), (), "Asia/Kathmandu"), "2026-01-01 00:00", ["2026-01-01 18:15"]),
    ("a whole day left out, Apia", AtTimes(("10:00",), (), "Pacific/Apia"), "2011-12-29 12:00",
     ["2011-12-29 20:00", "2011-12-30 20:00", "2011-12-31 20:00"]),
    ("last day of the month, leap year", AtTimes(("12:00",), ("last",), "UTC"), "2028-02-01 00:00",
     ["2028-02-29 12:00", "2028-03-31 12:00"]),
    ("weekday or day of the month", AtTimes(("12:00",), ("mon", "1"), "UTC"), "2026-10-30 00:00",
     ["2026-11-01 12:00", "2026-11-02 12:00", "2026-11-09 12:00"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "after", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_next_slots(schedule: Schedule, after: str, expected: list[str]) -> None:
    slots = list(islice(slots_between(schedule, utc(after), utc(after) + timedelta(days=100)), len(expected)))
    assert slots == [utc(text) for text in expected]


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        next_slot(EveryMinutes(5, 0, "UTC"), datetime(2026, 1, 1))  # noqa: DTZ001


ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "America/Santiago",
]
CHANGES = [
    "2026-03-29",
    "2026-10-25",
    "2026-03-08",
    "2026-11-01",
    "2026-04-05",
    "2026-10-04",
    "2026-02-15",
    "2026-03-22",
]


@st.composite
def periodical(draw: st.DrawFn) -> EveryMinutes:
    period = draw(st.integers(1, 60))
    return EveryMinutes(period, draw(st.integers(0, period - 1)), draw(st.sampled_from(ZONES)))


@st.composite
def fixed(draw: st.DrawFn) -> AtTimes:
    times = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda t: f"{t[0]:02}:{t[1]:02}")
    days = draw(st.sampled_from([(), ("mon",), ("31",), ("last", "15")]))
    return AtTimes(
        tuple(draw(st.lists(times, min_size=1, max_size=4, unique=True))), days, draw(st.sampled_from(ZONES))
    )


instants = st.builds(
    lambda day, minutes: utc(day) + timedelta(minutes=minutes), st.sampled_from(CHANGES), st.integers(-3000, 3000)
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.one_of(periodical(), fixed()), instants)
def test_next_advances_and_previous_agrees(schedule: Schedule, instant: datetime) -> None:
    slot = next_slot(schedule, instant)
    assert slot > instant
    assert previous_slot(schedule, slot) == slot
    before = previous_slot(schedule, slot - timedelta(microseconds=1))
    assert before <= instant
    assert next_slot(schedule, before) == slot


@settings(deadline=None, derandomize=True, max_examples=40)
@given(periodical(), st.sampled_from(CHANGES))
def test_no_periodical_slot_is_lost_or_repeated_around_a_change(schedule: EveryMinutes, day: str) -> None:
    start = utc(day) - timedelta(days=1)
    zone = ZoneInfo(schedule.timezone)
    minutes = (start + timedelta(minutes=number) for number in range(1, 3 * 1440 + 1))
    walls = ((instant, instant.astimezone(zone)) for instant in minutes)
    expected = [at for at, wall in walls if (wall.hour * 60 + wall.minute - schedule.align) % schedule.period == 0]
    end = start + timedelta(days=3)
    assert list(slots_between(schedule, start, end)) == expected
    assert count_between(schedule, start, end) == len(expected)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(fixed())
def test_no_fixed_slot_is_lost_or_repeated_over_two_years(schedule: AtTimes) -> None:
    start, end = utc("2026-01-01"), utc("2028-01-01")
    slots = list(slots_between(schedule, start, end))
    assert slots == sorted(set(slots))
    zone, expected = ZoneInfo(schedule.timezone), set()
    for number in range(-2, 735):
        day = start + timedelta(days=number)
        names = {("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()], str(day.day)}
        if (day + timedelta(days=1)).day == 1:
            names.add("last")
        for text in schedule.run_at if not schedule.days or names & set(schedule.days) else ():
            wall = datetime(day.year, day.month, day.day, int(text[:2]), int(text[3:]), tzinfo=zone)
            expected.add(wall.astimezone(UTC))
    assert slots == sorted(slot for slot in expected if start < slot <= end)
