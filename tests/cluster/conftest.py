"""Cells of several nodes for the tests that ask for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cell import Cell
from witness import Witness


@pytest.fixture
def cell_of(tmp_path: Path) -> Iterator[Callable[..., Cell]]:
    made: list[Cell] = []

    def make(*names: str, configuration: str = "") -> Cell:
        made.append(Cell(tmp_path, *names, configuration=configuration))
        return made[-1]

    yield make
    for cell in made:
        cell.close()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")
