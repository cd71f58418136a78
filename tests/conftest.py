"""A private root for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site


@pytest.fixture(scope="session")
def site_class() -> type[Site]:
    return Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()
    for path in made.shared.glob("running/*.json"):
        made.vcsctl("stop", path.stem.rpartition(".")[0].partition("@")[0])
    for path in made.root.glob("run/vcs/daemons/*.json"):  # of daemons that need no share
        made.vcsctl("stop", path.stem.rpartition(".")[0].partition("@")[0])
