"""`align` values with which periodical services get less in each other's way. No I/O, no clock, no chance.

The search goes by a cheap estimate, and what it finds is for the forecast to confirm. The estimate of a plan is

- the waits in pairs: for two services that share a group, how long a run of the one waits for a run of the other that
  lasts its mean duration. By the greatest common divisor of the two periods all their distances in a day are known
  from that of their aligns. Exact as long as no third service is in the way;
- the crowd: the sum of the squares of the starts in each minute, which is least when they are spread.

Each service in turn takes the align that is best while the others stay, until none can do better. What counts as best
is the waits plus `crowd_s` seconds for each unit of the crowd; several weights are tried, as there is no one right
price of a crowded minute, and two beginnings: the plan as it is, and one built up from the busiest service on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

_DAY_MINUTES = 24 * 60
# Seconds of waiting in a day for which one unit of the crowd is taken: from "only waits count" to "hardly".
_PRICES_S = (0.001, 1.0, 60.0)
_MOST_ROUNDS = 20  # a dozen services need three or four

Plan = Mapping[str, int]  # the align of each service


@dataclass(frozen=True, slots=True)
class Member:
    """One periodical service. `keys`: how many of it start at a slot, more than one with `run_on: each`."""

    name: str
    period: int
    align: int
    mean_s: float
    groups: frozenset[str]
    keys: int = 1
    stays: bool = False  # it is in the way of others where it is, and is not moved

    @property
    def aligns(self) -> list[int]:
        return [self.align] if self.stays else list(range(self.period))


def plans(
    members: Iterable[Member], fixed_minutes: Iterable[int], tell: Callable[[float], None] = lambda share: None
) -> Iterator[Plan]:
    """Plans worth a forecast, each once. `fixed_minutes` of the day have starts that are not moved."""
    search = _Search(sorted(members, key=lambda one: one.name), tuple(fixed_minutes))
    seen = [{one.name: one.align for one in search.members}]
    beginnings = (search.as_it_is, search.from_the_busiest)
    for number, (price_s, begin) in enumerate((price_s, begin) for price_s in _PRICES_S for begin in beginnings):
        plan = search.descend(begin(price_s), price_s)
        tell((number + 1) / (len(_PRICES_S) * len(beginnings)))
        if plan not in seen:
            seen.append(plan)
            yield plan


class _Search:
    def __init__(self, members: list[Member], fixed_minutes: tuple[int, ...]) -> None:
        self.members = members
        span = math.lcm(*(one.period for one in members)) if members else 1
        self.span = min(span, _DAY_MINUTES)  # a day has its slots by the minute of the day, whatever the period
        self.fixed = [0.0] * self.span
        for minute in fixed_minutes:
            self.fixed[minute % self.span] += self.span / _DAY_MINUTES  # what comes once a day
        self.partners: dict[str, list[tuple[Member, list[float]]]] = {one.name: [] for one in members}
        of_group: dict[str, list[Member]] = {}
        for one in members:
            for other in {other.name: other for group in one.groups for other in of_group.get(group, ())}.values():
                waits = _waits(one, other)
                self.partners[one.name].append((other, waits))
                self.partners[other.name].append((one, [waits[-apart % len(waits)] for apart in range(len(waits))]))
            for group in one.groups:
                of_group.setdefault(group, []).append(one)

    def as_it_is(self, price_s: float) -> dict[str, int]:
        return {one.name: one.align for one in self.members}

    def from_the_busiest(self, price_s: float) -> dict[str, int]:
        """One after the other, each where it is best beside those that are placed."""
        plan: dict[str, int] = {}
        crowd = list(self.fixed)
        for one in sorted(self.members, key=lambda one: (-one.mean_s / one.period, one.period, one.name)):
            plan[one.name] = min(one.aligns, key=lambda align: self._cost(one, align, plan, crowd, price_s))
            self._put(one, plan[one.name], crowd, 1)
        return plan

    def descend(self, plan: dict[str, int], price_s: float) -> dict[str, int]:
        """Moves one at a time, and only where it is better for it."""
        crowd = list(self.fixed)
        for one in self.members:
            self._put(one, plan[one.name], crowd, 1)
        for _ in range(_MOST_ROUNDS):
            before = dict(plan)
            for one in (one for one in self.members if not one.stays):
                self._put(one, plan[one.name], crowd, -1)
                costs = [self._cost(one, align, plan, crowd, price_s) for align in range(one.period)]
                if min(costs) < costs[plan[one.name]] - 1e-6:
                    plan[one.name] = costs.index(min(costs))
                self._put(one, plan[one.name], crowd, 1)
            if plan == before:
                break
        return plan

    def _cost(self, one: Member, align: int, plan: Plan, crowd: list[float], price_s: float) -> float:
        waits = sum(
            waits[(align - plan[other.name]) % len(waits)]
            for other, waits in self.partners[one.name]
            if other.name in plan
        )
        others = sum(crowd[align : self.span : one.period])
        return waits + price_s * 2 * one.keys * others * _DAY_MINUTES / self.span

    def _put(self, one: Member, align: int, crowd: list[float], sign: int) -> None:
        for minute in range(align, self.span, one.period):
            crowd[minute] += sign * one.keys


def _waits(one: Member, other: Member) -> list[float]:
    """The waits of a day between the two, by how many minutes the slots of `one` come after those of `other`, which
    matters by the greatest common divisor of their periods only."""
    step = math.gcd(one.period, other.period)
    return [
        _waits_behind(one, other, apart, step) + _waits_behind(other, one, -apart % step, step) for apart in range(step)
    ]


def _waits_behind(later: Member, earlier: Member, apart: int, step: int) -> float:
    """The waits of a day of `later` for `earlier`. Of two that come at one instant the first by name starts."""
    distances = range(apart, earlier.period, step)
    each = [
        max(0.0, earlier.mean_s - 60.0 * minutes)
        for minutes in distances
        if minutes or (earlier.name, earlier.period) < (later.name, later.period)
    ]
    return sum(each) / len(distances) * later.keys * _DAY_MINUTES / later.period
