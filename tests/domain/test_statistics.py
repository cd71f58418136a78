"""What many rows of history say together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from vcsctl.domain.history import Row
from vcsctl.domain.statistics import Spread, spread, statistics

RUN = Row("a.1", "a", "a", "ok", "exited", "", datetime(2026, 3, 2, tzinfo=UTC), "n", duration_s=1.0, queue_wait_s=0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Spread(0)),
        ([3.0], Spread(1, 3.0, 3.0, 3.0)),
        ([2.0, 1.0], Spread(2, 1.0, 2.0, 2.0)),
        ([float(number) for number in range(100, 0, -1)], Spread(100, 50.0, 95.0, 100.0)),
        ([1.0] * 19 + [9.0], Spread(20, 1.0, 1.0, 9.0)),
    ],
    ids=["nothing", "one is all of them", "of two the lower is the middle", "a hundred", "one in twenty is beyond p95"],
)
def test_a_spread_names_values_that_were_seen(values: list[float], expected: Spread) -> None:
    assert spread(values) == expected


def test_a_range_of_slots_counts_each_and_only_runs_have_lasted() -> None:
    missed = replace(RUN, id="a.2+1", outcome="missed", count=5, duration_s=None, queue_wait_s=None)
    lost = replace(RUN, id="a.3", outcome="lost", duration_s=None, queue_wait_s=2.0)
    found = statistics([RUN, missed, lost])
    assert found.outcomes == {"missed": 5, "ok": 1, "lost": 1}
    assert found.duration == Spread(1, 1.0, 1.0, 1.0)
    assert found.queue_wait == Spread(2, 0.5, 2.0, 2.0)
