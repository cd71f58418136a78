"""How a daemon is: what its runner tells; and whether its process is started again. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # all kinds of units are much to load for who only reads how a daemon is
    from vcsctl.domain.unit import Daemon

RESET_AFTER_S = 30.0  # a process that ran so long was well: the next delay is the first one again

# `starting` until it is ready, `up` from then on, `reloading` and `stopping` as it says of itself or is told,
# `waiting` between an exit and the next start.
Phase = Literal["starting", "up", "reloading", "stopping", "waiting"]


@dataclass(frozen=True, slots=True)
class DaemonState:
    """One run of a daemon as its runner sees it now. For display and for who waits; it decides nothing of safety.

    `pid` is the main process, 0 while there is none; `since` is when this phase began, `began_at` when that process
    was started. `restarts` counts the processes after the first. `says` is the daemon's own STATUS=. Reloads are
    numbered from 1: the last that has begun, and the last that is over, which `last_reload` is of.
    """

    run_id: str
    key: str
    node: str
    phase: Phase
    since: datetime
    runner: int
    pid: int = 0
    began_at: datetime | None = None
    restarts: int = 0
    says: str = ""
    healthy: bool | None = None  # None: nobody has asked it yet, or its unit has no `health`
    health_why: str = ""
    last_exit: str = ""
    last_exit_at: datetime | None = None
    next_start_at: datetime | None = None
    last_reload: str = ""
    last_reload_at: datetime | None = None
    log: str = ""
    runner_started: int = 0  # in clock ticks since boot: with the pid it names the runner once and for all
    cpu_s: float | None = None  # these two are added by vcsd when it publishes
    memory_kib: int | None = None
    reload_begun: int = 0
    reload_over: int = 0  # an older version's runner numbers none


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants of a daemon, to be carried out by its node; `queue/KEY.ID.order`."""

    id: str
    key: str
    do: Literal["stop", "restart", "reload", "reset-failed"]
    by: str
    node: str
    reason: str = ""


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
