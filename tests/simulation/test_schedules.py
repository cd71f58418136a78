"""Schedules that come and go, and clocks that are wrong: nothing is made up for, nothing has two outcomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.commands import Conduct
from tests.simulation.guards import replaced
from tests.simulation.operators import Operators
from tests.simulation.scheduler import Process
from tests.simulation.script import Script, begun, catalog, cell, each_minute, once
from tests.simulation.world import NOON, Setting
from vcsctl.domain.run import Request
from vcsctl.domain.unit import Daemon, Unit, schedule_of
from vcsctl.store import queue
from vcsctl.vcsd import sharing

SEEDS = range(4)
seeds = pytest.mark.parametrize("seed", SEEDS)
HOUR_S = 3600.0


def within(name: str, seconds: float) -> Request:
    return Request("r0000000001", name, name, "op", "n2", seconds)


@seeds
def test_a_drained_node_whose_clock_is_ahead_calls_nothing_too_late(seed: int) -> None:
    """A node under repair: drained, and its clock an hour ahead. The request and the slot are n2's to start."""
    nightly = replace(once("nightly", at="12:01"), start_within=30.0)
    asked = once("asked", at="20:00")
    with cell(seed, 2, nightly, asked) as script:
        script.until(-5.0)
        script.node("n1").clock_offset_s = HOUR_S
        script.at(-4.0, lambda: script.drain("n1") and None)
        n2 = script.managers["n2"].process
        script.at(9.0, n2.stop)  # else it would always be faster
        script.at(10.0, lambda: script.ask(lambda: queue.enter_request(script.paths, within("asked", 600.0))) and None)
        script.at(30.0, n2.go_on)
        script.until(130.0)
        found, rows = script.verdict(120.0)
        assert not found
        assert {(row.key, row.outcome) for row in rows.values()} == {("asked", "ok"), ("nightly", "ok")}


@seeds
def test_a_drained_node_whose_clock_is_behind_takes_no_claimed_slot_for_the_future(seed: int) -> None:
    with cell(seed, 2, each_minute("a")) as script:
        script.until(-5.0)
        script.node("n1").clock_offset_s = -HOUR_S
        script.at(-4.0, lambda: script.drain("n1") and None)
        script.until(130.0)
        found, rows = script.verdict(125.0)
        assert not found
        assert [row.outcome for row in rows.values()] == ["ok"] * 3


@seeds
def test_by_a_clock_that_is_ahead_no_slot_enters_the_queue(seed: int) -> None:
    with cell(seed, 1, once("a", at="12:01")) as script:
        script.until(-5.0)
        script.node("n1").clock_offset_s = HOUR_S
        script.until(30.0)
        assert not script.disk.folder("/share/queue").names
        script.node("n1").clock_offset_s = 0.0
        script.until(130.0)
        found, rows = script.verdict(120.0)
        assert not found
        assert [row.outcome for row in rows.values()] == ["ok"]


OTHERWISE: list[Unit | None] = [
    None,
    Daemon(name="a", exec=("/bin/true",), groups=("g",), run_on="any"),
    Daemon(name="a", exec=("/bin/true",)),
    replace(once("a", at="20:00"), run_on="each"),
]


@seeds
@pytest.mark.parametrize("meanwhile", OTHERWISE, ids=["no unit", "a daemon", "a daemon of each node", "another KEY"])
@pytest.mark.parametrize("restarted", [False, True], ids=["", "vcsd was restarted"])
def test_a_slot_from_before_a_unit_came_back_is_not_made_up_for(
    seed: int, meanwhile: Unit | None, *, restarted: bool
) -> None:
    beside = once("b", at="20:00")
    before = once("a")
    with cell(seed, 2, before, beside) as script:
        script.until(-5.0)
        for number, node in enumerate(("n1", "n2")):
            others = (meanwhile, beside) if meanwhile is not None else (beside,)
            script.at(-4.0 + number, lambda node=node, others=others: script.push(node, *others))  # type: ignore[misc]
            if restarted:
                script.at(10.0, script.managers[node].process.kill)
            script.at(60.0 + number, lambda node=node: script.push(node, before, beside))  # type: ignore[misc]
        script.until(200.0)
        assert not [one for one in script.witness.executions if one.key == "a" and one.slot]
        found, rows = script.verdict(NOON)
        assert not [sentence for sentence in found if "no outcome" not in sentence]
        assert not [row for row in rows.values() if row.slot and row.key == "a"]


@seeds
def test_a_unit_that_one_node_loses_for_a_while_keeps_its_place_in_the_queue(seed: int) -> None:
    """Another node has it all the time. It waits behind a run of its group."""
    unit, beside = once("z", "g"), once("a", "g")
    with cell(seed, 2, unit, beside, lasts_s=40.0) as script:
        script.until(-9.0)
        script.at(-8.0, lambda: script.push("n1", beside))
        script.at(20.0, lambda: script.push("n1", unit, beside))
        script.until(130.0)
        found, rows = script.verdict(120.0)
        assert not found
        assert {row.key: row.outcome for row in rows.values()} == {"a": "ok", "z": "ok"}


@seeds
@pytest.mark.parametrize("done", [False, True], ids=["before it is published", "after"])
def test_a_crash_in_the_push_that_takes_a_unit_away_changes_nothing(seed: int, *, done: bool) -> None:
    unit, beside = once("a"), once("b", at="20:00")
    with cell(seed, 1, unit, beside) as script:
        script.until(-5.0)
        script.upon("n1 vcsd", "rename", r"nodes/n1\.units\.json$", script.kill, done=done)
        script.at(-4.0, lambda: script.push("n1", beside))
        script.at(60.0, lambda: script.push("n1", unit, beside))
        script.until(130.0)
        assert not script.ran("a")


