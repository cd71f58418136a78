"""Slots against literal UTC instants, which were read off `zdump -v` and reckoned by hand."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

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
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
CASABLANCA, KATHMANDU, APIA = "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia"
SANTIAGO, ST_JOHNS, MONROVIA = "America/Santiago", "America/St_Johns", "Africa/Monrovia"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(*run_at: str, zone: str, days: tuple[str, ...] = ()) -> AtTimes:
    return AtTimes(run_at, days, zone)


# id, schedule, after, the slots that follow; an expected text without a date is on the day of the one before.
PERIODICAL = [
    ("period 5 align 2", EveryMinutes(5, 2, BERLIN), "2025-06-02 10:00", "2025-06-02 10:02", "10:07", "10:12"),
    ("a slot is not its own next", EveryMinutes(5, 2, BERLIN), "2025-06-02 10:02", "2025-06-02 10:07"),
    ("a moment before a slot", EveryMinutes(5, 2, BERLIN), "2025-06-02 10:01:59.999999", "2025-06-02 10:02", "10:07"),
    ("a moment after a slot", EveryMinutes(5, 2, BERLIN), "2025-06-02 10:02:00.000001", "2025-06-02 10:07"),
    ("period 1 over a gap", EveryMinutes(1, 0, BERLIN), "2025-03-30 00:58", "2025-03-30 00:59", "01:00", "01:01"),
    ("period 1 over a fold", EveryMinutes(1, 0, NEW_YORK), "2025-11-02 05:58", "2025-11-02 05:59", "06:00", "06:01"),
    ("period 7, short gap at midnight", EveryMinutes(7, 0, BERLIN),
     "2025-06-02 21:50", "2025-06-02 21:55", "22:00", "22:07"),
    ("period 7 align 3 at midnight", EveryMinutes(7, 3, "UTC"),
     "2025-06-02 23:55", "2025-06-02 23:58", "2025-06-03 00:03", "00:10"),
    ("period 45, no gap at midnight", EveryMinutes(45, 0, BERLIN),
     "2025-01-10 22:00", "2025-01-10 22:15", "23:00", "23:45"),
    ("period 45 align 44", EveryMinutes(45, 44, "UTC"),
     "2025-01-10 23:00", "2025-01-10 23:14", "23:59", "2025-01-11 00:44"),
    ("period 50, gap of 40 at midnight", EveryMinutes(50, 0, "UTC"),
     "2025-01-10 23:00", "2025-01-10 23:20", "2025-01-11 00:00"),
    ("period 60 align 50", EveryMinutes(60, 50, "UTC"), "2025-01-10 23:50", "2025-01-11 00:50", "01:50"),
    ("nothing in a skipped hour", EveryMinutes(60, 30, BERLIN),
     "2025-03-29 23:45", "2025-03-30 00:30", "01:30", "02:30"),
    ("period 45 in a skipped hour", EveryMinutes(45, 0, BERLIN),
     "2025-03-29 23:30", "2025-03-29 23:45", "2025-03-30 00:30", "01:00", "01:45"),
    ("both passes of a repeated hour", EveryMinutes(60, 30, BERLIN),
     "2025-10-25 23:00", "2025-10-25 23:30", "2025-10-26 00:30", "01:30", "02:30"),
    ("period 45 in a repeated hour", EveryMinutes(45, 0, BERLIN),
     "2025-10-25 23:00", "2025-10-25 23:30", "2025-10-26 00:15", "01:15", "02:00"),
    ("period 7 in a repeated hour", EveryMinutes(7, 0, BERLIN),
     "2025-10-26 00:54", "2025-10-26 00:55", "01:06", "01:13"),
    ("Lord Howe, half an hour repeated", EveryMinutes(60, 30, LORD_HOWE),
     "2025-04-05 13:00", "2025-04-05 13:30", "14:30", "15:00", "16:00"),
    ("Lord Howe, the repeat ends at 02:00", EveryMinutes(60, 0, LORD_HOWE),
     "2025-04-05 13:30", "2025-04-05 14:00", "15:30", "16:30"),
    ("Lord Howe, half an hour skipped", EveryMinutes(60, 0, LORD_HOWE),
     "2025-10-04 14:00", "2025-10-04 14:30", "16:00", "17:00"),
    ("Lord Howe, a slot at the change", EveryMinutes(60, 30, LORD_HOWE),
     "2025-10-04 14:30", "2025-10-04 15:00", "15:30", "16:30"),
    ("Casablanca, Ramadan begins", EveryMinutes(60, 0, CASABLANCA),
     "2025-02-23 00:30", "2025-02-23 01:00", "02:00", "03:00"),
    ("Casablanca, Ramadan ends", EveryMinutes(60, 0, CASABLANCA),
     "2025-04-06 00:30", "2025-04-06 01:00", "02:00", "03:00"),
    ("Casablanca, 02:30 twice", EveryMinutes(45, 15, CASABLANCA),
     "2025-02-23 00:30", "2025-02-23 00:45", "01:30", "02:30", "03:15"),
    ("Kathmandu, +05:45", EveryMinutes(60, 0, KATHMANDU), "2025-06-02 00:00", "2025-06-02 00:15", "01:15"),
    ("Kathmandu, midnight", EveryMinutes(7, 0, KATHMANDU), "2025-06-02 18:05", "2025-06-02 18:10", "18:15", "18:22"),
    ("Kathmandu 1986, a quarter skipped at midnight", EveryMinutes(10, 0, KATHMANDU),
     "1985-12-31 18:15", "1985-12-31 18:20", "18:35", "18:45"),
    ("Apia, a day skipped", EveryMinutes(60, 0, APIA), "2011-12-30 08:30", "2011-12-30 09:00", "10:00", "11:00"),
    ("Apia, the count begins anew", EveryMinutes(45, 0, APIA),
     "2011-12-30 09:00", "2011-12-30 09:15", "10:00", "10:45"),
    ("Santiago, the hour before midnight twice", EveryMinutes(45, 0, SANTIAGO),
     "2024-04-07 02:00", "2024-04-07 02:15", "03:15", "04:00"),
    ("Santiago, no midnight", EveryMinutes(45, 0, SANTIAGO), "2024-09-08 02:00", "2024-09-08 02:30", "03:15", "04:30"),
    ("Monrovia 1972, minutes at odd seconds", EveryMinutes(60, 0, MONROVIA),
     "1972-01-06 22:00", "1972-01-06 22:44:30", "23:44:30", "1972-01-07 01:00"),
]  # fmt: skip

FIXED = [
    ("summer", at("12:30", zone=BERLIN), "2025-06-02 00:00", "2025-06-02 10:30", "2025-06-03 10:30"),
    ("winter", at("12:30", zone=BERLIN), "2025-01-10 00:00", "2025-01-10 11:30", "2025-01-11 11:30"),
    ("the order of run_at is nothing", at("18:00", "06:00", zone="UTC"),
     "2025-06-02 00:00", "2025-06-02 06:00", "18:00", "2025-06-03 06:00"),
    ("Berlin, skipped", at("02:30", zone=BERLIN), "2025-03-29 12:00", "2025-03-30 01:30", "2025-03-31 00:30"),
    ("Berlin, skipped to the full minute", at("02:00", zone=BERLIN),
     "2025-03-29 12:00", "2025-03-30 01:00", "2025-03-31 00:00"),
    ("Berlin, 02:30 and 03:30 are one", at("02:30", "03:30", zone=BERLIN),
     "2025-03-29 12:00", "2025-03-30 01:30", "2025-03-31 00:30", "01:30"),
    ("Berlin, repeated", at("02:30", zone=BERLIN), "2025-10-25 12:00", "2025-10-26 00:30", "2025-10-27 01:30"),
    ("Berlin, asked in the second pass", at("02:30", zone=BERLIN), "2025-10-26 01:10", "2025-10-27 01:30"),
    ("New York, skipped", at("02:30", zone=NEW_YORK), "2025-03-08 12:00", "2025-03-09 07:30", "2025-03-10 06:30"),
    ("New York, 02:30 and 03:30 are one", at("03:30", "02:30", zone=NEW_YORK),
     "2025-03-08 12:00", "2025-03-09 07:30", "2025-03-10 06:30", "07:30"),
    ("New York, repeated", at("01:30", zone=NEW_YORK), "2025-11-01 12:00", "2025-11-02 05:30", "2025-11-03 06:30"),
    ("Lord Howe, skipped", at("02:15", zone=LORD_HOWE), "2025-10-04 00:00", "2025-10-04 15:45", "2025-10-05 15:15"),
    ("Lord Howe, 02:15 and 02:45 are one", at("02:15", "02:45", zone=LORD_HOWE),
     "2025-10-04 00:00", "2025-10-04 15:45", "2025-10-05 15:15", "15:45"),
    ("Lord Howe, repeated", at("01:45", zone=LORD_HOWE), "2025-04-05 00:00", "2025-04-05 14:45", "2025-04-06 15:15"),
    ("Lord Howe, 02:00 is not repeated", at("02:00", zone=LORD_HOWE),
     "2025-04-05 00:00", "2025-04-05 15:30", "2025-04-06 15:30"),
    ("Casablanca, repeated", at("02:30", zone=CASABLANCA), "2025-02-22 12:00", "2025-02-23 01:30", "2025-02-24 02:30"),
    ("Casablanca, skipped", at("02:30", zone=CASABLANCA), "2025-04-05 12:00", "2025-04-06 02:30", "2025-04-07 01:30"),
    ("Kathmandu, midnight", at("00:00", zone=KATHMANDU), "2025-06-02 00:00", "2025-06-02 18:15", "2025-06-03 18:15"),
    ("Kathmandu 1986, skipped", at("00:05", zone=KATHMANDU),
     "1985-12-31 12:00", "1985-12-31 18:35", "1986-01-01 18:20"),
    ("Santiago, skipped after midnight", at("00:30", zone=SANTIAGO),
     "2024-09-07 12:00", "2024-09-08 04:30", "2024-09-09 03:30"),
    ("Santiago, repeated before midnight", at("23:30", zone=SANTIAGO),
     "2024-04-06 12:00", "2024-04-07 02:30", "2024-04-08 03:30"),
    ("St John's, tomorrow begins twice", at("00:00", "23:30", zone=ST_JOHNS),
     "2010-11-06 12:00", "2010-11-07 02:00", "02:30", "2010-11-08 03:00", "03:30"),
    ("St John's, the shifted time comes after a later one", at("00:30", "01:10", zone=ST_JOHNS),
     "2010-03-13 12:00", "2010-03-14 03:40", "04:00"),
    ("Toronto 1919, shifted into tomorrow", at("23:45", "00:35", zone="America/Toronto"),
     "1919-03-30 12:00", "1919-03-31 04:35", "04:45", "1919-04-01 03:45"),
    ("Monrovia 1972, skipped", at("00:10", zone=MONROVIA),
     "1972-01-06 12:00", "1972-01-07 00:54:30", "1972-01-08 00:10"),
    ("Apia, two days' times are one", at("10:00", zone=APIA),
     "2011-12-29 12:00", "2011-12-29 20:00", "2011-12-30 20:00", "2011-12-31 20:00"),
    ("Apia, the skipped 30th falls on the 31st", at("10:00", zone=APIA, days=("30",)),
     "2011-12-01 12:00", "2011-12-30 20:00", "2012-01-29 20:00"),
    ("Apia, the skipped Friday falls on Saturday", at("10:00", zone=APIA, days=("fri",)),
     "2011-12-24 12:00", "2011-12-30 20:00", "2012-01-05 20:00"),
    ("Apia, Friday and Saturday are one", at("10:00", zone=APIA, days=("fri", "sat")),
     "2011-12-29 12:00", "2011-12-30 20:00", "2012-01-05 20:00"),
]  # fmt: skip

DAYS = [
    ("weekdays pass the weekend", at("08:00", zone=BERLIN, days=("mon", "fri")),
     "2025-06-06 05:00", "2025-06-06 06:00", "2025-06-09 06:00"),
    ("the weekday is the local one", at("00:30", zone=KATHMANDU, days=("mon",)),
     "2025-05-31 00:00", "2025-06-01 18:45", "2025-06-08 18:45"),
    ("the day of the month is the local one", at("22:00", zone=NEW_YORK, days=("1",)),
     "2025-06-01 12:00", "2025-06-02 02:00", "2025-07-02 02:00"),
    ("the 31st", at("12:00", zone="UTC", days=("31",)),
     "2025-01-31 12:00", "2025-03-31 12:00", "2025-05-31 12:00", "2025-07-31 12:00", "2025-08-31 12:00"),
    ("the 30th passes February", at("12:00", zone="UTC", days=("30",)), "2025-01-30 12:00", "2025-03-30 12:00"),
    ("the 29th of no leap year", at("12:00", zone="UTC", days=("29",)), "2025-01-29 12:00", "2025-03-29 12:00"),
    ("the 29th of a leap year", at("12:00", zone="UTC", days=("29",)),
     "2024-01-29 12:00", "2024-02-29 12:00", "2024-03-29 12:00"),
    ("the last", at("12:00", zone="UTC", days=("last",)),
     "2025-01-31 12:00", "2025-02-28 12:00", "2025-03-31 12:00", "2025-04-30 12:00"),
    ("the last, leap year", at("12:00", zone="UTC", days=("last",)),
     "2024-01-31 12:00", "2024-02-29 12:00", "2024-03-31 12:00"),
    ("the last, 2100 is no leap year", at("12:00", zone="UTC", days=("last",)),
     "2100-02-01 00:00", "2100-02-28 12:00", "2100-03-31 12:00"),
    ("the 31st and the last are one day", at("12:00", zone="UTC", days=("31", "last")),
     "2025-03-01 00:00", "2025-03-31 12:00", "2025-04-30 12:00"),
    ("weekday or day of the month", at("12:00", zone="UTC", days=("mon", "1")),
     "2025-05-30 00:00", "2025-06-01 12:00", "2025-06-02 12:00", "2025-06-09 12:00"),
]  # fmt: skip

CASES = [*PERIODICAL, *FIXED, *DAYS]


def expected_slots(texts: tuple[str, ...]) -> list[datetime]:
    slots: list[datetime] = []
    for text in texts:
        slots.append(utc(text if "-" in text else f"{slots[-1]:%Y-%m-%d} {text}"))
    return slots


@pytest.mark.parametrize(
    ("schedule", "after", "texts"), [(c[1], c[2], c[3:]) for c in CASES], ids=[str(c[0]) for c in CASES]
)
def test_the_slots_are_the_expected_instants(schedule: Schedule, after: str, texts: tuple[str, ...]) -> None:
    expected = expected_slots(texts)
    start, end = utc(after), expected[-1]
    assert list(slots_between(schedule, start, end)) == expected
    assert count_between(schedule, start, end) == len(expected)
    assert next_slot(schedule, start) == expected[0]
    for before, slot in zip([None, *expected], expected, strict=False):
        assert previous_slot(schedule, slot) == slot
        if before:
            assert previous_slot(schedule, slot - TICK) == before
            assert next_slot(schedule, before) == slot


def test_where_midnight_comes_twice_the_first_of_tomorrow_is_gone_while_today_is_repeated() -> None:
    schedule = at("00:00", "23:30", zone=ST_JOHNS)
    # 23:15 on the 6th for the second time: 00:00 of the 7th was shown at 02:30, before the clock went back at 02:31.
    assert previous_slot(schedule, utc("2010-11-07 02:45")) == utc("2010-11-07 02:30")


def test_any_zone_may_be_asked_with_and_the_answer_is_in_utc() -> None:
    schedule = EveryMinutes(5, 2, BERLIN)
    asked = datetime(2025, 6, 2, 15, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    slot = next_slot(schedule, asked)
    assert (slot, slot.tzinfo) == (utc("2025-06-02 10:02"), UTC)
    assert previous_slot(schedule, asked).tzinfo is UTC


def test_the_ends_of_a_range() -> None:
    schedule, slot = EveryMinutes(5, 2, BERLIN), utc("2025-06-02 10:02")
    for start, end, count in [(slot, slot, 0), (slot - TICK, slot, 1), (slot, slot + TICK, 0), (slot + TICK, slot, 0)]:
        assert len(list(slots_between(schedule, start, end))) == count_between(schedule, start, end) == count


@pytest.mark.parametrize("schedule", [EveryMinutes(5, 0, "UTC"), at("12:00", zone="UTC")], ids=["periodical", "fixed"])
def test_an_instant_without_a_zone_is_refused(schedule: Schedule) -> None:
    naive, aware = datetime(2026, 1, 1), utc("2026-01-01 00:00")  # noqa: DTZ001
    for ask in (
        lambda: next_slot(schedule, naive),
        lambda: previous_slot(schedule, naive),
        lambda: slots_between(schedule, naive, aware),
        lambda: slots_between(schedule, aware, naive),
        lambda: count_between(schedule, naive, aware),
        lambda: count_between(schedule, aware, naive),
    ):
        with pytest.raises(ValueError, match="names no time zone"):
            ask()


@pytest.mark.parametrize("schedule", [at("12:00", zone="UTC", days=("32",)), at(zone="UTC")], ids=["no day", "no time"])
def test_the_search_for_a_slot_that_never_comes_ends(schedule: AtTimes) -> None:
    for search in (next_slot, previous_slot):
        with pytest.raises(AssertionError, match="cannot find a slot"):
            search(schedule, utc("2026-01-01 00:00"))


@pytest.mark.parametrize("word", ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "last", *map(str, range(1, 32))])
def test_each_day_is_found_in_time_leap_years_or_not(word: str) -> None:
    start, end = utc("2095-06-01 00:00"), utc("2105-06-01 00:00")
    allowed = []
    for number in range((end - start).days):
        day = date(2095, 6, 1) + timedelta(days=number)
        names = {["mon", "tue", "wed", "thu", "fri", "sat", "sun"][day.weekday()], str(day.day)}
        if (day + timedelta(days=1)).month != day.month:
            names.add("last")
        if word in names:
            allowed.append(day)
    schedule = at("12:00", zone="UTC", days=(word,))
    slots = list(slots_between(schedule, start, end))
    assert [slot.date() for slot in slots] == allowed
    assert [previous_slot(schedule, slot - TICK) for slot in slots[1:]] == slots[:-1]


def test_ten_years_of_every_minute_are_counted_at_once() -> None:
    start, end = utc("2015-01-01 00:00"), utc("2025-01-01 00:00")
    begun = time.process_time()
    assert count_between(EveryMinutes(1, 0, BERLIN), start, end) == (end - start) // timedelta(minutes=1)
    # Milliseconds; walking the five million slots takes half a minute, and a slow machine is not that slow.
    assert time.process_time() - begun < 1
