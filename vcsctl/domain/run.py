"""What is on record before a run starts: request, slots, claim; and the closed table of causes. Values only.

A claim is immutable. One with a `unit` starts a run; one without only disposes of slots and requests
that will not run, so that each of them still ends in a recorded outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Outcome = Literal["ok", "failed", "timeout", "stopped", "lost", "missed", "skipped"]
Trigger = Literal["schedule", "manual", "late", "retry", "daemon", "none"]
Writer = Literal["runner", "successor", "claim"]

# What `vcsctl lock` runs is recorded as this service; no unit may have its name.
LOCK = "lock"
CANCELLED = "the request was cancelled"


class Cause(NamedTuple):
    """Why something ended as it did; `writer` is who puts it on record."""

    outcome: Outcome
    writer: Writer


# The closed table of design section 1: no outcome is written for a cause that is not here.
CAUSES: Mapping[str, Cause] = {
    "exited": Cause("ok", "runner"),
    "exit-code": Cause("failed", "runner"),
    "signal": Cause("failed", "runner"),
    "cannot-start": Cause("failed", "runner"),
    "timeout": Cause("timeout", "runner"),
    "stop-requested": Cause("stopped", "runner"),
    "runner-signalled": Cause("stopped", "runner"),
    "shutdown": Cause("stopped", "runner"),
    # Of daemons only. After the first two they are started again where they are wanted.
    "unwanted": Cause("stopped", "runner"),
    "restart-requested": Cause("stopped", "runner"),
    "not-ready": Cause("failed", "runner"),
    "unhealthy": Cause("failed", "runner"),
    "start-limit": Cause("failed", "runner"),
    "storage": Cause("lost", "runner"),
    "runner-died": Cause("lost", "successor"),
    "node-died": Cause("lost", "successor"),
    "stopped-before-start": Cause("stopped", "runner"),
    "recalled": Cause("skipped", "successor"),
    "unit-gone": Cause("skipped", "successor"),
    "expired": Cause("missed", "successor"),
    "too-late": Cause("missed", "claim"),
    "nobody-there": Cause("missed", "claim"),
    "clock": Cause("missed", "claim"),
    "coalesced": Cause("skipped", "claim"),
    "superseded": Cause("skipped", "claim"),
    "cancelled": Cause("skipped", "claim"),
    "disabled": Cause("skipped", "claim"),
    "masked": Cause("skipped", "claim"),
    "changed": Cause("skipped", "claim"),
    "not-a-job": Cause("skipped", "claim"),
}


@dataclass(frozen=True, slots=True)
class Dropped:
    """Slots (a range is one row), a request or a retry that a claim disposes of without running it."""

    cause: str
    why: str
    request: str | None = None
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    attempt: int | None = None
    asked_at: datetime | None = None  # of a request


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run once, or the disposal of what will not run; `state/KEY/FENCE.json`."""

    key: str
    fence: int
    service: str
    node: str
    trigger: Trigger
    why: str
    watermark: datetime | None = None
    slot: datetime | None = None
    attempt: int = 1
    requests: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    groups: tuple[str, ...] = ()
    queued_at: datetime | None = None
    unit: dict[str, Any] | None = None
    failed_on: tuple[str, ...] = ()  # of a daemon: nodes at their start limit, which leave it to others

    @property
    def run_id(self) -> str:
        return run_id(self.key, self.fence)

    @property
    def is_run(self) -> bool:
        return self.unit is not None

    @property
    def missed(self) -> int:
        """How many slots were missed before this one (VCS_MISSED)."""
        known = (row for row in self.dropped if row.cause in CAUSES)  # one may be of another version
        return sum(row.count for row in known if CAUSES[row.cause].outcome == "missed" and row.first)


@dataclass(frozen=True, slots=True)
class Request:
    """A manual launch waiting in the queue; `queue/KEY.REQUEST.json`. `groups` are those of a `vcsctl lock`."""

    id: str
    key: str
    service: str
    by: str
    node: str
    within_s: float | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlotsEntry:
    """The place in the queue of a service's pending slots; `queue/KEY.slots.json`."""

    key: str
    first: datetime


def run_id(key: str, fence: int) -> str:
    return f"{key}.{fence}"


def parse_run_id(text: str) -> tuple[str, int] | None:
    key, dot, fence = text.rpartition(".")
    return (key, int(fence)) if dot and key and fence.isdecimal() else None


def service_of(key: str) -> str:
    return key.partition("@")[0]


def lock_key(node: str, number: int) -> str:
    """The KEY of a `vcsctl lock`: the first of its node that nobody has, so there are no more than live at once."""
    return f"{LOCK}@{node}-{number}"


def is_lock(key: str) -> bool:
    return service_of(key) == LOCK


def fence_variable(group: str) -> str:
    """Where a run finds a group's fence number."""
    return f"VCS_FENCE_{group.upper().replace('-', '_')}"


def to_text(instant: datetime) -> str:
    """ISO 8601 in UTC, as every record spells an instant."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def too_late(limit: datetime) -> str:
    """Why a request with `--within` is not started any more."""
    return f"could not start by {to_text(limit)} (--within)"


def from_text(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return instant.astimezone(UTC)