@seeds
def test_a_node_that_is_allowed_again_makes_up_for_nothing_of_its_own(seed: int) -> None:
    unit = replace(once("a"), run_on="each")
    away = replace(unit, nodes=("n2",))
    with cell(seed, 2, unit) as script:
        script.until(-5.0)
        for number, node in enumerate(("n1", "n2")):
            script.at(-4.0 + number, lambda node=node: script.push(node, away))  # type: ignore[misc]
            script.at(60.0 + number, lambda node=node: script.push(node, unit))  # type: ignore[misc]
        script.until(130.0)
        assert [node for _, node in script.ran("a@n2")] == ["n2"]
        assert not script.ran("a@n1")


@seeds
def test_a_node_that_starts_says_nothing_of_what_runs_on_another(seed: int) -> None:
    with cell(seed, 2, replace(once("a"), run_on="each")) as script:
        script.until(5.0)
        script.managers["n1"].process.kill()
        script.until(60.0)
        for key in ("a@n1", "a@n2"):
            assert "since.none" not in script.disk.folder(f"/share/state/{key}").names


@seeds
def test_a_change_by_hand_that_meets_a_reload_is_not_lost(seed: int) -> None:
    """The reload is the first to see it: the poll after it finds nothing new."""
    with cell(seed, 1, each_minute("a")) as script:
        script.until(0.5)
        n1, operators = script.node("n1"), Operators(script, script.random)
        script.upon("n1 operator", "rename", r"overrides/a\.json$", lambda _: script.reload(n1), done=True)
        script.at(5.0, lambda: operators.change("a", {"period": "30"}, n1))
        script.until(130.0)
        assert not script.verdict(125.0)[0]
        assert script.managers["n1"].cell.services.by_key["a"].schedule == schedule_of(
            replace(each_minute("a"), period=30), "UTC"
        )
        assert len(script.ran("a")) == 1


@seeds
def test_what_a_crash_left_in_the_queue_of_a_claim_that_is_over_is_shown_no_longer(seed: int) -> None:
    with cell(seed, 2, once("a", at="20:00")) as script:
        taken: list[str] = []

        def at_change(process: Process, call: str, path: str, done: bool) -> None:
            if call == "unlink" and "/queue/a" in path and not done and not taken:
                taken.append(path)
                script.kill(process)

        script.posix.at_change = at_change
        script.at(10.0, lambda: script.ask(lambda: queue.enter_request(script.paths, within("a", 0.0))) and None)
        script.until(60.0)
        found, rows = script.verdict(50.0)
        assert taken
        assert not found
        assert [row.cause for row in rows.values()] == ["too-late"]
        assert not script.disk.folder("/share/queue").names


# The file server's own times.


@seeds
def test_nothing_has_its_name_before_it_has_its_moment(seed: int) -> None:
    """Who looked in between would keep a moment in 1970."""
    late: list[str] = []
    with cell(seed, 2, each_minute("a", "g"), replace(once("b"), run_on="each")) as script:

        def at_change(process: Process, call: str, path: str, done: bool) -> None:
            if call == "setattr" and "/.tmp." not in path:
                late.append(path)

        script.posix.at_change = at_change
        script.until(70.0)
        assert script.ran("a")
    assert not late


def reboot_under_a_cut(seed: int, grace_s: float) -> list[str]:
    """n1 is cut off, and at the same moment the file server reboots, in a second: what was broken."""
    a, b = replace(once("a", "g", nodes=("n1",)), stop_timeout=600.0), each_minute("b", "g", nodes=("n2",))
    setting = Setting(nodes=2, catalog=catalog(a, b), lease_s=60.0, heartbeat_s=3.0, jitter_s=0.05, grace_s=grace_s)
    with begun(Script(seed, setting), lasts_s=155.0) as script:
        script.node("n2").clock_offset_s = -2.0  # n1 is first

        def strike() -> None:
            script.cut(script.node("n1"), 300.0)
            script.server.go_down()
            script.at(11.0, script.server.come_back)

        script.at(10.0, strike)
        script.until(400.0)
        assert script.ran("b")
        return script.verdict(100.0)[0]


@seeds
def test_a_grace_period_of_two_thirds_of_the_lease_is_long_enough(seed: int) -> None:
    assert not reboot_under_a_cut(seed, 42.0)


def test_a_shorter_one_gives_locks_away_under_runs_that_are_cut_off() -> None:
    """Which is why the documentation says how long it has to be."""
    assert any("together in group g" in text for seed in SEEDS for text in reboot_under_a_cut(seed, 18.0))


# Places in the queue that nobody comes for: each of the two rules by itself is enough.


@seeds
@pytest.mark.parametrize("rule", ["eligible", "lapse"])
def test_a_reservation_of_a_node_that_is_off_blocks_nobody_by_either_rule_alone(seed: int, rule: str) -> None:
    other = {
        "eligible": replaced(sharing, "reserving", lambda entries, free_looks: list(entries)),
        "lapse": replaced(sharing.Sharing, "_starts_elsewhere", lambda self, key: True),
    }
    units = each_minute("a", "g", nodes=("n1",)), once("b", "g", nodes=("n2",))
    with other[rule], cell(seed, 2, *units) as script:
        n2 = script.node("n2")
        n2.clock_offset_s = -2.0
        script.conduct = lambda job: Conduct(30.0 if job.claim.fence == 1 else 2.0)
        script.at(20.0, n2.power_off)
        script.until(200.0)
        begun_at = [one.began_at - NOON for one in script.witness.executions if one.key == "a"]
        assert len(begun_at) == 4
        assert all(at - 60.0 * number < 25.0 for number, at in enumerate(begun_at)), begun_at
