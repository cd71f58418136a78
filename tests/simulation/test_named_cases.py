"""The interleavings that broke earlier drafts of the protocol, each as it would happen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.commands import Conduct
from tests.simulation.guards import no_fencing, no_first_wins
from tests.simulation.operators import Operators
from tests.simulation.scheduler import Process
from tests.simulation.script import LEASE_S, cell, each_minute, once
from tests.simulation.world import NOON
from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.run import Request
from vcsctl.store import history, locks, queue, state

SEEDS = range(4)
seeds = pytest.mark.parametrize("seed", SEEDS)


def late_write(seed: int, record: str) -> tuple[list[str], str, list[tuple[str, str]]]:
    """n1 is cut off just as it publishes a record of a.1, for so long that its locks go to n2; then the call arrives.

    What was broken, the outcome, and where it ran.
    """
    with cell(seed, 2, once("a", "g"), each_minute("b", "g", nodes=("n2",))) as script:
        n1 = script.node("n1")
        script.upon("n1", "link|rename", record, lambda _: script.cut_under_way(n1, 5 * LEASE_S), done=False)
        script.node("n2").clock_offset_s = -2.0  # n1 is first
        script.until(150.0)
        found, rows = script.verdict(120.0)
        assert len(script.ran("b")) == 3, "the group went on"
        return found, rows["a.1"].outcome, script.ran("a")


LATE = [
    (r"/state/a/1\.json$", {("ok", "n2")}),  # as good as never claimed by n1
    (r"/state/a/1\.started$", {("ok", "n2"), ("lost", "")}),  # on record before the cut, it may have begun: lost
    (r"/state/a/1\.end\.json$", {("ok", "n1"), ("lost", "n1")}),  # on record before the cut or not
]


@pytest.mark.parametrize(("record", "possible"), LATE, ids=["claim", "start", "outcome"])
def test_a_stale_holders_late_writes_after_its_lock_was_given_away(record: str, possible: set[tuple[str, str]]) -> None:
    seen = set()
    for seed in range(12):
        found, outcome, ran = late_write(seed, record)
        assert not found
        seen.add((outcome, ran[0][1] if ran else ""))
    assert seen == possible


def test_were_records_renamed_to_their_names_the_late_write_would_put_the_past_back() -> None:
    with no_first_wins():
        seen = {
            (outcome, ran[0][1] if ran else "")
            for _, outcome, ran in (late_write(seed, LATE[1][0]) for seed in range(12))
        }
    assert ("lost", "n2") in seen, "it ran well on n2, and the late start of n1 made that a loss"


def power_goes(seed: int, lease_s: float | None) -> str:
    with cell(seed, 1, once("a", "g"), lease_s=lease_s) as script:
        n1 = script.node("n1")
        script.upon("n1 runner", "link", r"/1\.end\.json$", lambda _: script.power_off(n1, 5.0), done=True)
        script.until(90.0)
        found, rows = script.verdict(60.0)
        assert not found
        assert script.ran("a") == [("a.1", "n1")]
        return rows["a.1"].outcome


@pytest.mark.parametrize(
    ("lease_s", "possible"), [(None, {"ok", "lost"}), (LEASE_S, {"ok"})], ids=["local disk", "file server"]
)
def test_an_outcome_written_just_before_the_power_goes(lease_s: float | None, possible: set[str]) -> None:
    """What was durable counts, and nothing is lost in silence."""
    assert {power_goes(seed, lease_s) for seed in range(12)} == possible


@seeds
@pytest.mark.parametrize(
    ("who", "call", "path"),
    [("n1 vcsd", "link", r"/state/a/1\.json$"), ("n1 vcsd", "link", "/running/"), ("n1 runner", "sync", "/locks/key")],
    ids=["claim linked", "run indexed", "runner's first proof"],
)
def test_a_claim_without_a_start_is_started_once_under_its_own_number(
    seed: int, who: str, call: str, path: str
) -> None:
    with cell(seed, 2, once("a", "g")) as script:
        script.node("n2").clock_offset_s = -2.0
        script.upon(who, call, path, script.kill, done=True)
        script.until(90.0)
        found, rows = script.verdict(60.0)
        assert not found
        assert [run for run, _ in script.ran("a")] == ["a.1"]
        assert rows["a.1"].outcome == "ok"


def pause_between_lock_and_exec(seed: int) -> list[str]:
    """The runner on n1 hangs on a mount before it executes, its node is cut off, n2 gets the group meanwhile."""
    with cell(seed, 2, once("a", "g", nodes=("n1",)), each_minute("b", "g", nodes=("n2",))) as script:
        n1 = script.node("n1")
        script.conduct = lambda job: Conduct(55.0, hangs_s=4 * LEASE_S if job.claim.key == "a" else 0.0)
        script.node("n2").clock_offset_s = -2.0
        cut = lambda: script.cut(n1, 4.2 * LEASE_S)  # noqa: E731 - it has a name to be read
        script.upon("n1 runner", "link", r"/a/1\.started$", lambda _: script.at(1.0, cut), done=True)
        script.until(200.0)
        assert script.ran("b")
        return script.verdict(150.0)[0]


def test_a_pause_between_lock_and_exec_ends_without_an_exec() -> None:
    assert not any(pause_between_lock_and_exec(seed) for seed in SEEDS)
    with no_fencing():
        assert any("together in group g" in said for seed in SEEDS for said in pause_between_lock_and_exec(seed))


@seeds
def test_vcsd_that_is_stopped_between_claim_and_fork_starts_nothing_on_a_lock_that_is_gone(seed: int) -> None:
    with cell(seed, 2, once("a", "g"), each_minute("b", "g", nodes=("n2",)), lasts_s=20.0) as script:
        script.node("n2").clock_offset_s = -2.0

        def stop(process: Process) -> None:
            process.stop()
            script.cut(script.node("n1"), 4 * LEASE_S)
            script.scheduler.at(script.scheduler.now + 5 * LEASE_S, process.go_on)
            script.scheduler.wait(0.0)

        script.upon("n1 vcsd", "sync", "/locks/group/g$", stop, done=True)
        script.until(200.0)
        found, rows = script.verdict(150.0)
        assert not found
        assert script.ran("a") == [("a.1", "n2")]
        assert rows["a.1"].outcome == "ok"


@seeds
@pytest.mark.parametrize("pushed_on", ["n1", "n2"])
def test_groups_changed_under_a_running_run_count_for_who_starts_after_the_push(seed: int, pushed_on: str) -> None:
    """a runs on n1 without a group; a push reaches one node only, and puts a into b's group."""
    a, b = once("a", nodes=("n1",)), once("b", "g", nodes=("n2",), at="12:01")
    with cell(seed, 2, a, b) as script:
        script.conduct = lambda job: Conduct(90.0 if job.claim.key == "a" else 1.0)
        script.at(20.0, lambda: script.push(pushed_on, replace(a, groups=("g",)), b))
        script.until(150.0)
        assert not script.verdict(120.0)[0]
        first, second = script.witness.executions
        assert (first.key, second.key) == ("a", "b")
        assert first.ended_at is not None
        assert first.ended_at <= second.began_at < first.ended_at + 10.0


