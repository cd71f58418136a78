"""A node dies under its runs: another one finds that out by their locks, says so, and runs again only what may be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from cell import SILENT_AFTER_S, Cell, is_ours
from slots import hourly, make_due
from witness import Witness, broken_promises

from vcsctl.runners import cgroups

CellOf = Callable[..., Cell]


def runs(cell: Cell, name: str) -> list[dict[str, Any]]:
    return sorted((row for row in cell["b"].history(name) if "+" not in row["id"]), key=lambda row: str(row["at"]))


def test_what_ran_on_a_node_that_died_is_lost_and_only_what_may_be_is_rerun_once(
    cell_of: CellOf, witness: Witness
) -> None:
    cell = cell_of("a", "b")
    for name, group, on_lost in (("again", "g", "rerun"), ("once", "h", "none")):
        command = witness.command(group, 60, "once")
        cell.unit(name, hourly(f"groups: [{group}]\non_lost: {on_lost}\nexec: {command}\n"))
    cell.unit("after", hourly(f"nodes: [a]\nexec: {witness.command()}\n"))
    make_due(cell, "a", "again", "once")
    cell["a"].until(lambda: len(witness.begun()) == 2, "both have begun on a")
    cell.start("b")
    cell["a"].power_off()
    died_at = time.monotonic()
    cell["b"].until(lambda: runs(cell, "once") and len(runs(cell, "again")) == 2, "all is recorded")
    print(f"\nlost and rerun {time.monotonic() - died_at:.1f} s after the power was off")
    assert time.monotonic() - died_at > SILENT_AFTER_S / 2
    first, second = runs(cell, "again")
    assert [(row["outcome"], row["cause"]) for row in (first, *runs(cell, "once"))] == [("lost", "node-died")] * 2
    assert "a has been silent for" in first["why"]
    assert "its lock is free" in first["why"]
    assert (second["outcome"], second["trigger"], second["attempt"], second["slot"]) == (
        "ok",
        "retry",
        2,
        first["slot"],
    )
    cell.start("a")
    assert cell["a"].vcsctl("run", "after", "--wait").returncode == 0  # it has looked at all of this, too
    assert len(witness.begun()) == 4
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


@pytest.mark.parametrize("step", ["claim linked", "entries removed", "not recalled"])
def test_a_claim_without_a_start_is_begun_by_another_node(cell_of: CellOf, witness: Witness, step: str) -> None:
    cell = cell_of("a", "b")
    cell.unit("job", f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: {witness.command('g')}\n")
    cell["a"].start(crash_after=step)
    cell["a"].until(lambda: cell["a"].wake(), "vcsd answers")
    request = cell["b"].vcsctl("run", "job").stdout
    assert cell["a"].vcsd is not None
    cell["a"].vcsd.wait(20)
    cell.start("b")
    cell["b"].until(lambda: cell["b"].history("job"), "it is recorded")
    assert [(row["outcome"], row["node"], row["requests"][0] in request) for row in cell["b"].history("job")] == [
        ("ok", "b", True)
    ]
    assert [one.execution.node for one in witness.begun().values()] == ["b"]
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


@pytest.mark.parametrize("back", ["before", "in time", "late"])
def test_what_a_killed_runner_leaves_is_dead_before_another_node_has_its_group(
    cell_of: CellOf, witness: Witness, back: str
) -> None:
    """Where a node is silent for too long its locks count: then what is left there dies when it is back."""
    if not cgroups.find_base("trial"):
        pytest.skip("needs a writable cgroup v2")
    cell = cell_of("a", "b", configuration=f"heartbeat: {1 if back == 'late' else 5}s\n")
    command = witness.command("g", 3, "family")
    cell.unit("job", f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: {command}\n")
    cell.start("a")
    cell["a"].request("job")
    cell["a"].until(lambda: witness.begun(), "it has begun on a")
    runner = witness.begun()["job.1"].runner
    cell["a"].until(lambda: len(jobs_of(cell, "a")) == 2, "the job has its child")
    cell["a"].kill()
    if back == "before":
        cell["a"].start()
    os.kill(runner, signal.SIGKILL)
    cell["b"].start()
    cell["b"].request("job")
    if back == "late":
        cell["b"].until(lambda: cell["b"].history("job"), "b has found its lock free")
    if back != "before":
        cell["a"].start()
    cell["b"].until(lambda: len(cell["b"].history("job")) == 2, "both are recorded")
    cell["a"].until(lambda: not jobs_of(cell, "a"), "nothing is left on a")
    assert sorted(row["outcome"] for row in cell["b"].history("job")) == ["lost", "ok"]
    if back != "late":
        assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def jobs_of(cell: Cell, node: str) -> list[int]:
    return [pid for pid in cell[node].processes() if not is_ours(pid)]
