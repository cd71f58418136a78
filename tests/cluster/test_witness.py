"""The witness of the tests with many processes sees what it is there to see."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from witness import Witness, broken_promises

DONE = pytest.mark.parametrize(
    ("one", "other", "groups", "seen"),
    [
        ("x.1", "y.1", ("g", "g"), ["group g was another's when y.1 began", "together in group g"]),
        ("x.1", "x.2", ("g", "h"), ["KEY x was another's when x.2 began", "together in KEY x"]),
        ("x.1", "y.1", ("g,h", "h,i"), ["group h was another's when y.1 began", "together in group h"]),
        ("x.1", "y.1", ("g", "h"), []),
    ],
    ids=["one group", "one KEY", "one of several groups", "nothing in common"],
)


def execute(witness: Witness, run: str, groups: str, seconds: float, manner: str = "") -> subprocess.Popen[bytes]:
    environment = {"VCS_RUN_ID": run, "VCS_NODE": "a", "VCS_SLOT": "", "VCS_ATTEMPT": "1"}
    environment |= {f"VCS_FENCE_{group.upper()}": run[-1] for group in groups.split(",")}
    started = subprocess.Popen(json.loads(witness.command(groups, seconds, manner)), env=environment)
    give_up = time.monotonic() + 10
    while run not in witness.begun() and time.monotonic() < give_up:
        time.sleep(0.01)
    return started


@DONE
def test_two_that_share_something_and_overlap_are_seen(
    tmp_path: Path, witness: Witness, one: str, other: str, groups: tuple[str, str], seen: list[str]
) -> None:
    jobs = [execute(witness, one, groups[0], 60), execute(witness, other, groups[1], 0)]
    jobs[1].wait()
    said = [text for text in broken_promises(witness, tmp_path, time.monotonic(), [], []) if "no outcome" not in text]
    jobs[0].kill()
    jobs[0].wait()
    assert all(any(part in text for text in said) for part in seen)
    assert bool(said) == bool(seen), said


def test_what_a_job_left_behind_still_has_what_the_job_had(tmp_path: Path, witness: Witness) -> None:
    execute(witness, "x.1", "g", 0, "family").wait()
    execute(witness, "y.2", "g", 0).wait()
    said = broken_promises(witness, tmp_path, time.monotonic(), [], [])
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if str(witness.folder).encode() in path.read_bytes():
            os.kill(int(path.parent.name), 9)
    assert any("group g was another's when y.2 began" in text for text in said)
    assert not any("together in group" in text for text in said)