@seeds
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_clock_that_jumps_a_day_ahead_for_three_seconds_claims_nothing_of_tomorrow(seed: int, nodes: int) -> None:
    with cell(seed, nodes, each_minute("a", "g")) as script:
        n1 = script.node("n1")
        script.at(70.0 + seed, lambda: setattr(n1, "clock_offset_s", 86400.0))
        script.at(73.0 + seed, lambda: setattr(n1, "clock_offset_s", 0.0))
        script.until(250.0)
        found, rows = script.verdict(240.0)
        assert not found
        assert [row.outcome for row in rows.values()] == ["ok"] * 5
        slots = sorted(row.slot.timestamp() - NOON for row in rows.values() if row.slot)
        assert slots == [0.0, 60.0, 120.0, 180.0, 240.0]


@seeds
def test_a_node_back_from_repair_with_an_old_tree_erases_no_override(seed: int) -> None:
    """n2 is away during a push and an operator's change, and comes back with what it had."""
    old, new = each_minute("a", "g"), replace(each_minute("a", "g"), period=2)
    with cell(seed, 2, old) as script:
        n2, operators = script.node("n2"), Operators(script, script.random)
        script.at(5.0, n2.power_off)
        script.at(10.0, lambda: script.push("n1", new))
        script.at(20.0, lambda: operators.change("a", {"period": "3"}, script.node("n1")))
        script.at(70.0, lambda: script.boot(n2))
        script.until(200.0)
        assert not script.verdict(150.0)[0]
        kept = script.disk.find("/share/overrides/a.json")
        assert kept is not None
        assert b'"value":3' in kept[0].data


