"""What is said of a slot and of what comes next: tables of facts and sentences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule
from vcsctl.domain.clock_change import oddity
from vcsctl.domain.decision import KeyView, Waiter
from vcsctl.domain.explain import Ahead, fates, next_step
from vcsctl.domain.history import Row
from vcsctl.domain.outcome import End
from vcsctl.domain.reconcile import decide
from vcsctl.domain.run import Claim, Dropped
from vcsctl.domain.unit import Periodical, Retries

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SLOT = NOON - 20 * MINUTE
UNIT = Periodical(name="job", exec=("/bin/true",), period=5)
VIEW = KeyView("job", UNIT, EveryMinutes(5, 0, "UTC"), NOON - 600 * MINUTE, watermark=NOON)
RETRYING = replace(UNIT, retries=Retries(attempts=2, delay=300.0, max_delay=600.0))
RUN = Claim("job", 9, "job", "b", "schedule", "because", SLOT, SLOT, unit={"name": "job"})


def row(number: str, outcome: str, cause: str, why: str, **fields: Any) -> Row:
    given = {"at": SLOT + MINUTE, "node": "a", "slot": SLOT, **fields}
    return Row(f"job.{number}", "job", "job", outcome, cause, why, **given)  # type: ignore[arg-type]


RAN = row("7", "ok", "exited", "exited with code 0", started_at=SLOT)
LATE = replace(RAN, started_at=SLOT + 3 * MINUTE, queue_wait_s=178.0)
FAILED = row("7", "failed", "exit-code", "exited with code 3", started_at=SLOT)
AGAIN = row("8", "ok", "exited", "exited with code 0", started_at=SLOT + 2 * MINUTE, attempt=2, at=SLOT + 3 * MINUTE)
MISSED = row("7+1", "missed", "nobody-there", "no vcsd was there to start it", slot=SLOT - 10 * MINUTE,
             last=SLOT, count=3)  # fmt: skip
COALESCED = row("8+1", "skipped", "coalesced", "coalesced into the run of slot 2026-11-02T11:50:00Z")
INTO = row("8", "ok", "exited", "exited with code 0", slot=SLOT + 10 * MINUTE)
OTHER = row("6", "failed", "exit-code", "exited with code 1", slot=SLOT - 5 * MINUTE)

FATES: list[tuple[str, KeyView, tuple[Row, ...], datetime, list[tuple[str, str]]]] = [
    ("ran", VIEW, (OTHER, RAN), SLOT, [("ran", "ran as job.7 on a; ok: exited with code 0")]),
    ("ran late", VIEW, (LATE,), SLOT,
     [("ran", "ran as job.7 on a, 180 s late, 178 s of it in the queue; ok: exited with code 0")]),
    ("failed and ran again", VIEW, (AGAIN, FAILED), SLOT,
     [("ran", "ran as job.7 on a; failed: exited with code 3"),
      ("ran", "attempt 2 ran as job.8 on a; ok: exited with code 0")]),
    ("failed, to be tried again", replace(VIEW, unit=RETRYING, watermark=NOON, run=RUN,
     end=End("exit-code", "exited with code 3", "b", NOON - MINUTE)), (FAILED,), SLOT,
     [("ran", "ran as job.7 on a; failed: exited with code 3"),
      ("waits", "it waits: attempt 2 of slot 2026-11-02T11:40:00Z is due at 2026-11-02T12:04:00Z")]),
    ("missed in a range", VIEW, (MISSED,), SLOT - 5 * MINUTE,
     [("missed", "missed: no vcsd was there to start it (3 slots, the last 2026-11-02T11:40:00Z)")]),
    ("coalesced", VIEW, (INTO, COALESCED), SLOT,
     [("skipped", "skipped: coalesced into the run of slot 2026-11-02T11:50:00Z, job.8; ok: exited with code 0")]),
    ("runs", replace(VIEW, run=RUN, live=True), (), SLOT, [("runs", "runs as job.9")]),
    ("coalesced into what runs", replace(VIEW, run=replace(RUN, slot=NOON, dropped=(
     Dropped("coalesced", "coalesced into the run of slot 2026-11-02T12:00:00Z", None, SLOT, SLOT),)), live=True), (),
     SLOT, [("skipped", "skipped: coalesced into the run of slot 2026-11-02T12:00:00Z, job.9")]),
    ("still to come", VIEW, (), NOON + 5 * MINUTE,
     [("ahead", "it is still to come; until then: next slot 2026-11-02T12:05:00Z")]),
    ("before its schedule counted", replace(VIEW, moment=NOON), (), SLOT,
     [("not counted", ("it does not count: only what comes after 2026-11-02T12:00:00Z does, when its schedule or its status last changed; "
       "nothing is retroactive"))]),
    ("disabled", replace(VIEW, unit=replace(UNIT, enabled=False)), (), NOON + 5 * MINUTE,
     [("not counted", "it does not count: disabled")]),
    ("due", replace(VIEW, watermark=NOON - 5 * MINUTE), (), NOON, [("waits", "it waits: slot 2026-11-02T12:00:00Z is due")]),
    ("a newer one is due", replace(VIEW, watermark=NOON - 10 * MINUTE, slots_first=NOON - 5 * MINUTE,
     slots_entered_at=NOON - 5 * MINUTE), (), NOON - 5 * MINUTE,
     [("waits", "it is about to be recorded as skipped: coalesced into the run of slot 2026-11-02T12:00:00Z")]),
    ("behind its own run", replace(VIEW, run=RUN, live=True, watermark=SLOT), (), NOON,
     [("waits", "it waits: its own run job.9 is not over")]),
    ("older, behind its own run", replace(VIEW, run=RUN, live=True, watermark=SLOT), (), NOON - 5 * MINUTE,
     [("waits", "it is about to be coalesced into the run of slot 2026-11-02T12:00:00Z; its own run job.9 is not over")]),
    ("claimed, and forgotten", VIEW, (), SLOT,
     [("unknown", "it was claimed, and what became of it is no more on record")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("view", "rows", "slot", "expected"), [one[1:] for one in FATES], ids=[one[0] for one in FATES]
)
def test_what_became_of_a_slot(
    view: KeyView, rows: tuple[Row, ...], slot: datetime, expected: list[tuple[str, str]]
) -> None:
    assert [(fate.what, fate.why) for fate in fates(view, slot, rows, NOON)] == expected


DUE = replace(VIEW, watermark=NOON - 5 * MINUTE)
UNTIL = "; at 2026-11-02T12:05:00Z the next slot takes its place"
STEPS: list[tuple[str, KeyView, list[str], list[str], str]] = [
    ("free", DUE, [], [], f"it starts when a node that may run it looks next{UNTIL}"),
    ("blocked", DUE, ["other.3"], [], f"it starts when other.3 ends (`vcsctl stop other` ends it){UNTIL}"),
    ("nobody can", replace(DUE, unit=replace(UNIT, start_within=60.0)), [], ["b is drained no more"],
     "it starts when b is drained no more; from 2026-11-02T12:01:00Z on it is missed (start_within)"),
    ("its own run", replace(DUE, run=RUN, live=True), ["job.9"], [],
     "it starts when job.9 ends (`vcsctl stop job` ends it)"),
    ("disabled", replace(DUE, unit=replace(UNIT, enabled=False)), [], [],
     "its slots count again after `vcsctl enable job`"),
    ("nothing due, and that is said", VIEW, [], [], ""),
    ("it runs", replace(VIEW, run=RUN, live=True), [], [], "nothing until 2026-11-02T12:05:00Z"),
    ("asked for by hand", replace(VIEW, requests=(Waiter("r1", NOON),)), [], [],
     "it starts when a node that may run it looks next"),
]  # fmt: skip


def test_what_comes_first_has_to_run_before_it() -> None:
    behind = Ahead("big", "other", "waits for group held, held by runs.1 on b", ("runs.1",))
    why = "waits for group held, held by runs.1 on b; `vcsctl stop runs` ends runs.1"
    said = f"big has run, for which group other is kept ({why})"
    assert next_step(DUE, decide(DUE, NOON), [], [], behind) == f"it starts when {said}{UNTIL}"
    both = f"it starts when mine.3 ends (`vcsctl stop mine` ends it) and {said}{UNTIL}"
    assert next_step(DUE, decide(DUE, NOON), ["mine.3"], [], behind) == both
    alone = Ahead("big", "other", "starts next")
    assert next_step(DUE, decide(DUE, NOON), [], [], alone) == (
        f"it starts when big has run, for which group other is kept (starts next){UNTIL}"
    )


@pytest.mark.parametrize(
    ("view", "runs", "unable", "expected"), [one[1:] for one in STEPS], ids=[one[0] for one in STEPS]
)
def test_what_has_to_happen_next(view: KeyView, runs: list[str], unable: list[str], expected: str) -> None:
    assert next_step(view, decide(view, NOON), runs, unable) == expected


BERLIN = AtTimes(("02:30",), (), "Europe/Berlin")


@pytest.mark.parametrize(
    ("schedule", "wall", "note"),
    [
        (BERLIN, "2027-03-28T02:30", "on 2027-03-28 at 02:00 the clocks of Europe/Berlin go one hour ahead: 02:30 runs at 03:30"),
        (EveryMinutes(5, 0, "Europe/Berlin"), "2027-03-28T02:30", ("on 2027-03-28 at 02:00 the clocks of Europe/Berlin go "
         "one hour ahead: its slots from 02:00 to 02:55 do not come, 03:00 follows 01:55")),
        (BERLIN, "2027-10-31T02:30", ("on 2027-10-31 at 03:00 the clocks of Europe/Berlin go one hour back: 02:00 to 03:00 comes "
         "twice, 02:30 runs at its first time only; taken to mean the first, +0200")),
        (BERLIN, "2027-03-28T03:30", ""),
    ],
)  # fmt: skip
def test_what_is_odd_about_a_time_of_day(schedule: Schedule, wall: str, note: str) -> None:
    assert oddity(schedule, datetime.fromisoformat(wall)) == note
