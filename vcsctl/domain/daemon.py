"""How a daemon is: what its runner tells, and what an operator wants of it. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

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
