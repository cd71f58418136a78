"""Tells a run to end: a wish linked beside its claim, and a nudge for its runner. Decides nothing."""

from __future__ import annotations

import signal

from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.run import Claim
from vcsctl.runners.supervise import Run, Runs
from vcsctl.store import state
from vcsctl.store.paths import Paths


def tell_to_stop(paths: Paths, runs: Runs, claim: Claim, request: StopRequest) -> bool:
    """False when somebody wished that before, perhaps otherwise. The runner looks by itself too, but not at once."""
    linked = state.write_stop(paths, claim.key, claim.fence, request)
    if (run := live_run(runs, claim)) is not None:
        runs.tell(run, signal.SIGUSR1)
    return linked


def live_run(runs: Runs, claim: Claim) -> Run | None:
    """As this vcsd knows it."""
    run = runs.by_key.get(claim.key)
    return run if run is not None and run.claim.fence == claim.fence else None
