"""Whether a daemon is to run here, and its run to end. No I/O, no clock, no memory.

A run of a daemon goes on until somebody wants it to end: its runner restarts the process. So what is decided here is
rare: the first start, the next after an end, and the end of a run that is not wanted any more. Where several nodes
may run a KEY, each decides for itself, and the KEY's lock says whose start it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from vcsctl.domain.decision import Decision, Idle, KeyView, Plan, Recover, Start, Stop
from vcsctl.domain.outcome import End
from vcsctl.domain.run import Claim
from vcsctl.domain.unit import Daemon, from_plain, seen_changes

# Whoever was stopped by hand, or whose `restart` says so, stays down after these.
_STAYS_DOWN = frozenset(("exited", "exit-code", "signal", "cannot-start", "not-ready", "unhealthy", "timeout"))
# After these the cause may be there still: without a pause a runner that dies at once would be started for ever.
_PAUSES = frozenset(("runner-died", "runner-signalled", "storage"))
PAUSE = timedelta(seconds=1)
# A restart of one that may run on any node is left so long to the node where it was: there it is meant to be.
STAYS_FOR = timedelta(seconds=3)


def is_daemons(view: KeyView) -> bool:
    """Whether a KEY is looked at here: of a daemon, or one whose run is a daemon's still."""
    return isinstance(view.unit, Daemon) or (_is_daemon(view.run) and view.end is None)


def keep_up(view: KeyView, now: datetime) -> Decision:
    if view.run is not None and view.end is None:
        if not view.live:
            return Recover(view.key, f"run {view.run.run_id} has no outcome on record", view.started)
        return _while_it_lives(view, view.run)
    if (unwanted := _unwanted(view)) is not None:
        return Idle(view.key, unwanted)
    if view.run is None or view.end is None or not _is_daemon(view.run):
        return _start(view, "wanted, and not running", (), now)
    return _after(view, view.run, view.end, now)


def _is_daemon(run: Claim | None) -> bool:
    return run is not None and run.trigger == "daemon"


def _unwanted(view: KeyView) -> str | None:
    """Why this node is not to run it, whatever became of its runs."""
    if view.unit is None:
        return view.gone
    if not isinstance(view.unit, Daemon):
        return "it is not a daemon any more"
    if not view.unit.enabled:
        return "disabled"
    return f"node {view.daemon.node} is drained" if view.daemon.drained else None


def _while_it_lives(view: KeyView, run: Claim) -> Decision:
    facts = view.daemon
    if not _is_daemon(run):
        return Idle(view.key, f"its own run {run.run_id}, of a job, is not over")
    if facts.runs_on != facts.node:
        return Idle(view.key, f"runs on {facts.runs_on} as {run.run_id}; this node stands by")
    if facts.stop is not None:
        reason = f": {facts.stop.reason}" if facts.stop.reason else ""
        return Idle(view.key, f"{run.run_id} is being stopped{reason}")
    if (unwanted := _unwanted(view)) is not None:
        return Stop(view.key, unwanted, run.fence)
    if changes := _changes(view, run):
        return Stop(view.key, f"its unit changed: {', '.join(changes)}", run.fence, rolls=True)
    return Idle(view.key, f"runs as {run.run_id}")


def _changes(view: KeyView, run: Claim) -> tuple[str, ...]:
    """What the process of a run would see otherwise by now. Groups count once all nodes agree on them: until then, and
    when it joins one, a live run counts as holding it."""
    assert view.unit is not None
    try:
        changes = seen_changes(from_plain(run.unit or {}), view.unit)
    except (KeyError, TypeError, ValueError):
        return ()  # of another version: nothing is known to have changed
    agreed = tuple(sorted(view.unit.groups)) == view.groups
    return (*changes, "groups") if agreed and tuple(sorted(run.groups)) != view.groups else changes


def _after(view: KeyView, run: Claim, end: End, now: datetime) -> Decision:
    facts = view.daemon
    if facts.reset:
        return _start(view, f"{run.run_id} ended ({end.cause}) and an operator wants it started", (), now)
    # Where nodes differ in the unit each finds that it changed: only the one that ran it says so, while it can.
    if (facts.runs_on == facts.node or facts.runs_on not in facts.able) and (changes := _changes(view, run)):
        return _start(view, f"its unit changed: {', '.join(changes)}", (), now)
    if (held_down := _held_down(view, end)) is not None:
        return Idle(view.key, held_down)
    failed_on = run.failed_on
    if end.cause == "start-limit" and facts.runs_on not in failed_on:
        failed_on = (*failed_on, facts.runs_on)
    if facts.node in failed_on:
        others = [node for node in facts.able if node not in failed_on]
        if others or end.cause == "start-limit":
            return Idle(view.key, _failed(view, run, end, failed_on, others))
        failed_on = ()  # who had it is gone, and nobody else is left
    if (pause := _pause(view, end, now)) is not None:
        return pause
    return _start(view, f"{run.run_id} ended ({end.cause}): {end.why}", failed_on, now)


def _held_down(view: KeyView, end: End) -> str | None:
    """Why it stays as it is until an operator, another unit or another life of its node changes that."""
    facts, name = view.daemon, view.unit.name if view.unit else view.key
    if facts.enabled_since or facts.rebooted:
        return None
    stop = facts.stop if facts.stop and facts.stop.cause == "stop-requested" else None
    if stop or end.cause == "stop-requested":
        return f"stopped by {stop.by if stop else 'an operator'}; `vcsctl restart {name}` starts it"
    if end.cause in _STAYS_DOWN:
        return f"{end.why}, and its `restart` does not start it again; `vcsctl restart {name}` does"
    return None


def _failed(view: KeyView, run: Claim, end: End, failed_on: tuple[str, ...], others: list[str]) -> str:
    name = view.unit.name if view.unit else view.key
    if others:
        return f"failed on {view.daemon.node}: left to {', '.join(others)}"
    where = f" on {', '.join(failed_on)}" if view.daemon.others else ""
    why = end.why if end.cause == "start-limit" else f"{run.run_id} ended ({end.cause})"
    return f"failed{where}: {why}; `vcsctl reset-failed {name}` when that is mended"


def _pause(view: KeyView, end: End, now: datetime) -> Idle | None:
    facts = view.daemon
    if end.cause == "restart-requested" and facts.runs_on != facts.node and facts.runs_on in facts.able:
        wait, why = STAYS_FOR, f"left to {facts.runs_on}, where it is restarted"
    elif end.cause in _PAUSES:
        wait, why = PAUSE, f"{end.why}; started again in a moment"
    else:
        return None
    # By the clock of the node that wrote the end: one that is ahead must not keep it down.
    return Idle(view.key, why, end.at + wait) if end.at - wait < now < end.at + wait else None


def _start(view: KeyView, why: str, failed_on: tuple[str, ...], now: datetime) -> Start:
    plan = Plan("daemon", watermark=view.watermark, failed_on=failed_on)
    return Start(view.key, why, plan, now, view.groups, patient=True)
