"""What many rows of history say together: how runs ended, how long they took and how long they had waited.
No I/O, no clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vcsctl.domain.history import Row


@dataclass(frozen=True, slots=True)
class Spread:
    """Of durations in seconds; `count` is of how many."""

    count: int
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`outcomes` counts slots and requests too, that never became a run; a range of slots counts each of them."""

    outcomes: dict[str, int]
    duration: Spread
    queue_wait: Spread


def statistics(rows: Iterable[Row]) -> Statistics:
    outcomes: Counter[str] = Counter()
    durations, waits = [], []
    for row in rows:
        outcomes[row.outcome] += row.count
        if row.is_run and row.duration_s is not None:
            durations.append(row.duration_s)
        if row.is_run and row.queue_wait_s is not None:
            waits.append(row.queue_wait_s)
    return Statistics(dict(outcomes.most_common()), spread(durations), spread(waits))


def spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    if not ordered:
        return Spread(0)
    return Spread(len(ordered), nearest_rank(ordered, 50), nearest_rank(ordered, 95), ordered[-1])


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent are not above: one that was seen, also of few. `ordered` has one."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
