"""Whether a daemon runs here: decisions by a table, what must hold for all of them by properties."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcsctl.domain.decision import DaemonFacts, Decision, Idle, KeyView, Recover, Start, Stop, Wait, Waiter
from vcsctl.domain.keep_up import PAUSE, STAYS_FOR
from vcsctl.domain.outcome import End, StopRequest
from vcsctl.domain.reconcile import decide
from vcsctl.domain.run import CAUSES, Claim
from vcsctl.domain.unit import (
    HEEDED_BY_THE_RUNNER,
    SEEN_BY_THE_PROCESS,
    Daemon,
    Health,
    Periodical,
    Probe,
    from_plain,
    keys_of,
    late_changes,
    seen_changes,
    to_plain,
)

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
UNIT = Daemon(name="radius", exec=("/bin/radiusd", "-f"), run_on="any", environment={"A": "1"})
OTHER = replace(UNIT, exec=("/bin/radiusd", "-X"))
ALONE = DaemonFacts(node="a", runs_on="a")
PAIR = replace(ALONE, others=("b",), able=("b",))
OPERATOR = StopRequest("kim", "b")


def claim(unit: Daemon = UNIT, **fields: Any) -> Claim:
    return Claim("radius", 7, "radius", "a", "daemon", "because", unit=json.loads(json.dumps(to_plain(unit))), **fields)


def ended(cause: str, at: datetime = NOON - 60 * SECOND) -> End:
    return End(cause, "so it went", "a", at)


NEVER = KeyView("radius", UNIT, None, NOON, daemon=replace(ALONE, runs_on=""))
LIVE = replace(NEVER, run=claim(), started=True, live=True, daemon=ALONE)
UNCLEAR = replace(LIVE, live=False)


def down(cause: str, facts: DaemonFacts = ALONE, **fields: Any) -> KeyView:
    return replace(UNCLEAR, end=ended(cause), daemon=facts, **fields)


FAILED = down("start-limit")
MOVED = down("node-died", replace(PAIR, able=()), run=claim(failed_on=("a",)))


def seen(decision: Decision) -> tuple[Any, ...]:
    match decision:
        case Start(plan=plan):
            return ("start", plan.failed_on)
        case Stop(why=why, rolls=rolls):
            return ("stop", why, rolls)
        case Idle(next_at=next_at):
            return ("idle", next_at)
        case Wait():
            return ("wait",)
        case Recover():
            return ("recover",)
        case _:
            return (type(decision).__name__.lower(),)


DISABLED, GROUPED = replace(UNIT, enabled=False), replace(UNIT, groups=("lan",))
TABLE: list[tuple[str, KeyView, tuple[Any, ...]]] = [
    ("never ran", NEVER, ("start", ())),
    ("disabled, never ran", replace(NEVER, unit=DISABLED), ("idle", None)),
    ("gone, never ran", replace(NEVER, unit=None), ("idle", None)),
    ("drained, never ran", replace(NEVER, daemon=replace(ALONE, drained=True)), ("idle", None)),
    ("a request for it is refused", replace(NEVER, requests=(Waiter("r1", NOON),)), ("close",)),
    ("lives", LIVE, ("idle", None)),
    ("lives, disabled", replace(LIVE, unit=DISABLED), ("stop", "disabled", False)),
    ("lives, unit gone", replace(LIVE, unit=None), ("stop", LIVE.gone, False)),
    ("lives, drained", replace(LIVE, daemon=replace(ALONE, drained=True)), ("stop", "node a is drained", False)),
    ("lives, a job by now", replace(LIVE, unit=Periodical(name="radius", exec=("/bin/true",), period=5)),
     ("stop", "it is not a daemon any more", False)),
    ("lives, its process sees a change", replace(LIVE, unit=replace(OTHER, environment={})),
     ("stop", "its unit changed: exec, environment", True)),
    ("lives, another title", replace(LIVE, unit=replace(UNIT, title="Other", stop_timeout=3.0, restart="never")),
     ("idle", None)),
    ("lives, its process finds a socket to notify", replace(LIVE, unit=replace(UNIT, ready="notify")),
     ("stop", "its unit changed: ready", True)),
    ("lives, its process finds a watchdog", replace(LIVE, unit=replace(UNIT, watchdog=9.0)),
     ("stop", "its unit changed: watchdog", True)),
    ("lives, another way to ask it", replace(LIVE, unit=replace(UNIT, ready=Probe(after=1.0))), ("idle", None)),
    ("lives, holds a group nobody declares", replace(LIVE, run=claim(groups=("lan",))),
     ("stop", "its unit changed: groups", True)),
    ("lives, the nodes disagree about groups", replace(LIVE, unit=GROUPED, groups=("lan", "wan")), ("idle", None)),
    ("lives, is told to stop already", replace(LIVE, unit=None, daemon=replace(ALONE, stop=OPERATOR)), ("idle", None)),
    ("lives on the other node", replace(LIVE, unit=OTHER, daemon=replace(PAIR, runs_on="b")), ("idle", None)),
    ("a job's run lives", replace(LIVE, run=replace(claim(), trigger="schedule")), ("idle", None)),
    ("no outcome and no life", UNCLEAR, ("recover",)),
    ("gone, no outcome and no life", replace(UNCLEAR, unit=None), ("recover",)),
    *((f"after {cause}", down(cause), ("start", ())) for cause in
      ("unwanted", "restart-requested", "storage", "runner-signalled", "runner-died", "node-died", "recalled")),
    *((f"after {cause}", down(cause), ("idle", None)) for cause in
      ("stop-requested", "exited", "exit-code", "signal", "not-ready", "unhealthy", "timeout", "cannot-start")),
    ("stopped, enabled since", down("stop-requested", replace(ALONE, enabled_since=True)), ("start", ())),
    ("stopped, its node rebooted", down("stop-requested", replace(ALONE, rebooted=True)), ("start", ())),
    ("stopped, an operator wants it", down("stop-requested", replace(ALONE, reset=True)), ("start", ())),
    ("stopped, its unit changed", down("stop-requested", unit=OTHER), ("start", ())),
    ("stopped, its unit is another on this node", down("stop-requested", replace(PAIR, runs_on="b"), unit=OTHER),
     ("idle", None)),
    ("stopped, its unit changed, its node is away", down("stop-requested", replace(ALONE, runs_on="b"), unit=OTHER),
     ("start", ())),
    ("stopped while it was down", down("node-died", replace(ALONE, stop=OPERATOR)), ("idle", None)),
    ("stopped by vcsd before it began", down("stopped-before-start", replace(ALONE, stop=replace(OPERATOR, cause="unwanted"))),
     ("start", ())),
    ("failed", FAILED, ("idle", None)),
    ("failed, enabled since", down("start-limit", replace(ALONE, enabled_since=True, rebooted=True)), ("idle", None)),
    ("failed, reset", down("start-limit", replace(ALONE, reset=True)), ("start", ())),
    ("failed, its unit changed", down("start-limit", unit=OTHER), ("start", ())),
    ("failed here, there is another", down("start-limit", PAIR), ("idle", None)),
    ("failed there", down("start-limit", replace(PAIR, runs_on="b")), ("start", ("b",))),
    ("failed everywhere", down("start-limit", replace(PAIR, runs_on="b"), run=claim(failed_on=("a",))), ("idle", None)),
    ("failed here once, the other one lives", replace(MOVED, daemon=PAIR), ("idle", None)),
    ("failed here once, the other one is gone", MOVED, ("start", ())),
    ("restarted there", down("restart-requested", replace(PAIR, runs_on="b")), ("start", ())),
]  # fmt: skip


@pytest.mark.parametrize(("view", "expected"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_what_a_daemon_needs(view: KeyView, expected: tuple[Any, ...]) -> None:
    assert seen(decide(view, NOON)) == expected


def test_it_is_not_started_again_in_a_hurry_after_its_runner_died() -> None:
    view = replace(FAILED, end=ended("runner-died", NOON))
    assert seen(decide(view, NOON + PAUSE / 2)) == ("idle", NOON + PAUSE)
    assert seen(decide(view, NOON + PAUSE)) == ("start", ())
    assert seen(decide(view, NOON - 60 * SECOND)) == ("start", ()), "the clock that wrote it was ahead"


def test_a_restart_is_left_to_the_node_where_it_was_for_a_moment() -> None:
    view = replace(FAILED, end=ended("restart-requested", NOON), daemon=replace(PAIR, runs_on="b"))
    assert seen(decide(view, NOON + SECOND)) == ("idle", NOON + STAYS_FOR)
    assert seen(decide(replace(view, daemon=replace(view.daemon, able=())), NOON + SECOND)) == ("start", ())
    assert seen(decide(replace(view, daemon=PAIR), NOON + SECOND)) == ("start", ())


def test_a_failed_daemon_says_what_to_do() -> None:
    decision = decide(FAILED, NOON)
    assert decision.why == "failed: so it went; `vcsctl reset-failed radius` when that is mended"
    everywhere = down("start-limit", replace(PAIR, runs_on="b"), run=claim(failed_on=("a",)))
    assert decide(everywhere, NOON).why.startswith("failed on a, b: so it went;")


VIEWS = st.builds(
    lambda unit, run, end, live, facts: replace(NEVER, unit=unit, run=run, end=end if run else None, live=live and not end, daemon=facts),
    st.sampled_from([UNIT, OTHER, DISABLED, None]),
    st.sampled_from([None, claim(), claim(OTHER), claim(failed_on=("a",)), claim(failed_on=("a", "b"))]),
    st.sampled_from([None, *(ended(cause) for cause in CAUSES)]),
    st.booleans(),
    st.builds(
        DaemonFacts, st.just("a"), st.booleans(), st.sampled_from([(), ("b",)]), st.sampled_from([(), ("b",)]),
        st.sampled_from(["a", "b"]), st.sampled_from([None, OPERATOR]), st.booleans(), st.booleans(), st.booleans(),
    ),
)  # fmt: skip


@given(VIEWS)
def test_only_what_is_wanted_starts_and_nothing_starts_beside_a_run(view: KeyView) -> None:
    decision = decide(view, NOON)
    assert decision.why
    if isinstance(decision, Start):
        assert view.unit is not None
        assert view.unit.enabled
        assert not view.daemon.drained
        assert view.run is None or view.end is not None
        assert "a" not in decision.plan.failed_on
    if isinstance(decision, Stop):
        assert view.live
        assert view.daemon.runs_on == "a"
        assert view.daemon.stop is None


@given(st.sampled_from(["exec", "user", "environment", "limits", "nice", "groups", "title", "log_keep"]))
def test_a_unit_that_was_on_record_is_the_unit_it_was(changed: str) -> None:
    values: dict[str, Any] = {
        "exec": ("x",), "user": "kim", "environment": {"B": "2"}, "limits": {"nofile": (5, 6)}, "nice": 3,
        "groups": ("lan",), "title": "T", "log_keep": 3,
    }  # fmt: skip
    unit = replace(UNIT, limits={"core": (0, 0)}, environment_files=("/etc/a",), umask=0o22)
    back = from_plain(json.loads(json.dumps(to_plain(unit))))
    assert seen_changes(back, unit) == ()
    after = replace(unit, **{changed: values[changed]})
    assert seen_changes(back, after) == ((changed,) if changed not in ("groups", "title", "log_keep") else ())


@pytest.mark.parametrize(
    ("changed", "late"),
    [
        pytest.param({"health": Health(tcp="127.0.0.1:1"), "restart": "never"}, ("restart", "health"), id="its runner"),
        pytest.param({"ready": Probe(after=2.0), "stop_timeout": 3.0}, ("stop_timeout", "ready"), id="asked otherwise"),
        pytest.param({"title": "Other", "groups": ("lan",), "enabled": False}, (), id="no business of the run"),
        pytest.param({"health": Health(tcp="127.0.0.1:1"), "nice": 3}, (), id="it is restarted anyway"),
        pytest.param({"watchdog": 3.0}, (), id="its process sees it"),
    ],
)
def test_what_counts_from_the_next_run_on(changed: dict[str, Any], late: tuple[str, ...]) -> None:
    assert late_changes(UNIT, replace(UNIT, **changed)) == late


def test_each_key_of_a_daemon_restarts_it_or_counts_later_or_concerns_no_run() -> None:
    """A new key is to be put where it belongs."""
    no_run = {"schedule", "title", "description", "provider", "enabled", "nodes", "groups", "run_on"}
    assert set(keys_of("daemon")) == no_run | set(SEEN_BY_THE_PROCESS) | {"watchdog"} | set(HEEDED_BY_THE_RUNNER)
