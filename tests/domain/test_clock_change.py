"""What is said of a clock change against literal sentences, and against the slots themselves in many zones."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from vcsctl.domain.calendar import AtTimes, ClockChange, EveryMinutes, Schedule, next_change, slots_between
from vcsctl.domain.clock_change import effect, outlook

MINUTE = timedelta(minutes=1)
BERLIN, LORD_HOWE, APIA = "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"
SPRING = "on 2027-03-28 at 02:00 the clocks of Europe/Berlin go one hour ahead: "
AUTUMN = "on 2026-10-25 at 03:00 the clocks of Europe/Berlin go one hour back: 02:00 to 03:00 comes twice, "
HALF_BACK = "on 2025-04-06 at 02:00 the clocks of Australia/Lord_Howe go 30 minutes back: 01:30 to 02:00 comes twice, "
HALF_AHEAD = "on 2025-10-05 at 02:00 the clocks of Australia/Lord_Howe go 30 minutes ahead: "
ST_JOHNS = (
    "on 2010-11-07 at 00:01 the clocks of America/St_Johns go one hour back: 23:01 of 2010-11-06 to 00:01 comes twice, "
)
MONROVIA = "on 1972-01-07 at 00:00 the clocks of Africa/Monrovia go 44 minutes 30 seconds ahead: "
SKIPPED_DAY = "on 2011-12-30 at 00:00 the clocks of Pacific/Apia go 24 hours ahead: "


def at(*run_at: str, zone: str, days: tuple[str, ...] = ()) -> AtTimes:
    return AtTimes(run_at, days, zone)


SENTENCES = [
    ("shifted", at("02:30", "04:05", zone=BERLIN), "2026-11-25", SPRING + "02:30 runs at 03:30"),
    ("two become one", at("02:30", "03:30", zone=BERLIN), "2026-11-25",
     SPRING + "02:30 runs at 03:30, with that of 03:30 as one"),
    ("left out", EveryMinutes(5, 2, BERLIN), "2026-11-25",
     SPRING + "its slots from 02:02 to 02:57 do not come, 03:02 follows 01:57"),
    ("spring, elsewhere", at("04:05", zone=BERLIN), "2026-11-25",
     SPRING + "no slot falls into the time that is left out, 02:00 to 03:00"),
    ("another day of the week", at("02:30", zone=BERLIN, days=("mon",)), "2026-11-25",
     SPRING + "no slot falls into the time that is left out, 02:00 to 03:00"),
    ("twice", EveryMinutes(60, 30, BERLIN), "2026-06-01", AUTUMN + "its slot at 02:30 runs in both passes"),
    ("many twice", EveryMinutes(5, 0, BERLIN), "2026-06-01",
     AUTUMN + "its slots from 02:00 to 02:55 run in both passes"),
    ("first time", at("02:30", zone=BERLIN), "2026-06-01", AUTUMN + "02:30 runs at its first time only"),
    ("autumn, elsewhere", at("03:00", zone=BERLIN), "2026-06-01", AUTUMN + "no slot falls into it"),
    ("half an hour back", EveryMinutes(60, 45, LORD_HOWE), "2025-01-01",
     HALF_BACK + "its slot at 01:45 runs in both passes"),
    ("half an hour ahead", EveryMinutes(60, 0, LORD_HOWE), "2025-06-01",
     HALF_AHEAD + "its slot at 02:00 does not come, 03:00 follows 01:00"),
    ("a day left out", at("02:30", zone=APIA, days=("30",)), "2011-12-01",
     SKIPPED_DAY + "02:30 runs at 02:30 of 2011-12-31"),
    ("a day left out, hour by hour", EveryMinutes(60, 0, APIA), "2011-12-01",
     SKIPPED_DAY + "its slots from 00:00 to 23:00 do not come, 00:00 of 2011-12-31 follows 23:00 of 2011-12-29"),
    ("yesterday comes again", at("00:00", "23:30", zone="America/St_Johns"), "2010-11-01",
     ST_JOHNS + "23:30 of 2010-11-06, 00:00 run at their first time only"),
    ("odd seconds", EveryMinutes(60, 0, "Africa/Monrovia"), "1971-12-01",
     MONROVIA + "its slot at 00:00 does not come, 01:00 follows 23:00 of 1972-01-06"),
    ("none", at("02:30", zone="Asia/Kolkata"), "2026-11-25",
     "no clock change of Asia/Kolkata is known for the next two years"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "after", "said"), [row[1:] for row in SENTENCES], ids=[row[0] for row in SENTENCES]
)
def test_a_clock_change_is_told_with_what_it_does(schedule: Schedule, after: str, said: str) -> None:
    assert outlook(schedule, datetime.fromisoformat(after).replace(tzinfo=UTC)) == said


ZONES = (
    BERLIN, LORD_HOWE, APIA, "America/New_York", "America/Santiago", "America/St_Johns", "America/Sao_Paulo",
    "Africa/Casablanca", "Africa/Cairo", "Asia/Tehran", "Asia/Gaza", "Asia/Pyongyang",
    "Europe/Dublin", "Europe/Istanbul", "Antarctica/Troll", "Antarctica/Casey", "Pacific/Chatham",
    "Pacific/Norfolk", "Africa/Juba", "America/Caracas", "Asia/Colombo",
)  # fmt: skip
SCHEDULES: tuple[Schedule, ...] = tuple(
    schedule
    for zone in ZONES
    for schedule in (
        EveryMinutes(5, 2, zone),
        EveryMinutes(45, 7, zone),
        EveryMinutes(60, 59, zone),
        at("00:00", "00:45", "01:30", "02:15", "02:30", "03:10", "23:40", zone=zone),
    )
)


@cache
def changes(zone: str) -> list[ClockChange]:
    """Those of 2004 to 2028, and one in three where there are many."""
    found, after = [], datetime(2004, 1, 1, tzinfo=UTC)
    while change := next_change(zone, after, datetime(2028, 1, 1, tzinfo=UTC)):
        found.append(change)
        after = change.at
    return found[:: 3 if len(found) > 20 else 1]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_what_is_told_is_what_the_slots_do(schedule: Schedule) -> None:
    """Each sentence is held against the slots around its change, read off the wall clock."""
    assert changes(schedule.timezone)
    for change in changes(schedule.timezone):
        said, by = effect(schedule, change), abs(change.after - change.before)
        old, new = ((change.at + offset).replace(tzinfo=None) for offset in (change.before, change.after))
        around = list(
            slots_between(schedule, change.at - by - datetime.resolution, change.at + max(by, timedelta(hours=2)))
        )
        shown = [slot.astimezone(ZoneInfo(change.timezone)).replace(tzinfo=None) for slot in around]
        if old < new:
            assert not [wall for wall in shown if old <= wall < new]
            moved = re.findall(r"(\d\d:\d\d)(?: of \S+)? runs at (\d\d:\d\d)", said)
            assert {to for _, to in moved} <= {f"{wall:%H:%M}" for wall in shown}, said
            assert {(minutes(to) - minutes(was)) % 1440 for was, to in moved} <= {by // MINUTE % 1440}, said
            follows = re.search(r"(\d\d:\d\d)(?: of \S+)? follows", said)
            after = [f"{wall:%H:%M}" for slot, wall in zip(around, shown, strict=True) if slot >= change.at]
            assert follows is None or follows[1] == after[0], said
            assert ("no slot" in said) == (not moved and not follows), said
        else:
            repeated = [wall for wall in shown if new <= wall < old]
            passes = len(repeated) / len(set(repeated)) if repeated else 0
            assert said.endswith({0: "no slot falls into it", 1: "first time only", 2: "in both passes"}[passes]), said


def minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
