"""The forecast: by tables, by what must hold of any, and against a cell that is played second by second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcsctl.domain import figures
from vcsctl.domain.calendar import slots_between
from vcsctl.domain.decision import Waiter
from vcsctl.domain.forecast import Forecast, Live, Outset, at_rest, forecast, held_for_good
from vcsctl.domain.run import Claim
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Retries, TimedUnit, schedule_of

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FAIR_AFTER = timedelta(minutes=10)


def job(name: str, period: int = 5, align: int = 0, *groups: str, **fields: Any) -> Periodical:
    return Periodical(name=name, exec=("/bin/true",), period=period, align=align, groups=groups, **fields)


def outset(units: Sequence[Periodical | FixedTime], lasts: Mapping[str, Sequence[float]], **fields: Any) -> Outset:
    views = tuple(at_rest(unit, unit.name, "UTC", NOON) for unit in units)
    return replace(Outset(views, lasts, FAIR_AFTER), **fields)


def foreseen(units: Sequence[Periodical | FixedTime], minutes: float, **lasts: Sequence[float]) -> Forecast:
    return forecast(outset(units, lasts), NOON, NOON + timedelta(minutes=minutes))


def seen(found: Forecast) -> list[tuple[Any, ...]]:
    """Each run as name, slot, wait and end in seconds from noon, coalesced, attempt."""

    def at(instant: datetime | None) -> float | None:
        return (instant - NOON).total_seconds() if instant else None

    return [(run.key, at(run.slot), run.wait_s, at(run.end), run.coalesced, run.attempt) for run in found.runs]


TABLE = [
    ("alone, the slot at the start counts and that at the end does not", [job("a")], 10, {"a": [7]},
     [("a", 0, 0, 7, 0, 1), ("a", 300, 0, 307, 0, 1)]),
    ("two of one group, the second by name waits", [job("a", 5, 0, "g"), job("b", 5, 0, "g")], 5, {"a": [60], "b": [30]},
     [("a", 0, 0, 60, 0, 1), ("b", 0, 60, 90, 0, 1)]),
    ("two of different groups do not", [job("a", 5, 0, "g"), job("b", 5, 0, "h")], 5, {"a": [60], "b": [30]},
     [("a", 0, 0, 60, 0, 1), ("b", 0, 0, 30, 0, 1)]),
    ("longer than its period: what came meanwhile is coalesced", [job("a", 1)], 5, {"a": [150]},
     [("a", 0, 0, 150, 0, 1), ("a", 120, 90, 300, 1, 1)]),
    ("durations one after the other, and again from the first", [job("a", 1)], 3, {"a": [10, 20]},
     [("a", 0, 0, 10, 0, 1), ("a", 60, 0, 80, 0, 1), ("a", 120, 0, 130, 0, 1)]),
    ("a timeout cuts it, and it is tried again", [job("a", 5, timeout=20.0, retries=Retries(attempts=1, delay=30.0))], 5, {"a": [60]},
     [("a", 0, 0, 20, 0, 1), ("a", 0, 0, 70, 0, 2)]),
    ("a timeout without retries is not tried again", [job("a", 5, timeout=20.0)], 5, {"a": [60]}, [("a", 0, 0, 20, 0, 1)]),
    ("a slot comes before the retry", [job("a", 1, timeout=20.0, retries=Retries(attempts=1, delay=90.0))], 2, {"a": [60, 5]},
     [("a", 0, 0, 20, 0, 1), ("a", 60, 0, 65, 0, 1)]),
    ("start_within is over before the group is free", [job("a", 60, 0, "g"), job("b", 60, 0, "g", start_within=30.0)], 10,
     {"a": [60], "b": [5]}, [("a", 0, 0, 60, 0, 1)]),
    ("a fixed time", [FixedTime(name="a", exec=("/bin/true",), run_at=("12:03",))], 24 * 60, {"a": [5]}, [("a", 180, 0, 185, 0, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "minutes", "lasts", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_what_comes_of_slots(units: Any, minutes: float, lasts: Any, expected: Any) -> None:
    assert seen(foreseen(units, minutes, **lasts)) == expected


def test_a_slot_that_cannot_start_in_time_is_told_with_its_reason() -> None:
    units = [job("a", 60, 0, "g"), job("b", 60, 0, "g", start_within=30.0)]
    (row,) = foreseen(units, 10, a=[60], b=[5]).unstarted
    assert (row.key, row.cause, row.first, row.count) == ("b", "too-late", NOON, 1)
    assert row.why == "could not start by 2026-11-02T12:00:30Z (start_within)"


def test_of_two_that_come_at_once_the_one_that_waits_for_its_own_run_is_first() -> None:
    """vcsd enters it first: what it waits for is known before the groups are looked at."""
    found = foreseen([job("z", 1, 0, "g"), job("a", 4, 1, "g")], 3, z=[70], a=[5])
    assert [run.key for run in found.runs] == ["z", "z", "a", "z"]


def test_what_waits_at_the_end_is_told_with_its_reason() -> None:
    found = foreseen([job("a", 60, 0, "g"), job("b", 1, 0, "g")], 10, a=[3600], b=[5])
    (entry,) = found.waiting
    assert (entry.key, entry.due, entry.count) == ("b", NOON, 10)
    assert entry.why == "waits for group g, held by a.1"


def test_who_has_waited_long_is_not_overtaken_any_more() -> None:
    """`both` needs a moment in which neither a nor b runs, and their runs overlap."""
    units = [job("a", 2, 0, "g"), job("b", 2, 1, "h"), job("both", 60, 1, "g", "h")]
    lasts: dict[str, Sequence[float]] = {"a": [90], "b": [90], "both": [10]}
    (run,) = [run for run in foreseen(units, 30, **lasts).runs if run.key == "both"]
    assert FAIR_AFTER < timedelta(seconds=run.wait_s) < FAIR_AFTER + timedelta(minutes=4)
    impatient = forecast(outset(units, lasts, fair_after=timedelta(days=1)), NOON, NOON + timedelta(minutes=30))
    assert [entry.key for entry in impatient.waiting] == ["both"]


@pytest.mark.parametrize(
    ("day", "hours", "run_at"),
    [("2026-03-28T23:00Z", 23, "01:30"), ("2026-10-24T22:00Z", 25, "00:30"), ("2026-05-31T22:00Z", 24, "00:30")],
    ids=["a day of 23 hours", "a day of 25 hours", "any other day"],
)
def test_a_day_on_which_the_clock_changes(day: str, hours: int, run_at: str) -> None:
    zone = "Europe/Berlin"
    units = [job("a", 60, timezone=zone), FixedTime(name="b", exec=("/bin/true",), run_at=("02:30",), timezone=zone)]
    start = datetime.fromisoformat(day)
    views = tuple(at_rest(unit, unit.name, zone, start) for unit in units)
    found = forecast(Outset(views, {"a": [1.0], "b": [1.0]}, FAIR_AFTER), start, start + timedelta(hours=hours))
    assert len([run for run in found.runs if run.key == "a"]) == hours
    assert [run.start.strftime("%H:%M") for run in found.runs if run.key == "b"] == [run_at]


def test_what_runs_and_waits_at_the_start_goes_on() -> None:
    units = [job("a", 60, 30, "g"), job("b", 60, 30, "g")]
    claim = Claim("a", 7, "a", "n1", "schedule", "due", NOON - SECOND, NOON - SECOND, groups=("g",), unit={})
    a, b = (at_rest(unit, unit.name, "UTC", NOON) for unit in units)
    views = (replace(a, run=claim, started=True, live=True), replace(b, requests=(Waiter("r1", NOON - 5 * SECOND),)))
    live = {"a": Live(NOON - SECOND, NOON + 40 * SECOND)}
    found = forecast(Outset(views, {"a": [1.0], "b": [3.0]}, FAIR_AFTER, live), NOON, NOON + 60 * SECOND)
    assert seen(found) == [("a", -1, 0, 40, 0, 1), ("b", None, 45, 43, 0, 1)]


def test_a_request_whose_time_is_over_already_and_that_nobody_has_recorded_yet() -> None:
    unit = job("a", 5, 0, "g", enabled=False)
    over = Waiter("r1", NOON - 60 * SECOND, expires_at=NOON - 30 * SECOND)
    asked = Waiter("r2", NOON - 20 * SECOND)
    view = replace(at_rest(unit, "a", "UTC", NOON), requests=(over, asked))
    held = job("long", 60, 30, "g")
    run = Claim("long", 1, "long", "n1", "manual", "requested", groups=("g",), unit={})
    live = replace(at_rest(held, "long", "UTC", NOON), run=run, started=True, live=True)
    lives = {"long": Live(NOON - 120 * SECOND, NOON + 90 * SECOND)}
    found = forecast(Outset((view, live), {"a": [5], "long": [60]}, FAIR_AFTER, lives), NOON, NOON + 300 * SECOND)
    assert [(one.key, one.start) for one in found.runs if one.key == "a"] == [("a", NOON + 90 * SECOND)]


def test_a_daemon_keeps_its_groups() -> None:
    daemon = held_for_good(Daemon(name="d", exec=("/bin/true",), groups=("g",)), "d", ("g",), NOON)
    views = (daemon, at_rest(job("a", 5, 0, "g"), "a", "UTC", NOON))
    found = forecast(Outset(views, {"a": [1.0]}, FAIR_AFTER, {"d": Live(NOON, None)}), NOON, NOON + timedelta(hours=1))
    assert not found.runs
    assert [entry.why for entry in found.waiting] == ["waits for group g, held by d.1"]
    assert [group.share for group in figures.of_groups(found, [("g", "a")])] == [1.0]


def test_what_cannot_meet_the_services_that_matter_is_not_played() -> None:
    units = [job("a", 5, 0, "g"), job("b", 5, 0, "g", "h"), job("c", 5, 0, "h"), job("d", 5, 0, "i"), job("e")]
    lasts = {name: [60.0] for name in "abcde"}
    found = forecast(outset(units, lasts), NOON, NOON + timedelta(minutes=5), matters=lambda name: name == "c")
    assert [(run.key, run.wait_s) for run in found.runs] == [("a", 0.0), ("c", 0.0), ("b", 60.0)]


def test_it_says_how_far_it_is() -> None:
    told: list[float] = []
    forecast(outset([job("a"), job("b")], {"a": [1], "b": [1]}), NOON, NOON + timedelta(hours=1), told.append)
    assert told == sorted(told)
    assert 0.9 < told[-1] < 1


# What must hold of any.

NAMES = ("a", "b", "c", "d")


@st.composite
def cells(draw: st.DrawFn, *, retries: bool = True) -> tuple[list[Periodical], dict[str, list[float]], timedelta]:
    names = NAMES[: draw(st.integers(1, 4))]
    units, lasts = [], {}
    for name in names:
        period = draw(st.integers(1, 6))
        fields: dict[str, Any] = {"start_within": draw(st.sampled_from([None, None, 20.0, 60.0, 400.0]))}
        if retries:
            fields |= {
                "timeout": draw(st.sampled_from([None, 50.0])),
                "retries": Retries(attempts=draw(st.integers(0, 2))),
            }
        groups = draw(st.sets(st.sampled_from(["g", "h", "i"]), max_size=2))
        units.append(job(name, period, draw(st.integers(0, period - 1)), *sorted(groups), **fields))
        lasts[name] = draw(st.lists(st.integers(1, 400).map(float), min_size=1, max_size=3))
    return units, lasts, timedelta(seconds=draw(st.sampled_from([30, 120, 600])))


UNTIL = NOON + timedelta(minutes=15)


@settings(max_examples=30, deadline=None)
@given(cells())
def test_no_two_runs_overlap_that_may_not_and_each_slot_is_accounted_for_once(cell: Any) -> None:
    units, lasts, fair_after = cell
    found = forecast(outset(units, lasts, fair_after=fair_after), NOON, UNTIL)
    for one, other in combinations(found.runs, 2):
        if one.key == other.key or set(one.groups) & set(other.groups):
            assert one.end <= other.start or other.end <= one.start
    for unit in units:
        slots = len(list(slots_between(schedule_of(unit, "UTC"), NOON - SECOND, UNTIL - SECOND)))
        started = [run for run in found.runs if run.key == unit.name]
        counted = sum(1 + run.coalesced for run in started if run.attempt == 1)
        counted += sum(run.coalesced for run in started if run.attempt > 1)
        counted += sum(row.count for row in found.unstarted if row.key == unit.name)
        counted += sum(entry.count for entry in found.waiting if entry.key == unit.name)
        assert counted == slots


@dataclass
class Ticking:
    """One KEY of the cell below, in whole seconds."""

    unit: TimedUnit
    lasts: Sequence[float]
    slots: set[int]
    pending: list[int] = field(default_factory=list)
    place: tuple[int, bool] = (0, False)  # those that wait for their own run enter the queue first
    ends: int | None = None
    runs: int = 0


def second_by_second(
    units: Sequence[Periodical], lasts: Mapping[str, Sequence[float]], fair_after_s: float
) -> list[Any]:
    """The queue's rules as the documentation has them, without any of the project's code but the calendar."""
    length = int((UNTIL - NOON).total_seconds())
    keys = {
        unit.name: Ticking(
            unit,
            lasts[unit.name],
            {int((s - NOON).total_seconds()) for s in slots_between(schedule_of(unit, "UTC"), NOON - SECOND, UNTIL)},
        )
        for unit in sorted(units, key=lambda unit: unit.name)
    }
    found = []
    for now in range(length):
        for one in keys.values():
            one.ends = None if one.ends == now else one.ends
            if now in one.slots:
                one.place = one.place if one.pending else (now, one.ends is None)
                one.pending.append(now)
            within = one.unit.start_within
            if one.ends is None and one.pending and within is not None and now >= one.pending[-1] + within:
                one.pending.clear()
        busy = {group for one in keys.values() if one.ends is not None for group in one.unit.groups}
        reserved: set[str] = set()
        ready = [one for one in keys.values() if one.pending and one.ends is None]
        for one in sorted(ready, key=lambda one: (one.place, one.unit.name)):
            if not (busy | reserved) & set(one.unit.groups):
                one.ends = now + int(one.lasts[one.runs % len(one.lasts)])
                one.runs += 1
                busy |= set(one.unit.groups)
                found.append((now, one.unit.name, one.pending[-1], one.pending[0], len(one.pending) - 1))
                one.pending.clear()
            elif now - one.pending[0] > fair_after_s:
                reserved |= set(one.unit.groups)
    return sorted(found)


@settings(max_examples=30, deadline=None)
@given(cells(retries=False))
def test_it_is_what_a_cell_comes_to_that_is_played_second_by_second(cell: Any) -> None:
    units, lasts, fair_after = cell
    found = forecast(outset(units, lasts, fair_after=fair_after), NOON, UNTIL)
    runs = [
        (*(int((at - NOON).total_seconds()) if at else 0 for at in (run.start,)), run.key,
         int(((run.slot or NOON) - NOON).total_seconds()), int((run.due - NOON).total_seconds()), run.coalesced)
        for run in found.runs
    ]  # fmt: skip
    assert sorted(runs) == second_by_second(units, lasts, fair_after.total_seconds())


# In numbers.


def test_the_figures_of_a_small_cell() -> None:
    """a holds g for half of each five minutes and b waits for it; c, longer than its period, waits for itself."""
    units = [job("a", 5, 0, "g"), job("b", 5, 0, "g"), job("c", 1, 0, "h"), job("never", 30, 0, "g", start_within=1.0)]
    found = foreseen(units, 60, a=[150], b=[30], c=[90], never=[1])
    a, b, c, never = figures.of_services(found, ["a", "b", "c", "never"])
    assert (a.runs, a.wait_max_s, b.runs, b.wait_mean_s, b.wait_p95_s) == (12, 0, 12, 150, 150)
    assert (c.runs, c.coalesced, c.waiting) == (40, 19, 1)
    assert (never.runs, never.missed) == (0, 2)
    (group, other) = figures.of_groups(found, [("g", "b"), ("g", "a"), ("h", "c")])
    assert (group.name, round(group.share, 6), group.peak_queue, group.services) == ("g", 0.6, 1, ("a", "b"))
    assert (other.name, round(other.share, 6)) == ("h", 1.0)
    assert figures.peak_starts(found) == (2, NOON)
    assert figures.score(found).unserved == 21
