"""Several vcsd of different node names on one directory, each promise of the many by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from cell import Cell
from witness import Witness, broken_promises

MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"
MakeCell = Callable[..., Cell]


def test_a_request_is_taken_up_by_a_node_that_may_run_it(make_cell: MakeCell, witness: Witness) -> None:
    cell = make_cell("a", "b")
    cell.unit("job", f"{MANUAL}nodes: [b]\nexec: {witness.command()}\n")
    cell.start()
    assert cell["a"].vcsctl("run", "job", "--wait").returncode == 0
    assert [one.execution.node for one in witness.begun().values()] == ["b"]
    assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])
