"""What became of a slot and what has to happen next, in words, from the facts that `decide` goes by. No I/O, no clock.

What is still open is asked of `decide` itself, so that its sentences are those of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vcsctl.domain.calendar import next_slot
from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Recover, Start, Stop, Wait
from vcsctl.domain.history import Row
from vcsctl.domain.history import rows as rows_of
from vcsctl.domain.reconcile import LATE_AFTER, decide, due_slots, pending_retry, start_limit
from vcsctl.domain.run import CAUSES, Dropped, service_of, to_text
from vcsctl.domain.unit import TimedUnit

What = Literal["ran", "runs", "missed", "skipped", "waits", "ahead", "not counted", "unknown"]


@dataclass(frozen=True, slots=True)
class Fate:
    """One thing that became of a slot: there are several where it was tried again. `run` is the one meant, if any."""

    what: What
    why: str
    run: str = ""


def fates(view: KeyView, slot: datetime, history: Iterable[Row], now: datetime) -> list[Fate]:
    """What became of a slot of the KEY's schedule, in the order of time; `history` are the KEY's rows."""
    known = list(history)
    live = view.run if view.run is not None and view.end is None else None
    if live is not None:
        known += rows_of(live, now, None)  # what it took the place of is in the history when it is over
    known.sort(key=lambda row: row.at)
    found = [_of_row(row, known) for row in known if _is_about(row, slot)]
    if live is not None and live.slot == slot:
        found.append(Fate("runs", f"runs as {live.run_id}", live.run_id))
    return found + _still_open(view, slot, found, now)


def _is_about(row: Row, slot: datetime) -> bool:
    return row.slot is not None and row.slot <= slot <= (row.last or row.slot)


def _of_row(row: Row, known: Sequence[Row]) -> Fate:
    attempt = f"attempt {row.attempt} " if row.attempt > 1 else ""
    if row.is_run:
        return Fate("ran", f"{attempt}ran as {row.id} on {row.node}{_lateness(row)}; {row.outcome}: {row.why}", row.id)
    what: What = "missed" if row.outcome == "missed" else "skipped"
    span = f" ({row.count} slots, the last {to_text(row.last)})" if row.last else ""
    if row.cause != "coalesced":
        return Fate(what, f"{attempt}{row.outcome}: {row.why}{span}")
    run = row.id.partition("+")[0]
    outcome = next((f"; {other.outcome}: {other.why}" for other in known if other.id == run), "")
    return Fate(what, f"{row.outcome}: {row.why}, {run}{span}{outcome}", run)


def _lateness(row: Row) -> str:
    if row.started_at is None or row.slot is None or row.attempt > 1 or row.started_at - row.slot <= LATE_AFTER:
        return ""
    queued = f", {row.queue_wait_s:.0f} s of it in the queue" if row.queue_wait_s and row.queue_wait_s >= 1 else ""
    return f", {(row.started_at - row.slot).total_seconds():.0f} s late{queued}"


def _still_open(view: KeyView, slot: datetime, found: list[Fate], now: datetime) -> list[Fate]:
    """What is still to come of it; where nothing is on record and nothing will be, why that is so."""
    decision = decide(view, now)
    if isinstance(decision, Start | Close):
        for dropped in decision.plan.dropped:
            if _covers(dropped, slot):
                outcome = CAUSES[dropped.cause].outcome
                return [Fate("waits", f"it is about to be recorded as {outcome}: {dropped.why}")]
        if decision.plan.slot == slot:
            return [Fate("waits", f"it waits: {decision.why}")]
    retry = pending_retry(view)
    if retry is not None and retry.slot == slot:
        return [Fate("waits", f"it waits: {decision.why}")]
    return [] if found else [_without_record(view, slot, decision, now)]


def _covers(dropped: Dropped, slot: datetime) -> bool:
    return dropped.first is not None and dropped.first <= slot <= (dropped.last or dropped.first)


def _without_record(view: KeyView, slot: datetime, decision: Decision, now: datetime) -> Fate:
    if slot <= view.moment:
        since = f"only what comes after {to_text(view.moment)} does, when its schedule or its status last changed"
        return Fate("not counted", f"it does not count: {since}; nothing is retroactive")
    if view.watermark is not None and slot <= view.watermark:
        if slot > now:
            return Fate("not counted", f"it does not count: {decision.why}")
        return Fate("unknown", "it was claimed, and what became of it is no more on record")
    if view.unit is None or not view.unit.enabled:
        return Fate("not counted", f"it does not count: {decision.why}")
    if slot > now:
        return Fate("ahead", f"it is still to come; until then: {decision.why}")
    due = due_slots(view, now)
    if due is not None and due.newest != slot:
        return Fate("waits", f"it is about to be coalesced into the run of slot {to_text(due.newest)}; {decision.why}")
    return Fate("waits", f"it waits: {decision.why}")


@dataclass(frozen=True, slots=True)
class Ahead:
    """The KEY for which one of the groups is kept, what that waits for, as a sentence, and which runs those are."""

    key: str
    group: str
    waits_for: str
    in_the_way: tuple[str, ...] = ()


def next_step(
    view: KeyView, decision: Decision, in_the_way: Sequence[str], unable: Sequence[str], ahead: Ahead | None = None
) -> str:
    """What has to happen before something changes.

    `in_the_way`: the runs that it waits for; `unable`: what each node that may run it lacks, none where one can.
    """
    match decision:
        case Start() | Wait() if in_the_way or (ahead and not unable):
            # To stop a run is of no use while no node could take its place.
            each = [" or ".join(unable)] if unable else []
            each += [f"{run} ends" if unable else f"{run} ends ({_stop(run)} ends it)" for run in in_the_way]
            if ahead and not unable:
                why = "; ".join((ahead.waits_for, *(f"{_stop(run)} ends {run}" for run in ahead.in_the_way)))
                each.append(f"{ahead.key} has run, for which group {ahead.group} is kept ({why})")
            return f"it starts when {' and '.join(each)}{_until(view, decision)}"
        case Start() if unable:
            return f"it starts when {' or '.join(unable)}{_until(view, decision)}"
        case Start():
            return f"it starts when a node that may run it looks next{_until(view, decision)}"
        case Wait():
            return f"it starts when what it waits for ends{_until(view, decision)}"
        case Close():
            return "a node puts that on record when it looks next"
        case Recover():
            return "a node that finds its lock free starts it again, or records it as lost"
        case Stop():
            return "its runner ends it"
        case Idle(next_at=None) if view.unit is not None and not view.unit.enabled:
            return f"its slots count again after `vcsctl enable {view.unit.name}`"
        case Idle(next_at=datetime()) if unable:
            return f"the next can start when {' or '.join(unable)}"
        case Idle(why=why, next_at=moment):
            return f"nothing until {to_text(moment)}" if moment and to_text(moment) not in why else ""


def _stop(run: str) -> str:
    return f"`vcsctl stop {service_of(run.rpartition('.')[0])}`"


def _until(view: KeyView, decision: Start | Wait) -> str:
    """By when it has to, where that is known."""
    slot = decision.plan.slot if isinstance(decision, Start) else None
    if slot is None or view.schedule is None or not isinstance(view.unit, TimedUnit):
        return ""
    if isinstance(decision, Start) and decision.plan.trigger == "retry":
        return ""
    limit = start_limit(view.unit, view.schedule, slot)
    if view.unit.start_within is None and limit == next_slot(view.schedule, slot):
        return f"; at {to_text(limit)} the next slot takes its place"
    return f"; from {to_text(limit)} on it is missed (start_within)"
