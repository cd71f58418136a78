"""The rows of history that a claim and its outcome become. No I/O, no clock.

Each row has an id that follows from the run's, so that writing it twice can be told and left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from vcsctl.domain.run import CAUSES, Cause, Claim, Dropped, Outcome, Trigger

if TYPE_CHECKING:
    from vcsctl.domain.outcome import End

_UNKNOWN = Cause("failed", "runner")


@dataclass(frozen=True, slots=True)
class Row:
    """One outcome of one run, slot, range of slots, request or retry."""

    id: str
    key: str
    service: str
    outcome: Outcome
    cause: str
    why: str
    at: datetime
    node: str
    trigger: Trigger = "none"
    slot: datetime | None = None
    last: datetime | None = None
    count: int = 1
    attempt: int = 1
    requests: tuple[str, ...] = ()
    started_at: datetime | None = None
    duration_s: float | None = None
    queue_wait_s: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_s: float | None = None
    peak_memory_kib: int | None = None
    groups: tuple[str, ...] = ()  # that the run held

    @property
    def is_run(self) -> bool:
        return "+" not in self.id


def rows(claim: Claim, claimed_at: datetime, end: End | None) -> list[Row]:
    """What this claim adds to the history: a row for each thing it disposed of and, when it ran, its outcome."""
    found = [_dropped(claim, claimed_at, number, row) for number, row in enumerate(claim.dropped, 1)]
    # One run serves all the requests it lists; those beside the first, or beside a slot, were coalesced into it.
    coalesced = claim.requests if claim.slot else claim.requests[1:]
    for request in coalesced if claim.is_run else ():
        why = f"coalesced into {claim.run_id}"
        row = Row(
            f"{claim.run_id}+{request}", claim.key, claim.service, "skipped", "coalesced", why, claimed_at, claim.node
        )
        found.append(replace(row, trigger="manual", requests=(request,)))
    if end is not None:
        found.append(_run(claim, end))
    return found


def _dropped(claim: Claim, claimed_at: datetime, number: int, row: Dropped) -> Row:
    return Row(
        f"{claim.run_id}+{number}",
        claim.key,
        claim.service,
        CAUSES[row.cause].outcome if row.cause in CAUSES else "skipped",
        row.cause,
        row.why,
        claimed_at,
        claim.node,
        "manual" if row.request else "retry" if row.attempt else "schedule",
        row.first,
        row.last if row.count > 1 else None,
        row.count,
        row.attempt or 1,
        (row.request,) if row.request else (),
        queue_wait_s=max(0.0, (claimed_at - row.asked_at).total_seconds()) if row.asked_at else None,
    )


def _run(claim: Claim, end: End) -> Row:
    return Row(
        claim.run_id,
        claim.key,
        claim.service,
        end.outcome,
        end.cause,
        end.why,
        end.at,
        # Where it ran: of a run that was found dead the outcome is another node's.
        claim.node if CAUSES.get(end.cause, _UNKNOWN).writer == "successor" else end.node,
        claim.trigger,
        claim.slot,
        None,
        1,
        claim.attempt,
        claim.requests,
        end.started_at,
        end.duration_s,
        end.queue_wait_s,
        end.exit_code,
        end.signal,
        end.cpu_s,
        end.peak_memory_kib,
        claim.groups,
    )
