"""What a forecast comes to in numbers: waits, lost slots, the use of groups, starts at once. No I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from vcsctl.domain.forecast import Forecast, Planned, Unstarted
from vcsctl.domain.statistics import nearest_rank


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What comes of the slots of one service. `waiting` of them still stand in the queue at the end."""

    name: str
    runs: int
    wait_mean_s: float
    wait_p95_s: float
    wait_max_s: float
    coalesced: int
    missed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """`share` of the time in which a run holds it; `peak_queue` is of KEYs that wait for a run at the same time."""

    name: str
    share: float
    peak_queue: int
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What a plan is judged by: slots that no run of their own stands for, all waits, most starts in one minute."""

    unserved: int
    wait_s: float
    peak: int

    def is_better_than(self, other: Score) -> bool:
        """In something, and in nothing worse. Waits closer than a second in an hour of them are the same."""
        mine, others = (self.unserved, self.peak), (other.unserved, other.peak)
        slack_s = 1.0 + other.wait_s / 3600
        no_worse = all(one <= another for one, another in zip(mine, others, strict=True))
        no_longer = self.wait_s <= other.wait_s
        return no_worse and no_longer and (mine != others or self.wait_s < other.wait_s - slack_s)


def of_services(forecast: Forecast, names: Iterable[str]) -> list[ServiceFigures]:
    """One for each name, in their order."""
    waits: dict[str, list[float]] = {}
    coalesced, missed, waiting = Counter[str](), Counter[str](), Counter[str]()
    for run in _begun(forecast):
        waits.setdefault(run.service, []).append(run.wait_s)
        coalesced[run.service] += run.coalesced
    for row in _unstarted(forecast):
        missed[row.service] += row.count
    for entry in forecast.waiting:
        waiting[entry.service] += entry.count
    return [
        ServiceFigures(
            name, len(found), _mean(found), nearest_rank(sorted(found), 95) if found else 0.0, max(found, default=0.0),
            coalesced[name], missed[name], waiting[name],
        )
        for name in names
        for found in (waits.get(name, []),)
    ]  # fmt: skip


def of_groups(forecast: Forecast, members: Iterable[tuple[str, str]]) -> list[GroupFigures]:
    """`members` are pairs of a group and a service in it."""
    services: dict[str, list[str]] = {}
    for group, service in members:
        services.setdefault(group, []).append(service)
    held, queued = Counter[str](), dict[str, list[tuple[datetime, int]]]()
    for run in forecast.runs:
        begin, end = max(run.start, forecast.start), min(run.end, forecast.until)
        for group in run.groups:
            held[group] += (end - begin).total_seconds()  # type: ignore[assignment]
            if run.due < run.start:
                queued.setdefault(group, []).extend(((run.due, 1), (run.start, -1)))
    for entry in forecast.waiting:
        for group in entry.groups:
            queued.setdefault(group, []).append((entry.due, 1))
    length_s = (forecast.until - forecast.start).total_seconds()
    shares = {group: 1.0 if group in forecast.kept else held[group] / length_s for group in services}
    return [
        GroupFigures(group, shares[group], _peak(queued.get(group, [])), tuple(sorted(services[group])))
        for group in sorted(services)
    ]


def peak_starts(forecast: Forecast) -> tuple[int, datetime | None]:
    """The most starts in one minute, and the first minute that has so many."""
    minutes = Counter(run.start.replace(second=0, microsecond=0) for run in _begun(forecast))
    if not minutes:
        return 0, None
    most = max(minutes.values())
    return most, min(minute for minute, count in minutes.items() if count == most)


def score(forecast: Forecast) -> Score:
    """The longer something stands in the queue at the end, the more it counts."""
    unserved = sum(run.coalesced for run in forecast.runs) + sum(row.count for row in _unstarted(forecast))
    wait_s = sum(run.wait_s for run in _begun(forecast))
    wait_s += sum((forecast.until - entry.due).total_seconds() for entry in forecast.waiting)
    return Score(unserved, wait_s, peak_starts(forecast)[0])


def _begun(forecast: Forecast) -> list[Planned]:
    """Without those that were live before."""
    return [run for run in forecast.runs if run.start >= forecast.start]


def _unstarted(forecast: Forecast) -> list[Unstarted]:
    """Without those of the time before, while nobody was there."""
    return [row for row in forecast.unstarted if row.last >= forecast.start]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _peak(changes: list[tuple[datetime, int]]) -> int:
    most = count = 0
    for _, change in sorted(changes):  # who leaves at an instant makes room for who comes then
        count += change
        most = max(most, count)
    return most
