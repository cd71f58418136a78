"""Whether a daemon's process is started again, and when. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vcsctl.domain.unit import Daemon

RESET_AFTER_S = 30.0  # a process that ran so long was well: the next delay is the first one again


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of one process of a daemon, in monotonic seconds. `cause` is one of the causes of a run's outcome."""

    cause: str
    why: str
    began_s: float
    ended_s: float

    @property
    def ran_s(self) -> float:
        return self.ended_s - self.began_s


@dataclass(frozen=True, slots=True)
class Restart:
    """The process is started again after a delay."""

    delay_s: float
    why: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run of the daemon is over."""

    cause: str
    why: str


def after_exit(unit: Daemon, exits: Sequence[Exit]) -> Restart | GiveUp:
    """What follows the last of the exits, the oldest first; `exits_that_count` says how many matter."""
    last = exits[-1]
    if unit.restart == "never":
        return GiveUp(last.cause, f"{last.why}; restart: never")
    if unit.restart == "on-failure" and last.cause == "exited":
        return GiveUp(last.cause, f"{last.why}; restart: on-failure")
    delay_s = _delay_s(unit, exits)
    starts, within_s = unit.start_limit
    # As of the next start: with a delay that grows, some of the former ones are too old by then to count.
    recent = sum(one.began_s > last.ended_s + delay_s - within_s for one in exits)
    if recent >= starts:
        times = "once" if recent == 1 else f"{recent} times"
        return GiveUp("start-limit", f"{last.why}; started {times} within {within_s:g} s, its start limit")
    return Restart(delay_s, f"{last.why}; started again in {delay_s:g} s")


def exits_that_count(unit: Daemon) -> int:
    """How many of the last exits a runner must keep."""
    return max(unit.start_limit[0], 64)  # 64 doublings reach any longest delay


def _delay_s(unit: Daemon, exits: Sequence[Exit]) -> float:
    short = 0
    for one in reversed(exits):
        if one.ran_s >= RESET_AFTER_S:
            break
        short += 1
    longest_s = max(unit.restart_delay, unit.restart_max_delay)
    return float(min(longest_s, unit.restart_delay * 2 ** min(max(0, short - 1), 60)))
