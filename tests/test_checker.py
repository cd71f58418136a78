"""The history checker finds what it is there for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from tests.checker import (
    Asked,
    Claimed,
    Disabled,
    Due,
    Entry,
    Execution,
    Forbidden,
    History,
    Queued,
    Recorded,
    Withdrawn,
    violations,
)

FIRST = Execution("a.1", "a", "n1", frozenset({"g"}), "12:00", 1, 10.0, 20.0, {"g": 1})
SECOND = Execution("b.1", "b", "n2", frozenset({"g", "h"}), "12:00", 1, 20.0, 30.0, {"g": 2, "h": 1})
ROWS = (
    Recorded("a.1", "a", "ok", "exited", "12:00", requests=("r1", "r2")),
    Recorded("a.1+r2", "a", "skipped", "coalesced", requests=("r2",)),
    Recorded("b.1", "b", "lost", "node-died", "12:00"),
)
GOOD = History(
    (FIRST, SECOND),
    ROWS,
    (Claimed("a.1", 9.0), Claimed("b.1", 19.0)),
    (Asked("r1", "a", 1.0), Asked("r2", "a", 2.0)),
    (Withdrawn("r7", 3.0),),
    (Due("a", "12:00", 8.0),),
    (Forbidden("n1", None, 15.0, 40.0), Forbidden("n2", "a", 0.0)),
    (Disabled("a", 10.5), Disabled("b", 5.0, 19.0)),
    (Entry("a", 1.0, 10.0), Entry("b", 90.0)),
    (Queued("a", "12:00", 8.0, 9.0), Queued("b", "12:00", 1.0)),
    calm_from=5.0,
    bound_s=10.0,
    seen_until=99.0,
)


def test_a_history_that_keeps_the_promises_is_not_blamed() -> None:
    assert violations(GOOD) == []


DAEMON = replace(FIRST, run="d.1", key="d", slot=None, repeats=True)
ALLOWED = [
    ("a daemon's processes, one after the other", (DAEMON, replace(DAEMON, began_at=20.0, ended_at=21.0))),
    ("one that let go of the group goes on", (
        replace(FIRST, ended_at=50.0, let_go={"group g": 20.0}), SECOND)),
    ("a daemon that let go starts its process again", (
        replace(DAEMON, let_go={"group g": 15.0}), SECOND, replace(DAEMON, let_go={"group g": 15.0}, began_at=25.0, ended_at=35.0))),
]  # fmt: skip


@pytest.mark.parametrize("executions", [row[1] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_what_is_allowed_is_not_blamed(executions: tuple[Execution, ...]) -> None:
    assert violations(History(executions, settled_until=0.0)) == []


BAD = [
    ("a daemon's processes overlap", {"executions": (DAEMON, replace(DAEMON, began_at=19.0, ended_at=21.0))},
     "together in KEY d"),
    ("two runs of a daemon with one number", {"executions": (DAEMON, replace(DAEMON, run="d.2", began_at=20.0))},
     "fence of group g did not rise"),
    ("let go too late", {"executions": (replace(FIRST, ended_at=50.0, let_go={"group g": 20.5}), SECOND)},
     "together in group g: a.1"),
    ("let go of something else", {"executions": (replace(FIRST, ended_at=50.0, let_go={"KEY a": 15.0}), SECOND)},
     "together in group g: a.1"),
    ("a slot that waited was seen by nobody", {"claimed": (*GOOD.claimed, Claimed("b.1+1", 19.0)), "recorded": (
        *ROWS[:2], Recorded("b.1+1", "b", "missed", "nobody-there", "11:58", last="12:00"), ROWS[2])},
     "slot 12:00 of b stood in the queue"),
    ("overlap in a group", {"executions": (replace(FIRST, ended_at=20.1), SECOND)}, "together in group g: a.1"),
    ("an end that nobody knows overlaps", {"executions": (replace(FIRST, ended_at=None), SECOND)}, "it lives"),
    ("an earlier one overlaps across another", {"executions": (
        replace(FIRST, ended_at=50.0), replace(SECOND, groups=frozenset()),
        replace(SECOND, run="c.1", key="c", groups=frozenset({"g"}), began_at=40.0, fences={}))},
     "together in group g: a.1"),
    ("overlap of one KEY", {"executions": (FIRST, replace(FIRST, run="a.2", slot=None, groups=frozenset(), fences={}))},
     "together in KEY a"),
    ("one slot twice", {"executions": (FIRST, replace(FIRST, run="a.2", began_at=20.0, ended_at=21.0, fences={}))},
     "executed twice: slot 12:00 of a, attempt 1"),
    ("one run twice", {"executions": (FIRST, replace(FIRST, began_at=20.0, ended_at=21.0, slot=None, fences={}))},
     "executed twice: run a.1"),
    ("a fence that stays", {"executions": (FIRST, replace(SECOND, fences={"g": 1}))}, "fence of group g did not rise"),
    ("a row twice", {"recorded": (*ROWS, ROWS[2])}, "recorded 2 times: b.1"),
    ("two runs of one slot on record", {"recorded": (*ROWS, replace(ROWS[2], id="b.2"))}, "several runs of slot 12:00"),
    ("executed and missed", {"recorded": (*ROWS[:2], replace(ROWS[2], outcome="missed"))}, "is recorded missed"),
    ("executed without outcome", {"recorded": ROWS[:2]}, "no outcome: run b.1 was executed"),
    ("claimed without outcome", {"claimed": (Claimed("c.7", 2.0),)}, "no outcome: run c.7 was claimed"),
    ("a request forgotten", {"asked": (Asked("r9", "a", 1.0),)}, "no outcome: request r9"),
    ("a request served twice", {"recorded": (*ROWS, Recorded("a.2", "a", "ok", "exited", requests=("r1",)))},
     "request r1 of a ended more than once"),
    ("a cancelled request executed", {
        "recorded": (replace(ROWS[0], slot=None), *ROWS[1:]), "withdrawn": (Withdrawn("r1", 2.0), Withdrawn("r2", 2.0))}, "r2 was cancelled at 2.000, and a.1 was"),
    ("a slot without a row", {"due": (Due("a", "12:05", 8.0),)}, "no outcome: slot 12:05 of a"),
    ("a slot in two rows", {"recorded": (*ROWS, Recorded("a.3+1", "a", "missed", "too-late", "11:50", last="12:10"))},
     "slot 12:00 of a ended more than once: a.1, a.3+1"),
    ("a group that a push brought before", {"executions": (
        replace(FIRST, ended_at=25.0, groups=frozenset(), joined={"g": ((19.0, inf),)}), SECOND)}, "together in group g: a.1"),
    ("on a drained node", {"forbidden": (Forbidden("n2", None, 19.9),)}, "b.1 on n2 (20.000 to 30.000) began although"),
    ("a slot of a disabled service", {"disabled": (Disabled("b", 19.0),)}, "although b was disabled since 19.000"),
    ("where it is not allowed", {"forbidden": (Forbidden("n2", "b", 0.0, why="may not run it"),)}, "may not run it"),
    ("started too late", {"entries": (Entry("a", 1.0, 15.1),)}, "a was eligible from 5.000 and started at 15.100"),
    ("never started", {"entries": (Entry("a", 1.0),)}, "has not started"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_broken_promise_is_named(change: dict[str, object], said: str) -> None:
    found = violations(replace(GOOD, **change))  # type: ignore[arg-type]
    assert any(said in sentence for sentence in found), found


def test_a_group_that_a_push_brought_counts_only_for_what_is_decided_after_it() -> None:
    pushed = replace(FIRST, ended_at=25.0, groups=frozenset(), joined={"g": ((19.0, inf),)})
    assert violations(replace(GOOD, executions=(pushed, replace(SECOND, decided_at=18.9)))) == []


def test_what_had_no_time_to_end_is_not_missing() -> None:
    assert violations(replace(GOOD, recorded=ROWS[:2], settled_until=0.0)) == []
