"""A private root for each test that asks for one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site

# Who starts the tests in the background, or by nohup, has these ignored, and so would every command that they are sent to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)  # the tests themselves go on


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
