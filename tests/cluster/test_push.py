"""A push of units under way: nodes that disagree for a while still exclude each other, and nobody undoes a change."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cell import Cell
from witness import Witness, broken_promises

MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"
ROUNDS = 6
CellOf = Callable[..., Cell]


class Push:
    """X runs on b, Y on a, and the push puts X into Y's group. By the witness X and Y must always exclude each other."""

    def __init__(self, cell: Cell, witness: Witness, seconds: float) -> None:
        self.cell = cell
        self.old = f"{MANUAL}nodes: [b]\nexec: {witness.command('g', seconds)}\n"
        self.new = f"groups: [g]\n{self.old}"
        cell.unit("x", self.old)
        cell.unit("y", f"{MANUAL}nodes: [a]\ngroups: [g]\nexec: {witness.command('g', seconds)}\n")

    def to(self, node: str, text: str) -> None:
        self.cell[node].unit("x", text)
        self.cell[node].reload()

    def rows(self, key: str) -> list[dict[str, Any]]:
        return self.cell["a"].history(key)


def test_who_knows_of_a_group_waits_for_a_run_that_began_without_it(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    push = Push(cell, witness, 3.0)
    cell.start()
    cell["b"].request("x")
    cell["b"].until(lambda: witness.begun(), "x has begun without the group")
    push.to("a", push.new)
    cell["a"].request("y")
    held = "y waits for group g, held by x.1 on b"
    cell["a"].until(
        lambda: held.replace("y ", "", 1) in cell["a"].vcsctl("why", "y").stdout, "why says whom y waits for"
    )
    cell["a"].until(lambda: push.rows("x") and push.rows("y"), "both have run")
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_who_does_not_know_of_a_group_takes_it_all_the_same(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    push = Push(cell, witness, 2.0)
    cell.start()
    push.to("a", push.new)
    cell["a"].request("y")
    cell["a"].until(lambda: witness.begun(), "y has begun")
    cell["b"].request("x")
    cell["a"].until(lambda: push.rows("x") and push.rows("y"), "both have run")
    assert [one.execution.key for one in witness.begun().values()] == ["y", "x"]
    assert witness.begun()["x.1"].execution.fences == {"g": 2}
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_whatever_comes_first_a_run_after_the_push_never_meets_one_from_before_it(
    cell_of: CellOf, witness: Witness
) -> None:
    cell = cell_of("a", "b")
    push = Push(cell, witness, 0.3)
    cell.start()
    chance = random.Random(3)
    for number in range(1, ROUNDS + 1):
        cell["a"].unit("x", push.new)
        with ThreadPoolExecutor() as beside:
            reloading = beside.submit(cell["a"].reload)
            time.sleep(chance.uniform(0, 0.6))  # x begins at another moment of the reload each time
            cell["b"].request("x")
            reloading.result()
        cell["a"].request("y")
        cell["a"].until(lambda number=number: len(push.rows("x")) == len(push.rows("y")) == number, "both have run")
        push.to("a", push.old)
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_a_node_that_is_back_with_an_old_tree_erases_no_override(cell_of: CellOf) -> None:
    cell = cell_of("a", "b", "old")
    text = "schedule: periodical\nperiod: {}\nnodes: [a]\nexec: [/bin/true]\n"
    cell.unit("job", text.format(5))
    cell["old"].unit("job", text.format(7))
    cell.start("a", "b")
    assert cell["b"].vcsctl("set", "job", "period=10").returncode == 0
    override = cell.shared / "overrides/job.json"
    cell.start("old")
    cell["old"].reload()
    assert json.loads(override.read_text())["fields"]["period"]["value"] == 10
    for node in ("a", "b"):
        cell[node].unit("job", text.format(6))
        cell[node].reload()
    cell["a"].until(lambda: "period" not in fields(override), "the last that declared it so says something else")


def fields(override: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(override.read_text()).get("fields", {}) if override.exists() else {}
    return found


def test_a_group_that_only_a_forgotten_node_declared_counts_no_more(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "gone")
    cell.unit("x", f"{MANUAL}nodes: [a]\nexec: {witness.command()}\n", on=["a"])
    cell.unit("x", f"{MANUAL}nodes: [a]\ngroups: [g]\nexec: {witness.command()}\n", on=["gone"])
    cell.start()
    assert cell["a"].vcsctl("run", "x", "--wait").returncode == 0
    cell["gone"].power_off()
    assert (cell.shared / "locks/group/g").exists(), "it was taken for the union of the groups"
    fence = (cell.shared / "locks/group/g").read_bytes()
    assert cell["a"].vcsctl("run", "x", "--wait").returncode == 0
    assert (cell.shared / "locks/group/g").read_bytes() != fence, "a silent node's groups count"
    fence = (cell.shared / "locks/group/g").read_bytes()
    cell["a"].until(lambda: cell["a"].vcsctl("nodes", "forget", "gone", "--yes").returncode == 0, "it is silent")
    assert cell["a"].vcsctl("run", "x", "--wait").returncode == 0
    assert (cell.shared / "locks/group/g").read_bytes() == fence
