"""Several vcsd of different node names on one directory, each promise of the many by itself."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from cell import Cell, Node
from sites import Site
from witness import Witness, broken_promises, recorded

from vcsctl.store import locks

MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"
HAND_OVERS, LATE_HAND_OVERS = 50, 6
BUSY_POLL_S = 0.2  # the default
HURRIED_S = 1.0  # for so long a waiter looks every 10 ms
CellOf = Callable[..., Cell]


def test_a_request_is_taken_up_by_a_node_that_may_run_it(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", "c")
    cell["c"].configure("node: c\nlabels: [tape]\nheartbeat: 1s\n")
    cell.unit("named", f"{MANUAL}nodes: [b]\nexec: {witness.command()}\n")
    cell.unit("labelled", f"{MANUAL}nodes: ['label:tape']\nexec: {witness.command()}\n")
    cell.start()
    for name in ("named", "labelled"):
        done = cell["a"].vcsctl("run", name, "--wait")
        assert done.returncode == 0, done
    assert {one.execution.key: one.execution.node for one in witness.begun().values()} == {
        "named": "b",
        "labelled": "c",
    }
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_a_request_is_entered_and_followed_on_a_machine_without_vcsd(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "desk")
    cell["a"].unit("job", f"{MANUAL}exec: {witness.command()}\n")
    cell["a"].start()
    done = cell["desk"].vcsctl("run", "job", "--wait")
    assert (done.returncode, "ok: exited with code 0" in done.stdout) == (0, True), done
    assert [one.execution.node for one in witness.begun().values()] == ["a"]


def test_each_allowed_node_runs_what_is_for_each_and_one_what_is_for_any(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", "c")
    cell.unit("each", f"{MANUAL}nodes: [a, c]\nrun_on: each\nexec: {witness.command()}\n")
    cell.unit("any", f"{MANUAL}exec: {witness.command()}\n")
    cell.start()
    assert cell["b"].vcsctl("run", "each", "any", "--wait").returncode == 0
    begun = [one.execution for one in witness.begun().values()]
    assert sorted(one.key for one in begun) == ["any", "each@a", "each@c"]
    assert all(one.key in ("any", f"each@{one.node}") for one in begun)
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_a_nodes_name_is_refused_to_a_second_vcsd_while_the_first_lives(cell_of: CellOf) -> None:
    cell = cell_of("a")
    cell.start()
    second = cell.add("second", "node: a\n")
    second.start(until_it_answers=False)
    assert second.vcsd is not None
    assert second.vcsd.wait(20) == 5
    assert "another vcsd runs as node a" in second.log()
    cell["a"].power_off()
    second.start()  # a dead one's name is free, on whatever machine


def test_a_host_name_is_refused_to_a_second_machine_while_the_first_lives(cell_of: CellOf) -> None:
    cell = cell_of("a", "b")
    cell["a"].start()
    cell["b"].preamble = cell["b"].preamble.replace("b.example", "a.example")
    cell["b"].start(until_it_answers=False)
    assert cell["b"].vcsd is not None
    assert cell["b"].vcsd.wait(20) == 5
    assert "node a is another machine with this one's host name a.example" in cell["b"].log()


def test_a_group_is_handed_from_node_to_node_within_one_busy_poll(cell_of: CellOf, witness: Witness) -> None:
    """From the first command's last word to the next one's first, by one clock. `poll` is long: it helps nobody here."""
    cell = cell_of("a", "b", configuration=f"poll: 10s\npoll_busy: {BUSY_POLL_S * 1000:.0f}ms\n")
    for name, seconds in (("soon", 0.1), ("late", HURRIED_S + 0.3)):
        for node in ("a", "b"):
            command = witness.command("g", seconds)
            cell.unit(f"{name}-{node}", f"{MANUAL}nodes: [{node}]\ngroups: [g]\nexec: {command}\n")
    cell.start()
    soon_s = hand_overs(cell, witness, "soon", HAND_OVERS)
    late_s = hand_overs(cell, witness, "late", LATE_HAND_OVERS)
    median_s = statistics.median(soon_s)
    print(f"\n{len(soon_s)} hand-overs, median {median_s * 1000:.0f} ms, longest {max(soon_s) * 1000:.0f} ms")
    print(f"{len(late_s)} to those that had waited long, longest {max(late_s) * 1000:.0f} ms")
    assert len(soon_s) >= HAND_OVERS / 2
    assert median_s < BUSY_POLL_S
    # Who has waited long looks once a busy poll; what ending and starting cost this machine, the others have shown.
    assert len(late_s) >= LATE_HAND_OVERS / 2
    # The middle one: where other tests run beside, a single one may wait for the processor.
    assert statistics.median(late_s) < BUSY_POLL_S + max(soon_s)
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def hand_overs(cell: Cell, witness: Witness, name: str, count: int) -> list[float]:
    """The pauses between runs of which the second was waiting when the first ended."""
    asked_at: list[float] = []
    before = len(witness.begun())
    for number in range(count + 1):
        node = cell["ab"[number % 2]]
        node.request(f"{name}-{node.name}")
        asked_at.append(time.monotonic())  # it has been seen by then
        node.until(lambda wanted=before + number: len(witness.begun()) > wanted, f"run {number} has begun")
    cell["a"].until(lambda: len(recorded(cell.shared)) == before + count + 1, "all are in the history")
    runs = [one.execution for one in witness.begun().values()][before:]
    return [
        after.began_at - first.ended_at
        for at, (first, after) in zip(asked_at[1:], pairwise(runs), strict=True)
        if first.ended_at is not None and at < first.ended_at
    ]


def test_what_another_node_starts_and_runs_is_no_line_of_this_ones_log(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    gate = cell.root / "gate"
    cell.unit("job", f"{MANUAL}exec: [/bin/sh, -c, 'while ! [ -e {gate} ]; do sleep 0.05; done']\n")
    cell.start("a")
    cell["a"].stop()
    cell["b"].request("job")
    held = cell["a"].root / "held"
    cell["a"].start(hold_at="locks taken")
    cell["a"].until(held.exists, "a has the lock, and has not said for what")
    cell.start("b")
    for _ in range(3):  # its answer to the next one comes after a pass
        assert cell["b"].wake()
    held.unlink()
    cell["a"].until(lambda: started(cell, "job"), "it runs on a")
    for _ in range(3):
        assert cell["b"].wake()
    cell["a"].kill()
    cell["a"].start()
    cell["a"].until(lambda: "job.1: lives on; watched from now on" in cell["a"].log(), "its own runs are said")
    gate.touch()
    cell["a"].until(lambda: cell["a"].history("job"), "it is over")
    assert not [line for line in cell["b"].log().splitlines() if "its own run" in line or "lives on" in line]


def test_a_lock_that_stays_held_is_said(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    cell["a"].preamble += "\nfrom vcsctl.vcsd import loop\nloop._PASSING_S = 1.0\n"
    cell.unit("job", f"{MANUAL}exec: {witness.command()}\n")
    cell.start()
    held = locks.try_lock(cell.paths.key_lock("job"))
    assert held is not None
    cell["a"].request("job")
    cell["a"].until(lambda: "job: its own run is not over (an unknown holder)" in cell["a"].log(), "it says why")
    held.close()
    cell["a"].until(lambda: cell["a"].history("job"), "it has run")


def test_a_drained_node_starts_nothing_and_finishes_what_it_runs(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    gate = cell.root / "gate"
    cell.unit("long", f"{MANUAL}nodes: [a]\nexec: [/bin/sh, -c, 'while ! [ -e {gate} ]; do sleep 0.05; done']\n")
    cell.unit("only", f"{MANUAL}nodes: [a]\nexec: {witness.command()}\n")
    cell.unit("any", f"{MANUAL}exec: {witness.command()}\n")
    cell.start()
    cell["a"].request("long")
    cell["a"].until(lambda: started(cell, "long"), "the long one has started")
    assert cell["b"].vcsctl("drain", "a").returncode == 0
    cell["a"].request("only")
    for _ in range(3):
        assert cell["a"].vcsctl("run", "any", "--wait").returncode == 0
    assert {one.execution.node for one in witness.begun().values()} == {"b"}
    assert not cell["a"].history("long")
    gate.touch()
    assert cell["b"].vcsctl("drain", "a", "--wait").returncode == 0
    assert [row["outcome"] for row in cell["a"].history("long")] == ["ok"]
    cell["a"].kill()
    cell["a"].start()  # a restart does not make it forget
    cell["a"].until(lambda: "drained" in cell["b"].vcsctl("why", "only").stdout, "why says what only waits for")
    assert not cell["a"].history("only")
    assert cell["b"].vcsctl("resume", "a").returncode == 0
    cell["a"].until(lambda: cell["a"].history("only"), "what waited for it runs")
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def started(cell: Cell, key: str) -> list[Path]:
    return list(cell.shared.glob(f"state/{key}/*.started"))


def test_a_share_that_is_not_there_is_waited_for_and_said(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    node: Node = cell["a"]
    node.unit("job", f"{MANUAL}exec: {witness.command()}\n")
    node.start()
    node.stop()
    away = cell.root / "not mounted"
    cell.shared.rename(away)
    cell.shared.mkdir()  # the empty mount point
    node.start(until_it_answers=False)
    node.until(lambda: "trying again" in node.log(), "vcsd says that it waits")
    assert node.vcsd is not None
    assert node.vcsd.poll() is None
    assert not os.listdir(cell.shared), "a second cell must not be made in the mount point"
    cell.shared.rmdir()
    away.rename(cell.shared)
    node.until(node.wake, "it carries on when the share is there")
    assert node.vcsctl("run", "job", "--wait").returncode == 0


def test_another_share_in_its_place_is_refused(cell_of: CellOf, tmp_path: Path) -> None:
    cell = cell_of("a")
    cell.start()
    cell["a"].stop()
    other = Site(tmp_path / "other")
    other.start()
    other.stop()
    cell.shared.rename(cell.root / "away")
    other.shared.rename(cell.shared)
    cell["a"].start(until_it_answers=False)
    assert cell["a"].vcsd is not None
    assert cell["a"].vcsd.wait(20) == 5
    assert "remembers" in cell["a"].log()
