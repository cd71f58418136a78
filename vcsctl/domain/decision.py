"""What is known of a KEY and what can be decided for it. Values only; `reconcile` and `keep_up` decide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vcsctl.domain.calendar import Schedule
from vcsctl.domain.outcome import End, StopRequest
from vcsctl.domain.run import Claim, Dropped, Trigger
from vcsctl.domain.unit import Unit


@dataclass(frozen=True, slots=True)
class Waiter:
    """A request as the decision sees it."""

    id: str
    entered_at: datetime
    cancelled: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What only counts for a daemon, as one node knows it; the defaults are those of a KEY that never ran."""

    node: str = ""  # whose view this is
    drained: bool = False
    others: tuple[str, ...] = ()  # the other known nodes that may run it
    able: tuple[str, ...] = ()  # those of them that say they can
    runs_on: str = ""  # where the newest run is, or was; where it never began, who claimed it
    stop: StopRequest | None = None  # somebody's wish that this run end
    reset: bool = False  # an operator has seen how it ended: that counts no more
    enabled_since: bool = False  # an operator changed its status after it had ended
    rebooted: bool = False  # its node has begun another life since it began


@dataclass(frozen=True, slots=True)
class KeyView:
    """All that is known of one KEY. `unit` is the effective one, None when it is gone or masked."""

    key: str
    unit: Unit | None
    schedule: Schedule | None
    moment: datetime  # the schedule or the status last changed then: nothing before it counts
    watermark: datetime | None = None  # the newest slot ever claimed
    run: Claim | None = None  # the newest claim that started a run, and what came of it
    started: bool = False
    end: End | None = None
    live: bool = False  # somebody holds the KEY's lock, as far as known
    closes: tuple[Claim, ...] = ()  # claims after `run` that only disposed of something
    slots_first: datetime | None = None
    slots_entered_at: datetime | None = None
    requests: tuple[Waiter, ...] = ()
    groups: tuple[str, ...] = ()
    gone: str = "the unit is gone, masked or not for this node"
    daemon: DaemonFacts = DaemonFacts()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a claim will say, but for its number and its node."""

    trigger: Trigger
    slot: datetime | None = None
    attempt: int = 1
    watermark: datetime | None = None
    requests: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    failed_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Take the locks, decide again, claim and run."""

    key: str
    why: str
    plan: Plan
    place: datetime
    groups: tuple[str, ...]
    enters_queue: datetime | None = None  # the first pending slot, should it have to wait
    patient: bool = False  # should it have to wait, it need not look for its moment more often than usual


@dataclass(frozen=True, slots=True)
class Wait:
    """Stay in (or enter) the queue.

    `run` is the one it waits for, where it is one. `patient`: what it waits for is not worth looking for more often
    than usual. `passing`: it is over in a moment as a rule, and worth a line of the log only where it is not.
    """

    key: str
    why: str
    place: datetime
    enters_queue: datetime | None = None
    run: str = ""
    patient: bool = False
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """End this node's live run of a daemon that is not wanted any more. `rolls`: the new one is, so that only one node
    at a time does this."""

    key: str
    why: str
    fence: int
    rolls: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Claim without a run: put on record what will not run."""

    key: str
    why: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Recover:
    """A claim without an outcome whose lock may be free: start it again, or record it as lost."""

    key: str
    why: str
    began: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing to do; `next_at` is when to look again."""

    key: str
    why: str
    next_at: datetime | None = None


Decision = Start | Stop | Wait | Close | Recover | Idle
