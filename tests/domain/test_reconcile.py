"""What one KEY needs and who may start: decisions by tables, the order of the queue by properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcsctl.domain.calendar import EveryMinutes
from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Recover, Start, Wait, Waiter
from vcsctl.domain.decision import Plan as ClaimPlan
from vcsctl.domain.holder import Holder
from vcsctl.domain.outcome import End
from vcsctl.domain.reconcile import arrange, decide
from vcsctl.domain.run import Claim, Dropped
from vcsctl.domain.unit import Daemon, Periodical, Retries

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
UNIT = Periodical(name="job", exec=("/bin/true",), period=5)
RETRYING = replace(UNIT, retries=Retries(attempts=2, delay=30.0, max_delay=40.0))
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
VIEW = KeyView("job", UNIT, EveryMinutes(5, 0, "UTC"), NOON - HOUR, watermark=NOON - 5 * MINUTE)


def run(slot: datetime | None = NOON - 5 * MINUTE, **fields: Any) -> Claim:
    return Claim("job", 7, "job", "n1", "schedule", "because", slot, slot, unit={"name": "job"}, **fields)


def end(cause: str, at: datetime = NOON - 2 * MINUTE) -> End:
    return End(cause, "because", "n1", at)


def request(name: str = "r1", ago: timedelta = SECOND, **fields: Any) -> Waiter:
    return Waiter(name, NOON - ago, **fields)


def seen(decision: Decision) -> tuple[Any, ...]:
    """The parts of a decision that the tables are about."""
    match decision:
        case Start(plan=plan):
            return ("start", plan.trigger, plan.slot, plan.attempt, plan.requests, causes(plan))
        case Close(plan=plan):
            return ("close", causes(plan))
        case Idle(next_at=next_at):
            return ("idle", next_at)
        case Wait(enters_queue=enters):
            return ("wait", enters)
        case Recover():
            return ("recover",)


def causes(plan: ClaimPlan) -> tuple[tuple[str, int], ...]:
    return tuple((row.cause, row.count) for row in plan.dropped)


LAST = NOON - 5 * MINUTE
TABLE: list[tuple[str, KeyView, datetime, tuple[Any, ...]]] = [
    ("due", VIEW, NOON, ("start", "schedule", NOON, 1, (), ())),
    ("not yet due", VIEW, NOON - SECOND, ("idle", NOON)),
    ("noticed late", VIEW, NOON + 11 * SECOND, ("start", "late", NOON, 1, (), ())),
    ("late from the queue is in time", replace(VIEW, slots_first=NOON, slots_entered_at=NOON), NOON + MINUTE,
     ("start", "schedule", NOON, 1, (), ())),
    ("slots that nobody saw are missed, the newest runs", replace(VIEW, watermark=NOON - HOUR), NOON,
     ("start", "schedule", NOON, 1, (), (("nobody-there", 11),))),
    ("an entry by a clock a little ahead is not dropped", replace(VIEW, slots_first=NOON, slots_entered_at=NOON),
     NOON - 3 * SECOND, ("idle", NOON)),
    ("slots in the queue are coalesced", replace(VIEW, watermark=NOON - 20 * MINUTE, slots_first=NOON - 10 * MINUTE,
     slots_entered_at=NOON - 10 * MINUTE), NOON,
     ("start", "schedule", NOON, 1, (), (("nobody-there", 1), ("coalesced", 2)))),
    ("too late", replace(VIEW, unit=replace(UNIT, start_within=60.0)), NOON + MINUTE, ("close", (("too-late", 1),))),
    ("enabled after the slot", replace(VIEW, moment=NOON), NOON, ("idle", NOON + 5 * MINUTE)),
    ("disabled", replace(VIEW, unit=replace(UNIT, enabled=False)), NOON, ("idle", None)),
    ("disabled while in the queue", replace(VIEW, unit=replace(UNIT, enabled=False), slots_first=NOON,
     slots_entered_at=NOON), NOON, ("close", (("disabled", 1),))),
    ("disabled, requested by hand", replace(VIEW, unit=replace(UNIT, enabled=False), requests=(request(),)), NOON,
     ("start", "manual", None, 1, ("r1",), ())),
    ("two requests are one run", replace(VIEW, requests=(request("r2", SECOND), request("r1", MINUTE))), NOON - SECOND,
     ("start", "manual", None, 1, ("r1", "r2"), ())),
    ("a request beside a due slot joins it", replace(VIEW, requests=(request(),)), NOON,
     ("start", "schedule", NOON, 1, ("r1",), ())),
    ("cancelled", replace(VIEW, requests=(request(cancelled=True),)), NOON - SECOND, ("close", (("cancelled", 1),))),
    ("a request that expired", replace(VIEW, requests=(request(expires_at=NOON - SECOND),)), NOON - SECOND,
     ("close", (("too-late", 1),))),
    ("unit gone", replace(VIEW, unit=None, schedule=None, requests=(request(),)), NOON, ("close", (("masked", 1),))),
    ("unit gone, nothing waits", replace(VIEW, unit=None, schedule=None), NOON, ("idle", None)),
    ("request for a daemon", replace(VIEW, unit=Daemon(name="job", exec=("/bin/true",)), schedule=None,
     requests=(request(),)), NOON, ("close", (("not-a-job", 1),))),
    ("its run lives and a slot is due", replace(VIEW, run=run(), live=True), NOON, ("wait", NOON)),
    ("its run lives", replace(VIEW, run=run(), live=True), NOON - SECOND, ("idle", NOON)),
    ("its run has no outcome and lives no more", replace(VIEW, run=run()), NOON, ("recover",)),
    ("failed, a retry waits for its delay", replace(VIEW, unit=RETRYING, run=run(), end=end("exit-code", NOON - 40 * SECOND)),
     NOON - 20 * SECOND, ("idle", NOON - 10 * SECOND)),
    ("failed, and a slot comes before the retry", replace(VIEW, unit=RETRYING, run=run(), end=end("exit-code", NOON - SECOND)),
     NOON - SECOND, ("idle", NOON)),
    ("failed, a retry is due", replace(VIEW, unit=RETRYING, run=run(), end=end("exit-code")), NOON - SECOND,
     ("start", "retry", LAST, 2, (), ())),
    ("failed, the delay has its maximum", replace(VIEW, unit=RETRYING, run=run(attempt=2), end=end("timeout", NOON - 41 * SECOND)),
     NOON - 2 * SECOND, ("idle", NOON - SECOND)),
    ("failed for the last time", replace(VIEW, unit=RETRYING, run=run(attempt=3), end=end("exit-code")), NOON - SECOND,
     ("idle", NOON)),
    ("a newer slot supersedes the retry", replace(VIEW, unit=RETRYING, run=run(), end=end("exit-code")), NOON,
     ("start", "schedule", NOON, 1, (), (("superseded", 1),))),
    ("stopped by hand is not retried", replace(VIEW, unit=RETRYING, run=run(), end=end("stop-requested")), NOON - SECOND,
     ("idle", NOON)),
    ("lost is not rerun unless the unit says so", replace(VIEW, unit=RETRYING, run=run(), end=end("node-died")), NOON - SECOND,
     ("idle", NOON)),
    ("lost and rerun", replace(VIEW, unit=replace(UNIT, on_lost="rerun"), run=run(), end=end("node-died")), NOON - SECOND,
     ("start", "retry", LAST, 2, (), ())),
    ("lost and rerun only once", replace(VIEW, unit=replace(UNIT, on_lost="rerun"), run=run(attempt=2), end=end("node-died")),
     NOON - SECOND, ("idle", NOON)),
    ("disabled before its retry", replace(VIEW, unit=replace(RETRYING, enabled=False), run=run(), end=end("exit-code")), NOON,
     ("close", (("disabled", 1),))),
    ("the schedule changed before its retry", replace(VIEW, unit=RETRYING, moment=NOON - MINUTE, run=run(), end=end("exit-code")),
     NOON - SECOND, ("close", (("changed", 1),))),
    ("a retry disposed of is not disposed of again", replace(VIEW, unit=replace(RETRYING, enabled=False), run=run(),
     end=end("exit-code"), closes=(Claim("job", 8, "job", "n1", "none", "x", dropped=(Dropped("disabled", "x", first=LAST, attempt=2),)),)),
     NOON, ("idle", None)),
    ("a manual run that failed is not retried", replace(VIEW, unit=RETRYING, run=run(None), end=end("exit-code")), NOON - SECOND,
     ("idle", NOON)),
    ("a clock was set back", replace(VIEW, watermark=NOON + HOUR), NOON, ("close", (("clock", 12),))),
    ("a clock was set back, told before", replace(VIEW, watermark=NOON + HOUR, closes=(Claim("job", 8, "job", "n1", "none", "x",
     dropped=(Dropped("clock", "x", last=NOON + HOUR),)),)), NOON, ("idle", NOON + HOUR)),
]  # fmt: skip


@pytest.mark.parametrize(("view", "now", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_key_needs(view: KeyView, now: datetime, expected: tuple[Any, ...]) -> None:
    assert seen(decide(view, now)) == expected


def start(key: str, groups: tuple[str, ...], place: datetime = NOON) -> Start:
    return Start(key, "due", ClaimPlan("schedule", place), place, groups, place)


def arranged(decisions: list[Start], held: dict[str, Holder], fair_after: timedelta = HOUR) -> dict[str, str]:
    """KEY → "starts", or why it waits."""
    found = arrange(decisions, held, NOON, fair_after)
    return {one.key: "starts" if isinstance(one, Start) else one.why for one in found}


ORDER: list[tuple[str, list[Start], dict[str, Holder], dict[str, str]]] = [
    ("groups that do not meet", [start("a", ("x",)), start("b", ("y",))], {}, {"a": "starts", "b": "starts"}),
    ("one after the other", [start("a", ("x",), NOON - SECOND), start("b", ("x",))], {},
     {"a": "starts", "b": "waits for group x, held by a"}),
    ("the older first", [start("a", ("x",)), start("b", ("x",), NOON - SECOND)], {},
     {"b": "starts", "a": "waits for group x, held by b"}),
    ("held by a run", [start("a", ("x", "y"))], {"y": Holder("z.3", "n2")}, {"a": "waits for group y, held by z.3 on n2"}),
    ("overtaking is allowed", [start("wide", ("x", "y"), NOON - MINUTE), start("b", ("x",))], {"y": Holder("z.3")},
     {"wide": "waits for group y, held by z.3", "b": "starts"}),
    ("overtaking is bounded", [start("wide", ("x", "y"), NOON - 2 * HOUR), start("b", ("x",))], {"y": Holder("z.3")},
     {"wide": "waits for group y, held by z.3",
      "b": "waits for group x, reserved for wide, in the queue since 2026-11-02T10:00:00Z"}),
]  # fmt: skip


@pytest.mark.parametrize(("decisions", "held", "expected"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_who_may_start(decisions: list[Start], held: dict[str, Holder], expected: dict[str, str]) -> None:
    assert arranged(decisions, held) == expected


group_sets = st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(tuple)


@given(st.lists(st.tuples(group_sets, st.integers(0, 7200)), max_size=12), st.sets(st.sampled_from("abcd"), max_size=2))
def test_no_two_that_start_share_a_group_and_the_oldest_free_one_starts(
    wishes: list[tuple[tuple[str, ...], int]], busy: set[str]
) -> None:
    decisions = [
        start(f"k{number}", groups, NOON - timedelta(seconds=ago)) for number, (groups, ago) in enumerate(wishes)
    ]
    found = arrange(decisions, {group: Holder("other") for group in busy}, NOON, HOUR)
    assert sorted(one.key for one in found) == sorted(one.key for one in decisions)
    taken = [group for one in found if isinstance(one, Start) for group in one.groups]
    assert len(taken) == len(set(taken))
    assert not busy & set(taken)
    free = [one for one in decisions if not busy & set(one.groups)]
    if free and not any(NOON - one.place > HOUR for one in decisions):
        oldest = min(free, key=lambda one: (one.place, one.key))
        assert oldest.key in {one.key for one in found if isinstance(one, Start)}


def test_a_waiting_retry_has_its_place_from_when_it_was_due() -> None:
    view = replace(VIEW, unit=RETRYING, run=run(), end=end("exit-code"), slots_first=LAST, slots_entered_at=None)
    decision = decide(view, NOON - SECOND)
    assert isinstance(decision, Start)
    assert decision.place == NOON - 2 * MINUTE + 30 * SECOND
