"""When a runner must stop its command because its locks may be another's by now. No clock, no I/O.

Over NFSv4 the server gives a silent client's locks away when its lease has run out. A hold is certain only
as of the beginning of the last good proof.
"""

from __future__ import annotations

from typing import Literal

PROOF_PERIOD_S = 15.0  # a sixth of the usual lease of 90 s
Action = Literal["none", "terminate", "kill"]


def proof_period(fence_after_s: float | None) -> float:
    return fence_after_s / 6 if fence_after_s else PROOF_PERIOD_S


def may_start(since_proof_s: float, fence_after_s: float | None) -> bool:
    """A command is executed only on a proof that began less than half a lease ago."""
    return fence_after_s is None or since_proof_s < fence_after_s / 2


def start_within(since_proof_s: float, fence_after_s: float | None) -> float | None:
    """Seconds in which it must have been executed by then; None: it may take its time."""
    return None if fence_after_s is None else max(0.0, fence_after_s / 2 - since_proof_s)


def action(since_proof_s: float, fence_after_s: float | None) -> Action:
    """TERM after half the lease without proof, KILL after two thirds, whatever the unit's stop_timeout."""
    if fence_after_s is None or since_proof_s < fence_after_s / 2:
        return "none"
    return "terminate" if since_proof_s < fence_after_s * 2 / 3 else "kill"


def next_deadline(fence_after_s: float | None, already: Action) -> float | None:
    """Seconds after the last good proof's beginning at which to look again."""
    if fence_after_s is None or already == "kill":
        return None
    return fence_after_s / 2 if already == "none" else fence_after_s * 2 / 3
