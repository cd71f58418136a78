"""Nodes whose clocks are wrong. That one a few seconds off repeats no slot is seen in the chaos run, where one is."""

from __future__ import annotations

import time
from collections.abc import Callable

from cell import CLOCK_AHEAD, Cell
from slots import hourly, make_due
from witness import Witness, broken_promises

CellOf = Callable[..., Cell]


def test_a_node_30_s_ahead_claims_no_slot_says_so_and_leaves_it_to_others(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("true", "wrong")
    cell["wrong"].preamble += CLOCK_AHEAD.format(seconds=30)
    cell.unit("any", hourly(f"exec: {witness.command()}\n"))
    cell.unit("theirs", hourly(f"nodes: [wrong]\nexec: {witness.command()}\n"))
    make_due(cell, "wrong", "any", "theirs")
    said = "the clock of node wrong is 30 s ahead of the file server's: it claims nothing; set it right"
    cell["wrong"].until(lambda: said in cell["true"].vcsctl("nodes").stdout, "nodes says so")
    assert said in cell["wrong"].vcsctl("why", "theirs").stdout
    cell.start("true")
    cell["true"].until(lambda: cell["true"].history("any"), "the node with the right clock runs what it may")
    assert [(one.execution.key, one.execution.node) for one in witness.begun().values()] == [("any", "true")]
    cell["wrong"].stop()
    cell["wrong"].preamble = cell["wrong"].preamble.replace("seconds=30", "seconds=0")
    cell.start("wrong")
    cell["wrong"].until(lambda: cell["true"].history("theirs"), "its clock is right and it claims")
    assert len(witness.begun()) == 2
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])
