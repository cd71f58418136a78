"""What is on record of a KEY, and what of it may go."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from vcsctl.store import state
from vcsctl.store.cell import make_cell
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults


def test_of_each_schedule_the_newest_moment_is_kept(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    make_cell(paths)
    for number, digest in enumerate(["a", "b"] * 5):
        found = state.read_key(paths, "tick", Faults())
        state.mark_since(paths, found, digest)
        newest = paths.since("tick", digest, found.turns.get(digest, 0) + 1)
        os.utime(newest, (1000.0 + number, 1000.0 + number))
    found = state.read_key(paths, "tick", Faults())
    state.remove_old_turns(paths, found)
    assert sorted(os.listdir(paths.state("tick"))) == ["since.a.5", "since.b.5"]
    again = state.read_key(paths, "tick", Faults())
    assert (again.since, again.turns) == (found.since, {"a": 5, "b": 5})
    assert again.since["b"] == datetime.fromtimestamp(1009.0, UTC)
    state.mark_since(paths, again, "a")
    assert state.read_key(paths, "tick", Faults()).turns["a"] == 6
