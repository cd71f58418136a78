"""Storage that hangs, is given to others or turns read-only under a run: the command is stopped in time, once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cell import Cell, signal_each
from witness import Witness, broken_promises

from vcsctl.store import locks
from vcsctl.store.cell import make_cell

MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"
FENCE_S = 6.0
CellOf = Callable[..., Cell]


class Served:
    """A directory as one node sees it through a server of its own, which can be stopped and killed.

    Locks are forwarded: they exclude whoever uses the directory itself, and end with the server.
    """

    def __init__(self, source: Path, point: Path) -> None:
        if shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"):
            pytest.skip("needs bindfs and /dev/fuse")
        self.point = point
        self.point.mkdir(parents=True)
        self._source = source
        self._options = ["-f", "--multithreaded", "--enable-lock-forwarding", "-o", "attr_timeout=0,entry_timeout=0"]
        self.mount()

    def mount(self) -> None:
        self.server = subprocess.Popen(["bindfs", *self._options, str(self._source), str(self.point)])
        give_up = time.monotonic() + 10
        while not os.path.ismount(self.point) and time.monotonic() < give_up:
            time.sleep(0.02)
        assert os.path.ismount(self.point), "bindfs mounts nothing"

    def hang(self) -> None:
        self.server.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        self.server.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """As a server that gives the locks of a client away: for the node the mount is dead."""
        self.server.kill()
        self.server.wait()
        subprocess.run(["umount", "--lazy", str(self.point)], check=False)


class Mount(Served):
    """The cell's directory."""

    def __init__(self, cell: Cell, node: str) -> None:
        super().__init__(cell.shared, cell.root / f"mounted on {node}")
        link = cell[node].shared
        link.unlink()
        link.symlink_to(self.point)
        make_cell(cell.paths)  # on a share nobody makes one by himself


@contextmanager
def mounted(cell: Cell, node: str) -> Iterator[Mount]:
    mount = Mount(cell, node)
    try:
        yield mount
    finally:
        signal_each(cell[node].processes(), signal.SIGKILL)
        mount.end()


def is_there(pid: int) -> bool:
    """Whether it can still do anything. A killed process may stay, without a memory, to close its files on the mount."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def until_gone(pid: int, patience_s: float) -> float:
    """The moment at which a process was seen to be gone."""
    give_up = time.monotonic() + patience_s
    while is_there(pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    return time.monotonic()


def test_storage_that_hangs_stops_a_run_in_time_and_a_run_that_may_go_on_goes_on(
    cell_of: CellOf, witness: Witness
) -> None:
    cell = cell_of("a", configuration=f"fence_after: {FENCE_S:g}s\n")
    cell.unit("stops", f"{MANUAL}groups: [g]\nexec: {witness.command('g', 60, 'deaf')}\n")
    cell.unit("goes-on", f"{MANUAL}on_storage_loss: continue\nexec: {witness.command('', 10, 'deaf')}\n")
    cell.unit("after", f"{MANUAL}exec: {witness.command()}\n")
    with mounted(cell, "a") as mount:
        cell.start()
        cell["a"].request("stops", "goes-on")
        cell["a"].until(lambda: len(witness.begun()) == 2, "both have begun")
        time.sleep(FENCE_S / 2)  # with storage that answers nothing is stopped, however long it takes
        assert witness.told_at("stops.1") is None
        mount.hang()
        hung_at = time.monotonic()
        gone_at = until_gone(witness.begun()["stops.1"].pid, FENCE_S)
        told_at = witness.told_at("stops.1")
        assert told_at is not None
        print(f"\nTERM {told_at - hung_at:.1f} s, KILL {gone_at - hung_at:.1f} s after the storage hung")
        # The last good proof began up to a sixth before.
        assert FENCE_S / 3 - 0.2 < told_at - hung_at < FENCE_S / 2 + 0.5
        assert FENCE_S / 2 - 0.2 < gone_at - hung_at < FENCE_S * 2 / 3 + 0.5
        assert is_there(witness.begun()["goes-on.1"].pid)
        assert witness.told_at("goes-on.1") is None
        shown = cell["a"].vcsctl("status")
        assert (shown.returncode, "did not answer within 4 s" in shown.stderr) == (75, True), shown
        mount.answer()
        cell["a"].until(lambda: cell["a"].history("stops") and cell["a"].history("goes-on"), "both are recorded")
        assert cell["a"].vcsctl("run", "after", "--wait").returncode == 0, "vcsd carries on by itself"
        assert [(row["outcome"], row["cause"]) for row in cell["a"].history("stops")] == [("lost", "storage")]
        assert [row["outcome"] for row in cell["a"].history("goes-on")] == ["ok"]
        assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])


def test_locks_that_a_hung_node_loses_go_to_another_when_its_command_is_dead(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", configuration=f"fence_after: {FENCE_S:g}s\n")
    cell.unit("on-a", f"{MANUAL}nodes: [a]\ngroups: [g]\nexec: {witness.command('g', 60, 'deaf')}\n")
    cell.unit("on-b", f"{MANUAL}nodes: [b]\ngroups: [g]\nexec: {witness.command('g')}\n")
    with mounted(cell, "a") as mount:
        cell.start()
        cell["a"].request("on-a")
        cell["a"].until(lambda: witness.begun(), "it has begun on a")
        cell["b"].request("on-b")
        cell["b"].until(lambda: "on-b: waits for group g, held by on-a.1 on a" in cell["b"].log(), "b waits")
        mount.hang()
        given_away_at = time.monotonic() + FENCE_S
        cell["b"].until(lambda: time.monotonic() > given_away_at, "the server's patience is over")
        assert "on-b.1" not in witness.begun()
        mount.end()
        cell["b"].until(lambda: cell["b"].history("on-b") and cell["b"].history("on-a"), "b has taken over")
        assert [row["outcome"] for row in cell["b"].history("on-b")] == ["ok"]
        assert [(row["outcome"], row["cause"]) for row in cell["b"].history("on-a")] == [("lost", "node-died")]
        assert not broken_promises(witness, cell.shared, time.monotonic(), [], [])
        mount.mount()
        cell["a"].until(cell["a"].wake, "vcsd on a carries on when its mount is there")
        cell["a"].until(lambda: "on-a" in cell["a"].vcsctl("status").stdout, "and can be asked")
        until_all_is_said = time.monotonic() + 2  # the runner of on-a.1, too, finds its outcome on record
        cell["a"].until(lambda: time.monotonic() > until_all_is_said, "a has had its turns")
        assert len(cell["b"].history("on-a")) == 1


def test_a_node_whose_own_lock_is_not_let_go_claims_nothing_until_it_is(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", configuration=f"fence_after: {FENCE_S:g}s\n")
    cell.unit("job", f"{MANUAL}exec: {witness.command()}\n")
    node = cell["a"]
    with mounted(cell, "a") as mount:
        cell.start()
        mount.end()
        left = locks.try_lock(cell.paths.node_lock("a"))  # as a server would that never heard of the release
        assert left is not None
        node.until(lambda: "node a claims nothing" in node.log(), "vcsd has lost its lock")
        mount.mount()
        node.until(lambda: "its last holder was this vcsd" in node.log(), "vcsd has met it")
        node.request("job")
        node.until(lambda: "job: node a claims nothing" in node.log(), "the job waits")
        assert node.vcsd is not None
        assert (node.vcsd.poll(), witness.begun()) == (None, {})
        left.close()
        node.until(lambda: node.history("job"), "vcsd carries on")
        assert [row["outcome"] for row in node.history("job")] == ["ok"]
