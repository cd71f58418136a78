"""Spans into lanes, cells and marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from vcsctl.domain.forecast import Forecast, Planned, StillWaiting, Unstarted
from vcsctl.domain.history import Row, rows
from vcsctl.domain.run import Claim, Dropped
from vcsctl.domain.timeline import (
    Cell,
    Span,
    State,
    Window,
    cells,
    clock_steps,
    marks,
    merged,
    of_forecast,
    of_rows,
    sections,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = Window(NOON, NOON + 60 * MINUTE, NOON, NOON + 60 * MINUTE)


def span(state: State, *at: float, key: str = "one", groups: tuple[str, ...] = ()) -> Span:
    """Due, started and ended so many minutes after noon."""
    due, *rest = (NOON + minute * MINUTE for minute in at)
    start, end = (*rest, None, None)[:2]
    return Span(key, key, groups, state, due, start, end)


def missed(first: float, last: float, count: int) -> Span:
    """Slots in a row that no run stands for."""
    return replace(span("missed", first), last=NOON + last * MINUTE, count=count)


def test_a_key_in_two_groups_has_a_lane_in_each_and_those_in_none_come_last() -> None:
    found = sections(
        [
            span("ok", 0, 1, 2, key="b", groups=("y", "x")),
            span("ok", 3, 3, 4, key="a", groups=("x",)),
            span("ok", 5, 5, 6),
        ],
        [("empty", ("z",)), ("a", ("x",))],
    )
    lanes = [(section.group, [(lane.key, len(lane.spans)) for lane in section.lanes]) for section in found]
    assert lanes == [("x", [("a", 1), ("b", 1)]), ("y", [("b", 1)]), ("z", [("empty", 0)]), ("", [("one", 1)])]


# Four cells of a quarter of an hour: span, what they show.
CELLS = [
    ("a wait and a run", span("ok", 0, 15, 30), [Cell(0, 1), Cell(1, 0), Cell(), Cell()]),
    ("parts of cells", span("ok", 7.5, 11.25, 22.5), [Cell(0.25, 0.25), Cell(0.5, 0), Cell(), Cell()]),
    ("what failed, where it ended", span("failed", 0, 0, 16), [Cell(1), Cell(pytest.approx(1 / 15), is_bad=True), Cell(), Cell()]),
    ("missed", span("missed", 50), [Cell(), Cell(), Cell(), Cell(is_missed=True)]),
    ("missed in a row", missed(0, 45, 4), [Cell(is_missed=True)] * 4),
    ("missed in a row, far apart", missed(-60, 120, 4), [Cell(is_missed=True), Cell(), Cell(), Cell()]),
    ("no end in sight", span("running", -10, -5), [Cell(1), Cell(1), Cell(1), Cell(1)]),
    ("waits still", span("waiting", 30), [Cell(), Cell(), Cell(0, 1), Cell(0, 1)]),
    ("before and behind", span("ok", -30, -20, 90), [Cell(1), Cell(1), Cell(1), Cell(1)]),
    ("over before", span("ok", -30, -20, 0), [Cell(), Cell(), Cell(), Cell()]),
    ("of no length", span("failed", 20, 20, 20), [Cell(), Cell(is_bad=True), Cell(), Cell()]),
]  # fmt: skip


@pytest.mark.parametrize(("one", "shown"), [row[1:] for row in CELLS], ids=[row[0] for row in CELLS])
def test_a_cell_has_its_part_of_each_span(one: Span, shown: list[Cell]) -> None:
    assert cells([one], HOUR, 4) == shown


def test_a_window_shows_what_touches_it() -> None:
    assert HOUR.shows(span("running", -100, -90))
    assert HOUR.shows(span("ok", -100, -90, 1))
    assert not HOUR.shows(span("ok", -100, -90, -1))
    assert not HOUR.shows(span("missed", -100))
    assert not HOUR.shows(span("planned", 60, 70, 80))
    assert HOUR.shows(missed(-180, 45, 46))
    assert not HOUR.shows(missed(-180, -1, 180))
    assert not HOUR.shows(missed(-30, 90, 2)), "the one came before, the other one comes after"


# zone, begin by UTC, hours, how many at most, what the wall clock shows at the marks
MARKS = [
    ("UTC", "2026-03-02T11:58", 1, 6, "12:00 12:10 12:20 12:30 12:40 12:50"),
    ("UTC", "2026-03-02T11:58", 0.1, 6, "11:58 11:59 12:00 12:01 12:02 12:03"),
    ("Asia/Kathmandu", "2026-03-02T00:00", 3, 3, "06:00 07:00 08:00"),
    ("Europe/Berlin", "2026-10-24T22:00", 6, 6, "00:00 01:00 02:00 02:00 03:00 04:00"),
    ("Europe/Berlin", "2026-10-24T22:00", 24, 5, "00:00 06:00 12:00 18:00"),
    ("Europe/Berlin", "2026-03-28T23:00", 5, 5, "00:00 01:00 03:00 04:00 05:00"),
    ("Australia/Lord_Howe", "2025-04-05T13:00", 3, 6, "00:00 00:30 01:00 01:30 01:30 02:00"),
    ("UTC", "2026-03-02T12:00", 24 * 31, 8, "00:00 00:00 00:00 00:00 00:00 00:00 00:00 00:00"),
]


@pytest.mark.parametrize(
    ("zone", "begin", "hours", "most", "shown"), MARKS, ids=[f"{row[0]} {row[2]}" for row in MARKS]
)
def test_marks_are_round_times_of_the_wall_clock(zone: str, begin: str, hours: float, most: int, shown: str) -> None:
    at = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    window = Window(at, at + timedelta(hours=hours), at, at)
    found = marks(window, most, lambda instant: instant.astimezone(ZoneInfo(zone)))
    assert " ".join(f"{mark.astimezone(ZoneInfo(zone)):%H:%M}" for mark in found) == shown


def test_clock_steps_are_found_to_the_second() -> None:
    at = datetime(2026, 10, 24, 12, 7, tzinfo=UTC)
    window = Window(at, at + timedelta(days=1), at, at)
    found = clock_steps(window, lambda instant: instant.astimezone(ZoneInfo("Europe/Berlin")))
    assert [(when.replace(microsecond=0), by) for when, by in found] == [
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), timedelta(hours=-1))
    ]


def test_only_neighbours_that_look_alike_become_one() -> None:
    often = [span("ok", n, n, n + 0.5) for n in range(6)]
    often[3] = span("failed", 3, 3, 3.5)
    found = merged(often, HOUR, MINUTE)
    assert [[one.due.minute for one in some] for some in found] == [[0, 1, 2], [3], [4, 5]]
    assert [len(some) for some in merged(often, HOUR, 0.4 * MINUTE)] == [1] * 6
    rows = [missed(0, 10, 3), missed(10.5, 11, 2), missed(30, 30, 1)]
    assert [len(some) for some in merged(rows, HOUR, 3 * MINUTE)] == [2, 1]


def test_a_request_that_was_in_time_for_nobody_is_where_it_was_asked_for() -> None:
    dropped = Dropped("too-late", "late", request="r1", asked_at=NOON)
    found = rows(Claim("a", 1, "a", "n", "none", "late", dropped=(dropped,)), NOON + 5 * MINUTE, None)
    assert [(one.state, one.due) for one in of_rows(found, lambda _: ())] == [("missed", NOON)]


def test_a_past_run_is_where_its_slot_was_and_in_the_groups_that_it_held() -> None:
    second = timedelta(seconds=1)
    early = Row("a.1", "a", "a", "ok", "exited", "", NOON - 0.1 * second, "n", "schedule", NOON,
                started_at=NOON - 0.5 * second, queue_wait_s=0.01, groups=("held",))  # fmt: skip
    request = Row("a.2+1", "a", "a", "missed", "too-late", "late", NOON + MINUTE, "n", "manual", queue_wait_s=60.0)
    older = Row("a.3", "a", "a", "ok", "exited", "", NOON + 3 * MINUTE, "n", "schedule", NOON, started_at=NOON,
                queue_wait_s=300.0)  # fmt: skip
    found = list(of_rows([early, request, older], lambda name: ("declared",)))
    assert [(one.due, one.start, one.end, one.groups) for one in found] == [
        (NOON, NOON, NOON, ("held",)),
        (NOON, None, None, ("declared",)),
        (NOON - 5 * MINUTE, NOON, NOON + 3 * MINUTE, ("declared",)),
    ]


def test_history_and_forecast_become_spans() -> None:
    run = Row("a.1", "a", "a", "ok", "exited", "", NOON + 5 * MINUTE, "n", "schedule", NOON, started_at=NOON + 2 * MINUTE,
              queue_wait_s=90.0)  # fmt: skip
    missed = Row("a.2+1", "a", "a", "missed", "too-late", "late", NOON, "n", "schedule", NOON, NOON + MINUTE, 3)
    skipped = Row("a.3+1", "a", "a", "skipped", "coalesced", "", NOON, "n")
    found = list(of_rows([run, missed, skipped], lambda name: (f"of-{name}",)))
    assert [(one.state, one.due, one.start, one.end, one.last, one.count) for one in found] == [
        ("ok", NOON + 0.5 * MINUTE, NOON + 2 * MINUTE, NOON + 5 * MINUTE, None, 1),
        ("missed", NOON, None, None, NOON + MINUTE, 3),
    ]
    assert {one.groups for one in found} == {("of-a",)}

    foreseen = Forecast(
        NOON,
        NOON + 60 * MINUTE,
        (
            Planned("a", "a", ("g",), NOON, NOON - MINUTE, NOON - MINUTE, NOON + MINUTE),
            Planned("a", "a", ("g",), NOON, NOON, NOON + MINUTE, NOON + 2 * MINUTE, coalesced=2),
        ),
        (
            Unstarted("b", "b", NOON, NOON + MINUTE, 2, "too-late", ""),
            Unstarted("b", "b", NOON, NOON, 1, "superseded", ""),
        ),
        (StillWaiting("c", "c", ("g",), NOON, "why", 1),),
    )
    spans = list(of_forecast(foreseen, lambda _: ()))
    states = [(one.key, one.state, one.count) for one in spans]
    assert states == [("a", "running", 1), ("a", "planned", 3), ("c", "waiting", 1), ("b", "missed", 2)]
    assert spans[-1].last == NOON + MINUTE
