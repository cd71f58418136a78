"""A cell of two nodes: two roots on one machine that share one directory, each with a vcsd of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Pair:
    """Nodes a and b, and a root without a vcsd that sees their cell: an operator's machine."""

    def __init__(self, root: Path, site_class: type[Any]) -> None:
        self.shared = root / "shared"
        self.shared.mkdir()
        self.a, self.b, self.desk = (site_class(root / name) for name in ("a", "b", "desk"))
        for name, site in (("a", self.a), ("b", self.b), ("desk", self.desk)):
            (site.root / "var/lib/vcs").mkdir(parents=True)
            site.shared.symlink_to(self.shared)
            site.configure(f"node: {name}\nheartbeat: 1s\npoll: 200ms\n")

    def unit(self, name: str, text: str) -> None:
        self.a.unit(name, text)
        self.b.unit(name, text)

    def start(self) -> None:
        self.a.start()
        self.b.start()

    def end(self) -> None:
        for path in self.shared.glob("running/*.json"):
            self.desk.vcsctl("stop", path.stem.rpartition(".")[0].partition("@")[0])
        self.a.stop()
        self.b.stop()


@pytest.fixture
def pair(tmp_path: Path, site_class: type[Any]) -> Iterator[Pair]:
    made = Pair(tmp_path, site_class)
    yield made
    made.end()
