"""What one KEY needs and which of the KEYs may start now, each decision with its reason. No I/O, no clock, no memory.

`decide` looks at one KEY alone, `arrange` at the groups they share. vcsd applies the decisions and, under the
locks, decides again on fresh state; `status` and `why` print the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vcsctl.domain.calendar import Schedule, count_between, next_slot, previous_slot
from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Plan, Recover, Start, Wait, Waiter
from vcsctl.domain.holder import Blocked, Holder, reserver, waits_for_group, waits_for_reserved
from vcsctl.domain.keep_up import is_daemons, keep_up
from vcsctl.domain.reservations import Entry
from vcsctl.domain.run import CANCELLED, CAUSES, Claim, Dropped, Trigger, to_text, too_late
from vcsctl.domain.unit import Daemon, FixedTime, TimedUnit, Unit

# A slot noticed later than this, and not from the queue, was missed first: the run is labelled `late`.
LATE_AFTER = timedelta(seconds=10)
# Two clocks this close are one clock; a claim further ahead than this means that a clock was set back.
CLOCK_TOLERANCE = timedelta(seconds=10)
FIXED_TIME_START_WITHIN = timedelta(hours=6)
RETRYABLE = ("failed", "timeout")


@dataclass(frozen=True, slots=True)
class Due:
    """The slots that count and were not claimed: the first, the newest, how many."""

    first: datetime
    newest: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Retry:
    slot: datetime
    attempt: int
    due_at: datetime


@dataclass(slots=True)
class _Ledger:
    """What this decision disposes of, collected on the way."""

    rows: list[Dropped] = field(default_factory=list)

    def drop(self, cause: str, why: str, **what: object) -> None:
        assert cause in CAUSES
        self.rows.append(Dropped(cause, why, **what))  # type: ignore[arg-type]


def decide(view: KeyView, now: datetime) -> Decision:
    """What this KEY needs, its groups left aside."""
    if is_daemons(view) and not ((view.requests or view.slots_first) and (view.run is None or view.end is not None)):
        return keep_up(view, now)
    if view.run is not None and view.end is None:
        return _while_unfinished(view, view.run, now)
    ledger = _Ledger()
    requests = _valid_requests(view, now, ledger)
    if view.unit is None or isinstance(view.unit, Daemon) or view.schedule is None:
        return _without_schedule(view, requests, ledger)
    if (fault := _clock_fault(view, view.schedule, now)) is not None:
        return fault
    unit, schedule = view.unit, view.schedule
    due, retry = due_slots(view, now), pending_retry(view)
    watermark = view.watermark
    if retry and (not unit.enabled or retry.slot <= view.moment):
        cause, why = ("changed", "the schedule changed") if unit.enabled else ("disabled", "the service was disabled")
        ledger.drop(cause, why, first=retry.slot, last=retry.slot, attempt=retry.attempt)
        retry = None
    if view.slots_first and due is None and not now < view.slots_first <= now + CLOCK_TOLERANCE:
        _drop_entry(view, unit, ledger)  # else it has come already by the clock of the node that entered it
    if due and now >= (limit := start_limit(unit, schedule, due.newest)):
        late = f"could not start by {to_text(limit)} (start_within)"
        ledger.drop("too-late", late, first=due.first, last=due.newest, count=due.count)
        watermark, due = due.newest, None
    if due and retry:
        newer = f"slot {to_text(due.newest)} is due"
        ledger.drop("superseded", newer, first=retry.slot, last=retry.slot, attempt=retry.attempt)
        retry = None
    ids = tuple(waiter.id for waiter in requests)
    place = min((w.entered_at for w in (*requests, *_slots_waiter(view))), default=now)
    if due:
        _drop_older(view, due, schedule, ledger)
        plan = Plan(_trigger(view, due, now), due.newest, 1, due.newest, ids, tuple(ledger.rows))
        why = f"slot {to_text(due.newest)} is due"
        return Start(view.key, why, plan, place, view.groups, due.first)
    if retry and (ids or now >= retry.due_at):
        plan = Plan("retry", retry.slot, retry.attempt, watermark, ids, tuple(ledger.rows))
        why = f"attempt {retry.attempt} of slot {to_text(retry.slot)} is due" + (", hurried by request" if ids else "")
        # Its place is the moment from which it was due: the entry that shows it may be older than its slot's claim.
        return Start(view.key, why, plan, min(place, retry.due_at), view.groups, retry.slot)
    if ids:
        plan = Plan("manual", None, 1, watermark, ids, tuple(ledger.rows))
        return Start(view.key, f"requested ({', '.join(ids)})", plan, place, view.groups)
    if ledger.rows:
        return Close(view.key, ledger.rows[-1].why, Plan("none", watermark=watermark, dropped=tuple(ledger.rows)))
    return _idle(view, unit, schedule, retry, now)


def _while_unfinished(view: KeyView, run: Claim, now: datetime) -> Decision:
    if not view.live:
        return Recover(view.key, f"run {run.run_id} has no outcome on record", view.started)
    due = due_slots(view, now)
    place = min((w.entered_at for w in (*view.requests, *_slots_waiter(view))), default=now)
    why = f"its own run {run.run_id} is not over"
    if due or view.requests:
        return Wait(view.key, why, place, due.first if due else None, run.run_id)
    return Idle(view.key, f"running as {run.run_id}", _next_counted(view, now))


def _without_schedule(view: KeyView, requests: list[Waiter], ledger: _Ledger) -> Decision:
    is_daemon = isinstance(view.unit, Daemon)
    cause, why = ("not-a-job", "a daemon is not run by request") if is_daemon else ("masked", view.gone)
    for waiter in requests:
        ledger.drop(cause, why, request=waiter.id)
    if view.slots_first:
        ledger.drop(cause, why, first=view.slots_first, last=view.slots_first)
    if ledger.rows:
        return Close(view.key, why, Plan("none", watermark=view.watermark, dropped=tuple(ledger.rows)))
    return Idle(view.key, why)


def _valid_requests(view: KeyView, now: datetime, ledger: _Ledger) -> list[Waiter]:
    """The requests that still stand, oldest first; the others go to the ledger."""
    valid = []
    for waiter in sorted(view.requests, key=lambda waiter: (waiter.entered_at, waiter.id)):
        if waiter.cancelled:
            ledger.drop("cancelled", CANCELLED, request=waiter.id)
        elif waiter.expires_at and now >= waiter.expires_at:
            late = too_late(waiter.expires_at)
            ledger.drop("too-late", late, request=waiter.id, asked_at=waiter.entered_at)
        else:
            valid.append(waiter)
    return valid


def _slots_waiter(view: KeyView) -> tuple[Waiter, ...]:
    return (Waiter("slots", view.slots_entered_at),) if view.slots_entered_at else ()


def _counted_from(view: KeyView) -> datetime:
    """Nothing retroactive: only slots later than this count."""
    return max(view.moment, view.watermark) if view.watermark else view.moment


def due_slots(view: KeyView, now: datetime) -> Due | None:
    """The slots of an enabled service that count and have come."""
    if view.schedule is None or view.unit is None or not view.unit.enabled:
        return None
    newest, after = previous_slot(view.schedule, now), _counted_from(view)
    if newest <= after:
        return None
    return Due(next_slot(view.schedule, after), newest, count_between(view.schedule, after, newest))


def pending_retry(view: KeyView) -> Retry | None:
    """The further attempt that the last run's outcome calls for."""
    run, end, unit = view.run, view.end, view.unit
    if run is None or end is None or run.slot is None or not isinstance(unit, TimedUnit):
        return None
    attempt = run.attempt + 1
    disposed = any(row.attempt == attempt and row.first == run.slot for claim in view.closes for row in claim.dropped)
    if disposed:
        return None
    failed = end.outcome in RETRYABLE and run.attempt <= unit.retries.attempts
    # A job that takes its node down with it must not do so for ever: one rerun, or as many as there are retries.
    rerun = end.outcome == "lost" and unit.on_lost == "rerun" and run.attempt <= max(1, unit.retries.attempts)
    if not (failed or rerun):
        return None
    delay_s = 0.0 if rerun else min(unit.retries.delay * 2 ** (run.attempt - 1), unit.retries.max_delay)
    return Retry(run.slot, attempt, end.at + timedelta(seconds=delay_s))


