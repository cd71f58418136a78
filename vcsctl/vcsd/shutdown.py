"""Ends the runs of this machine when it goes down, while the file systems that they need are there still."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable

from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.run import Claim
from vcsctl.domain.unit import from_plain
from vcsctl.errors import StorageError
from vcsctl.runners.supervise import Run, Runs
from vcsctl.store.paths import Paths
from vcsctl.vcsd import systemd
from vcsctl.vcsd.log import say
from vcsctl.vcsd.node import Node
from vcsctl.vcsd.stopping import tell_to_stop
from vcsctl.vcsd.turns import Turns

_BEYOND_S = 15.0  # for what a run does after its command is dead
_DEFAULT_S = 30.0


def stop_all(
    turns: Turns, paths: Paths, node: str, others: Iterable[Claim] = (), is_more: Callable[[], bool] = lambda: False
) -> None:
    """Asks every run that has its runner here to stop, and waits for them; for the `others`, which another process
    stops, as long as `is_more` tells that it does."""
    loop = turns.loop
    turns.node.presence.going_down = f"node {node} goes down"
    turns.troubles.guarded(turns.node.one_pass)  # who has only just begun knows no run yet
    runs = _here(turns.node)
    patience_s = stop_patience_s([*(run.claim for run in runs), *others])
    say(f"the machine goes down: {len(runs)} runs are stopped")
    for run in runs:
        _stop(paths, node, loop.runs, run)
    give_up_s = time.monotonic() + patience_s
    while (_here(turns.node) or is_more()) and time.monotonic() < give_up_s:
        extend(f"stops {len(_here(turns.node))} runs")
        turns.one()
    for run in _here(turns.node):
        say(f"{run.claim.run_id}: it has not stopped in {patience_s:g} s; left to the end of the machine")
    loop.recorder.prune(len(loop.services.by_key) + len(runs))


def stop_patience_s(claims: Iterable[Claim]) -> float:
    """How long these runs may take to stop."""
    return max(map(_stop_timeout_s, claims), default=_DEFAULT_S) + _BEYOND_S


def extend(status: str) -> None:
    """systemd is to wait for us a little longer."""
    systemd.notify(f"EXTEND_TIMEOUT_USEC={int(_BEYOND_S * 1e6)}", f"STATUS={status}")


def _here(node: Node) -> list[Run]:
    return [run for run in node.loop.runs.by_key.values() if run.grant is not None or run.descriptor is not None]


def _stop_timeout_s(claim: Claim) -> float:
    try:
        return from_plain(claim.unit or {}).stop_timeout
    except (KeyError, TypeError, ValueError):
        return _DEFAULT_S


def _stop(paths: Paths, node: str, runs: Runs, run: Run) -> None:
    request = StopRequest("vcsd", node, "the machine goes down", "shutdown")
    try:
        tell_to_stop(paths, runs, run.claim, request)
    except StorageError as error:  # its runner is told without the reason then
        say(f"{run.claim.run_id}: {error}")
        runs.tell(run, signal.SIGTERM)
