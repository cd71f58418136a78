"""A disk that turns itself read-only under a run, as after an error of its medium; and one that lets no command end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cell import Cell
from witness import Witness, broken_promises

CellOf = Callable[..., Cell]
PROOF_S = 1.0


class Disk:
    """A file system of its own for one directory."""

    def __init__(self, point: Path) -> None:
        self.point = point
        self._image = point.with_name("disk")
        with self._image.open("wb") as image:
            image.truncate(64 << 20)
        self._must(["mkfs.ext4", "-q", str(self._image)])
        self.mount()

    def mount(self) -> None:
        self._must(["mount", "-o", "loop", str(self._image), str(self.point)])

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.point)], check=True)

    def break_down(self) -> None:
        """The kernel takes it for damaged: from here on it is read-only, also for files that are open."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.point)], check=True)

    def _must(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"needs {command[0]}")
        if done.returncode:
            pytest.skip(f"this machine mounts no image: {done.stderr.strip()}")


@contextmanager
def own_disk(cell: Cell, point: Path) -> Iterator[Disk]:
    disk = Disk(point)
    try:
        yield disk
    finally:
        cell.close()
        if os.path.ismount(disk.point):
            disk.unmount()


def test_a_disk_that_turns_read_only_stops_the_run_at_once_and_records_it_once_it_is_mended(
    cell_of: CellOf, witness: Witness
) -> None:
    cell = cell_of("a", configuration=f"fence_after: {6 * PROOF_S:g}s\n")
    manual = "schedule: periodical\nperiod: 60\nenabled: false\n"
    cell.unit("stops", f"{manual}groups: [g]\nexec: {witness.command('g', 60, 'deaf')}\n")
    cell.unit("goes-on", f"{manual}on_storage_loss: continue\nexec: {witness.command('', 4)}\n")
    with own_disk(cell, cell.shared) as disk:
        cell.start()
        cell["a"].request("stops", "goes-on")
        cell["a"].until(lambda: len(witness.begun()) == 2, "both have begun")
        watched_from = time.monotonic() + 2 * PROOF_S  # the first second is not watched
        cell["a"].until(lambda: time.monotonic() > watched_from, "the proofs go on")
        broke_at = time.monotonic()
        disk.break_down()
        cell["a"].until(lambda: witness.told_at("stops.1"), "it is told to stop")
        told_at = witness.told_at("stops.1") or 0
        print(f"\nTERM {told_at - broke_at:.1f} s after the disk had become read-only")
        assert told_at - broke_at < PROOF_S + 1
        cell["a"].until(lambda: "file system is read-only" in cell["a"].log(), "vcsd says so")
        shown = cell["a"].vcsctl("status")
        assert (shown.returncode, "stops" in shown.stdout) == (0, True), shown
        cell["a"].until(lambda: witness.begun()["goes-on.1"].execution.ended_at, "what may go on goes on to its end")
        cell["a"].power_off()
        disk.unmount()
        disk.mount()
        cell.start()
        cell["a"].until(lambda: cell["a"].history("stops") and cell["a"].history("goes-on"), "both are recorded")
        assert [row["outcome"] for row in cell["a"].history("stops")] == ["lost"]
        assert [row["outcome"] for row in cell["a"].history("goes-on")] == ["lost"], "its end could not be written down"
        assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_a_command_that_kill_does_not_end_is_looked_at_less_and_less_often(cell_of: CellOf, tmp_path: Path) -> None:
    cell = cell_of("a")
    node, point = cell["a"], tmp_path / "written by the command"
    point.mkdir()
    command = json.dumps(["/bin/sh", "-c", f"trap '' TERM; exec touch '{point}/x'"])
    times = "period: 60\ntimeout: 1s\nstop_timeout: 1s\n"
    cell.unit("stuck", f"schedule: periodical\nenabled: false\n{times}exec: {command}\n")
    with own_disk(cell, point):
        subprocess.run(
            ["fsfreeze", "--freeze", str(point)], check=True
        )  # who writes there waits, whatever signal comes
        try:
            cell.start()
            node.request("stuck")
            node.until(lambda: list(cell.shared.glob("state/stuck/*.started")), "it is started")
            (started,) = cell.shared.glob("state/stuck/*.started")
            runner = json.loads(started.read_text())["pid"]
            node.until(lambda: any(map(_has_got_kill, _children(runner))), "the command has got KILL")
            node.until(lambda: _sleeps_on(runner, 0.3), "its runner no longer looks at it fifty times a second", 15)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(point)], check=True)
        node.until(lambda: node.history("stuck"), "its end is on record")
    assert [row["cause"] for row in node.history("stuck")] == ["timeout"]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _status(pid: int, pattern: str) -> list[str]:
    return re.findall(pattern, Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)


def _has_got_kill(pid: int) -> bool:
    return any(int(pending, 16) >> (signal.SIGKILL - 1) & 1 for pending in _status(pid, r"^...Pnd:\s*(\w+)"))


def _sleeps_on(pid: int, seconds: float) -> bool:
    before = _status(pid, "^voluntary_ctxt_switches:.*")
    time.sleep(seconds)
    return _status(pid, "^voluntary_ctxt_switches:.*") == before