def start_limit(unit: TimedUnit, schedule: Schedule, newest: datetime) -> datetime:
    """Until when the slot may still start, queueing included."""
    if unit.start_within is not None:
        return newest + timedelta(seconds=unit.start_within)
    return newest + FIXED_TIME_START_WITHIN if isinstance(unit, FixedTime) else next_slot(schedule, newest)


def _trigger(view: KeyView, due: Due, now: datetime) -> Trigger:
    queued = view.slots_first is not None and view.slots_first <= due.newest
    return "late" if now - due.newest > LATE_AFTER and not queued else "schedule"


def _drop_older(view: KeyView, due: Due, schedule: Schedule, ledger: _Ledger) -> None:
    """Of the due slots only the newest runs: those in the queue are coalesced, those nobody saw were missed."""
    if due.count == 1:
        return
    queued_from = view.slots_first if view.slots_first and view.slots_first > due.first else None
    if view.slots_first and not queued_from:
        queued_from = due.first
    last = previous_slot(schedule, due.newest - timedelta(microseconds=1))
    if queued_from is None:
        why = "no vcsd was there to start it"
        ledger.drop("nobody-there", why, first=due.first, last=last, count=due.count - 1)
        return
    missed = count_between(schedule, due.first, queued_from) if queued_from > due.first else 0
    if missed:
        before = previous_slot(schedule, queued_from - timedelta(microseconds=1))
        ledger.drop("nobody-there", "no vcsd was there to start it", first=due.first, last=before, count=missed)
    if queued_from <= last:
        why = f"coalesced into the run of slot {to_text(due.newest)}"
        ledger.drop("coalesced", why, first=queued_from, last=last, count=due.count - 1 - missed)