@seeds
@pytest.mark.parametrize("trouble", ["off", "stopped", "drained"])
def test_a_reservation_for_an_entry_that_nobody_can_claim_blocks_nobody(seed: int, trouble: str) -> None:
    """b, which only n2 may run, waits in the queue for longer than `fair_after`; a wants the same group."""
    with cell(seed, 2, each_minute("a", "g", nodes=("n1",)), once("b", "g", nodes=("n2",))) as script:
        n2 = script.node("n2")
        n2.clock_offset_s = -2.0
        script.conduct = lambda job: Conduct(30.0 if job.claim.fence == 1 else 2.0)
        troubles = {
            "off": n2.power_off,
            "stopped": lambda: script.managers["n2"].process.stop(),
            "drained": lambda: script.drain("n2"),
        }
        script.at(20.0, troubles[trouble])
        script.until(260.0)
        begun = [one.began_at - NOON for one in script.witness.executions if one.key == "a"]
        assert len(begun) == 5
        assert all(at - 60.0 * number < 25.0 for number, at in enumerate(begun)), begun
        assert not script.ran("b")


@seeds
@pytest.mark.parametrize("off_s", [3.0, -3.0])
def test_two_clocks_three_seconds_apart_repeat_no_slot(seed: int, off_s: float) -> None:
    with cell(seed, 2, each_minute("a", "g"), each_minute("b", "g")) as script:
        script.node("n2").clock_offset_s = off_s
        script.until(200.0)
        found, rows = script.verdict(190.0)
        assert not found
        assert sorted(row.outcome for row in rows.values()) == ["ok"] * 8


@seeds
@pytest.mark.parametrize("off_s", [30.0, -30.0])
def test_a_clock_that_is_half_a_minute_off_claims_nothing_and_says_so(seed: int, off_s: float) -> None:
    with cell(seed, 2, each_minute("a", "g", nodes=("n2",)), each_minute("b", "g")) as script:
        script.node("n2").clock_offset_s = off_s
        script.until(130.0)
        assert not script.verdict(125.0)[0]
        assert {node for _, node in script.ran("b")} == {"n1"}
        assert not script.ran("a")
        published = script.disk.find("/share/nodes/n2.json")
        assert published is not None
        assert b"the clock of node n2 is 30 s" in published[0].data


# What the simulation itself has found.


@seeds
def test_a_lock_that_another_node_only_tried_does_not_make_a_run_live_for_ever(seed: int) -> None:
    """n1 dies between claim and start; when it looks again another holds the KEY's lock for a moment."""
    with cell(seed, 1, once("a", "g")) as script:

        def try_it() -> None:
            lock = locks.try_lock(script.paths.key_lock("a"))
            assert lock is not None
            script.scheduler.sleep(5.0)
            script.posix.close(lock.descriptor)

        def die(process: Process) -> None:
            script.at(0.5, lambda: script.ask(try_it) and None)
            script.kill(process)

        script.upon("n1 vcsd", "link", "/running/", die, done=True)
        script.until(60.0)
        found, rows = script.verdict(30.0)
        assert not found
        assert rows["a.1"].outcome == "ok"
        assert script.witness.executions[0].began_at < NOON + 20.0


@seeds
def test_a_node_does_not_take_its_own_former_life_for_another_machine(seed: int) -> None:
    """It boots while it is drained, and is resumed: the news is told before the next heartbeat has looked around."""
    with cell(seed, 2, each_minute("a", "g", nodes=("n1",))) as script:
        n1 = script.node("n1")
        script.at(5.0, lambda: script.drain("n1"))
        script.at(10.0, n1.power_off)
        script.at(20.0, lambda: script.boot(n1))
        script.at(20.5 + seed, lambda: script.resume("n1"))
        script.until(130.0)
        found, rows = script.verdict(125.0)
        assert not found
        assert len(rows) == 3


@seeds
def test_a_retry_that_waits_asks_nothing_of_the_share_again_and_again(seed: int) -> None:
    """a.1 is killed, b takes the group for long, and the second attempt of a waits for it."""
    with cell(seed, 1, once("a", "g", on_lost="rerun"), once("b", "g")) as script:
        script.conduct = lambda job: Conduct(40.0 if job.claim.key == "b" else 1.0)
        script.upon("n1 runner a.1", "link", r"/1\.started$", script.kill, done=True)
        script.until(10.0)
        script.posix.calls.clear()
        script.until(35.0)
        assert script.posix.calls["link"] + script.posix.calls["unlink"] < 10, script.posix.calls
        script.until(60.0)
        assert script.ran("a") == [("a.2", "n1")]
        assert script.ran("b") == [("b.1", "n1")]


