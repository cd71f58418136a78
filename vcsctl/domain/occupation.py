"""Run groups that cannot hold all the runs declared for them, by how long these are said to last. No I/O, no clock.

What is not known to last counts as nothing, so what is told here holds at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vcsctl.domain.finding import Finding
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Unit

_DAY_S = 86400.0
_PERIODS = [period for period in range(1, 61) if 1440 % period == 0]
_MOST_NAMED = 3


class _Share(NamedTuple):
    """How much of the time a service's own runs take."""

    of_time: float
    unit: Periodical | FixedTime


def overfull(units: Iterable[Unit], durations: Mapping[str, float]) -> Iterator[Finding]:
    """One finding for each group, at the periodical service that takes most of it. `durations`: seconds by name."""
    groups: dict[str, list[_Share]] = {}
    for unit in units:
        if isinstance(unit, Daemon) or unit.name not in durations:
            continue
        share = _Share(durations[unit.name] * _runs_a_day(unit) / _DAY_S, unit)
        if isinstance(unit, Periodical) and share.of_time > 1:
            lasts = f"a run of it lasts {_length(durations[unit.name])}, so slots pass while it runs"
            yield Finding(unit.name, ("period",), f"{unit.period}m is too short: {lasts}; {_longer(unit, share, 1.0)}")
            share = share._replace(of_time=1.0)  # it does not run beside itself
        for group in unit.groups:
            groups.setdefault(group, []).append(share)
    for group, shares in groups.items():
        total = sum(share.of_time for share in shares)
        largest = max(shares, key=lambda share: (isinstance(share.unit, Periodical), share.of_time, share.unit.name))
        if total > 1 and len(shares) > 1 and isinstance(largest.unit, Periodical):
            yield Finding(largest.unit.name, ("period",), _told(group, total, largest, shares))


def _told(group: str, total: float, largest: _Share, shares: list[_Share]) -> str:
    unit = largest.unit
    assert isinstance(unit, Periodical), "only a period is asked to be longer"
    named = sorted(shares, key=lambda share: (-share.of_time, share.unit.name))[:_MOST_NAMED]
    period_s = 60.0 * unit.period
    parts = ", ".join(f"{share.unit.name} {_length(share.of_time * period_s)}" for share in named)
    more = f" and {len(shares) - _MOST_NAMED} more" if len(shares) > _MOST_NAMED else ""
    what = f"in {unit.period}m the runs of group {group} last {_length(total * period_s)} ({parts}{more})"
    return f"{what}, so some slots cannot start; {_longer(unit, largest, 1 - (total - largest.of_time))}"


def _longer(unit: Periodical, share: _Share, left: float) -> str:
    """`left`: the part of the time that may be this service's."""
    for period in _PERIODS:
        if period > unit.period and share.of_time * unit.period <= left * period:
            return f"write period: {period} or more"
    return "use fixed-time with run_at, or move services to another group"


def _runs_a_day(unit: Periodical | FixedTime) -> float:
    if isinstance(unit, Periodical):
        return len(range(unit.align, 1440, unit.period))
    # How many days a month `days` allows is not the same from month to month; once in 31 it is at least.
    return len(unit.run_at) / (31 if unit.days else 1)


def _length(seconds: float) -> str:
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{number}{letter}" for number, letter in ((hours, "h"), (minutes, "m"), (left, "s")) if number]
    return "".join(parts) or f"{seconds:g}s"
