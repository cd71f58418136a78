"""Whether what happened is what was foreseen, but for ten percent."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vcsctl.domain import figures
from vcsctl.domain.forecast import Forecast
from vcsctl.domain.history import Row
from vcsctl.domain.unit import TimedUnit

PART = 0.1
LEAST_S = 1.0  # of nothing ten percent are nothing, and locks and processes take their time


def disagreements(foreseen: Forecast, rows: Iterable[Row], units: Mapping[str, TimedUnit]) -> list[str]:
    """Of each service the runs that ended and their mean wait, of each group how long it was held, and all waits."""
    foreseen = replace(foreseen, runs=tuple(run for run in foreseen.runs if run.end <= foreseen.until))
    waits, held_s = defaultdict(list), Counter[str]()
    for row in rows:
        assert row.queue_wait_s is not None
        assert row.duration_s is not None
        waits[row.service].append(row.queue_wait_s)
        held_s.update(dict.fromkeys(units[row.service].groups, row.duration_s))  # type: ignore[arg-type]
    found = []

    def compare(what: str, foreseen: float, real: float, least: float) -> None:
        if abs(foreseen - real) > max(least, PART * abs(real)):
            found.append(f"{what}: foreseen {foreseen:.1f}, really {real:.1f}")

    for one in figures.of_services(foreseen, units):
        really = waits[one.name]
        compare(f"runs of {one.name}", one.runs, len(really), 1)  # one may have ended just then
        compare(f"mean wait of {one.name}", one.wait_mean_s, sum(really) / max(1, len(really)), LEAST_S)
    length_s = (foreseen.until - foreseen.start).total_seconds()
    longest_s = max((run.end - run.start).total_seconds() for run in foreseen.runs)
    for group in figures.of_groups(foreseen, [(group, name) for name in units for group in units[name].groups]):
        compare(f"{group.name} held", group.share * length_s, held_s[group.name], longest_s)
    all_waits = sum(map(sum, waits.values()))
    compare("all waits", sum(run.wait_s for run in foreseen.runs), all_waits, LEAST_S * len(foreseen.runs) / 10)
    return found