@seeds
def test_slots_that_waited_in_the_queue_are_never_said_to_have_been_seen_by_nobody(seed: int) -> None:
    """The claim before them is looked after once more when they are claimed: their entry is not its business."""
    with cell(seed, 2, each_minute("a", "g"), once("b", "g", at="20:00")) as script:
        script.conduct = lambda job: Conduct(130.0 if job.claim.key == "b" else 1.0)
        request = Request("r0000000001", "b", "b", "op", "n1")
        script.at(10.0, lambda: script.ask(lambda: queue.enter_request(script.paths, request)) and None)
        script.until(180.0)
        found, rows = script.verdict(170.0)
        assert not found
        assert script.ran("b")
        assert {row.cause for row in rows.values() if row.key == "a"} == {"exited", "coalesced"}


@seeds
def test_a_run_that_is_being_stopped_has_no_longer_than_others_when_it_loses_its_locks(seed: int) -> None:
    with cell(seed, 1, replace(once("a", "g"), stop_timeout=600.0), lease_s=None) as script:
        script.conduct = lambda job: Conduct(900.0, heeds_stop_s=None)
        stop = StopRequest("op", "n1")
        script.at(5.0, lambda: script.ask(lambda: state.write_stop(script.paths, "a", 1, stop)) and None)
        script.at(30.0, lambda: setattr(script.disk, "read_only", True))
        script.at(60.0, lambda: setattr(script.disk, "read_only", False))
        script.until(90.0)
        found, rows = script.verdict(80.0)
        assert not found
        assert (rows["a.1"].cause, script.witness.executions[0].ended_at < NOON + 55.0) == ("storage", True)


@seeds
def test_whoever_reads_the_history_while_an_outcome_moves_there_sees_it(seed: int) -> None:
    """Readers stand still at every point of their reading, from before the outcome's row is written to after its
    records are pruned."""
    with cell(seed, 1, each_minute("a"), lasts_s=1.0) as script:
        looks: list[bool] = []

        def read() -> None:
            looks.append("a.1" in {row.id for row in history.read(script.paths, "a")})

        def begin(_: Process) -> None:
            for number in range(100):
                reader = script.ask(read)
                assert reader is not None
                script.scheduler.at(script.scheduler.now + number / 10_000, reader.stop)
                script.scheduler.at(script.scheduler.now + 90.0, reader.go_on)

        script.upon("n1 runner a.1", "link", r"/1\.end\.json$", begin, done=True)
        script.until(85.0)
        assert "1.json" not in script.disk.folder("/share/state/a").names, "its records were pruned meanwhile"
        script.until(110.0)
        assert len(looks) == 100
        assert all(looks)


@seeds
def test_a_run_stops_with_its_storage_for_the_sake_of_a_group_that_only_another_node_knows(seed: int) -> None:
    """By n1's own unit it is in no group, so that nobody would mind if it went on without its locks."""
    old = replace(once("a", nodes=("n1",)), run_on="each")
    other = once("b", "g", nodes=("n2",), at="12:01")
    with cell(seed, 2, old, other, lasts_s=120.0) as script:
        script.until(-5.0)
        script.push("n2", replace(old, groups=("g",)), other)
        script.at(5.0, lambda: script.cut(script.node("n1"), 5 * LEASE_S))
        script.until(200.0)
        found, rows = script.verdict(190.0)
        assert not found
        assert rows["a@n1.1"].outcome == "lost"
        assert [node for _, node in script.ran("b")] == ["n2"]


@seeds
def test_a_request_for_a_node_that_a_push_takes_away_is_disposed_of_by_that_node(seed: int) -> None:
    before = replace(once("c", at="20:00"), run_on="each")
    after = replace(before, nodes=("n2",))
    request = Request("r0000000001", "c@n1", "c", "op", "n2")
    with cell(seed, 2, before) as script:
        script.until(0.5)  # both are up
        vcsd = script.managers["n1"].process
        script.at(1.0, vcsd.stop)
        script.at(2.0, lambda: script.ask(lambda: queue.enter_request(script.paths, request)) and None)
        for node in ("n1", "n2"):
            script.at(3.0, lambda node=node: script.push(node, after))  # type: ignore[misc]
        script.at(10.0 + seed, vcsd.go_on)
        script.until(60.0)
        found, rows = script.verdict(50.0)
        assert not found
        assert [(row.key, row.cause, row.requests) for row in rows.values()] == [("c@n1", "masked", (request.id,))]
        assert not script.disk.folder("/share/queue").names