def _drop_entry(view: KeyView, unit: Unit, ledger: _Ledger) -> None:
    """An entry whose slots no longer count."""
    first = view.slots_first
    if first is None or (view.watermark is not None and first <= view.watermark):
        return  # a claim lists it already; the entry file is only on its way out
    if unit.enabled:
        ledger.drop("changed", "the schedule changed while it waited", first=first, last=first)
    else:
        last, count = first, 1
        if view.schedule and view.moment > first:
            last = max(first, previous_slot(view.schedule, view.moment))
            count = max(1, count_between(view.schedule, first - timedelta(microseconds=1), last))
        ledger.drop("disabled", "the service was disabled while it waited", first=first, last=last, count=count)


def _clock_fault(view: KeyView, schedule: Schedule, now: datetime) -> Close | Idle | None:
    """A claimed slot in the future: a clock was ahead and was set back. What it swallowed is recorded once."""
    if view.watermark is None or view.watermark <= now + CLOCK_TOLERANCE:
        return None
    why = f"the claimed slot {to_text(view.watermark)} lies in the future: a clock was set back"
    told = any(row.cause == "clock" and row.last == view.watermark for claim in view.closes for row in claim.dropped)
    swallowed = count_between(schedule, now, view.watermark)
    if told or not swallowed or view.requests:
        return None if view.requests else Idle(view.key, why, view.watermark)
    row = Dropped("clock", why, None, next_slot(schedule, now), view.watermark, swallowed)
    return Close(view.key, why, Plan("none", watermark=view.watermark, dropped=(row,)))


def _next_counted(view: KeyView, now: datetime) -> datetime | None:
    if view.schedule is None or view.unit is None or not view.unit.enabled:
        return None
    return next_slot(view.schedule, max(now, _counted_from(view)))


def _idle(view: KeyView, unit: Unit, schedule: Schedule, retry: Retry | None, now: datetime) -> Idle:
    if not unit.enabled:
        return Idle(view.key, "disabled")
    upcoming = next_slot(schedule, max(now, _counted_from(view)))
    if retry:
        why = f"attempt {retry.attempt} of slot {to_text(retry.slot)} is due at {to_text(retry.due_at)}"
        return Idle(view.key, why, min(retry.due_at, upcoming))  # a slot that comes sooner supersedes it
    return Idle(view.key, f"next slot {to_text(upcoming)}", upcoming)


def arrange(
    decisions: Iterable[Decision],
    held: Mapping[str, Holder],
    now: datetime,
    fair_after: timedelta,
    elsewhere: Iterable[Entry] = (),
) -> list[Decision]:
    """Lets those start whose groups are free, in the order of the queue; the others wait, and say for whom.

    An older entry that has waited longer than `fair_after` reserves its groups: overtaking is bounded. So does
    one of `elsewhere`, that only other nodes can start.
    """
    taken, reserved = dict(held), dict[str, Holder]()
    arranged: list[Decision] = [decision for decision in decisions if not isinstance(decision, Start)]
    queue: list[Start | Entry] = [decision for decision in decisions if isinstance(decision, Start)]
    queue += elsewhere
    for entry in sorted(queue, key=lambda entry: (entry.place, entry.key)):
        if isinstance(entry, Start):
            blocked = _blocked(entry, taken, reserved)
            if blocked is None:
                arranged.append(entry)
                taken.update((group, Holder(entry.key)) for group in entry.groups)
                continue
            enters, patient = entry.enters_queue, entry.patient
            arranged.append(Wait(entry.key, blocked.why, entry.place, enters, blocked.run, patient))
        if now - entry.place > fair_after:
            waiting = reserver(entry.key, entry.place)
            reserved.update((group, waiting) for group in entry.groups if group not in reserved)
    return arranged


def _blocked(start: Start, taken: Mapping[str, Holder], reserved: Mapping[str, Holder]) -> Blocked | None:
    for group in sorted(start.groups):
        if group in taken:
            return waits_for_group(group, taken[group])
    for group in sorted(start.groups):
        if group in reserved:
            return waits_for_reserved(group, reserved[group])
    return None
