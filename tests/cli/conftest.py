"""A cell of two nodes and an operator's machine that runs no vcsd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site

from tests.cluster.cell import Cell


class Pair:
    """Nodes a and b, and `desk`, which sees their cell."""

    def __init__(self, root: Path) -> None:
        self.cell = Cell(root, "a", "b")
        self.a, self.b, self.shared = self.cell["a"], self.cell["b"], self.cell.shared
        self.desk = Site(root / "desk")
        self.desk.shared.parent.mkdir(parents=True)
        self.desk.shared.symlink_to(self.shared)
        self.desk.configure("node: desk\n")
        self.unit, self.start = self.cell.unit, self.cell.start


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.cell.close()
