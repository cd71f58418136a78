"""A cell of several nodes on one machine: a real vcsd for each, on one shared directory. Judges nothing.

Each node has a root of its own and believes to be a machine of its own, so that no vcsd takes another's processes
for its own. `power_off` ends a node as a power cut does: everything at once, nobody reacts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sites import Site

from vcsctl.runners import cgroups
from vcsctl.store.cell import read_cell
from vcsctl.store.paths import Paths

OWN_MACHINE = """
from vcsctl.runners import proc
from vcsctl.vcsd import daemon
proc.boot_id = lambda: "boot of {name}"
daemon.this_machine = lambda: daemon.Machine("{name}.example", "machine {name}", proc.boot_id())
"""
# To be added to a node's preamble. The clocks for durations and the file server's own stay as they are.
CLOCK_AHEAD = """
from datetime import UTC, datetime, timedelta
from vcsctl.runners.machine import Machine
from vcsctl.vcsd.clocks import Clocks
Clocks.now = Machine.now = lambda self: datetime.now(UTC) + timedelta(seconds={seconds})
"""
HEARTBEAT_S = 1.0
SILENT_AFTER_S = 3 * HEARTBEAT_S
POLL_BUSY_S = 0.1


class Node(Site):
    def __init__(self, root: Path, name: str, shared: Path, configuration: str) -> None:
        super().__init__(root, OWN_MACHINE.format(name=name))
        self.name = name
        self.shared.parent.mkdir(parents=True)
        self.shared.symlink_to(shared)
        keys = {
            "node": name,
            "heartbeat": f"{HEARTBEAT_S:g}s",
            "poll": "300ms",
            "poll_busy": f"{POLL_BUSY_S * 1000:.0f}ms",
        }
        defaults = "".join(f"{key}: {value}\n" for key, value in keys.items() if f"{key}:" not in configuration)
        self.configure(defaults + configuration)

    def lock(self, *arguments: str, crash_after: str = "", **popen: Any) -> subprocess.Popen[str]:
        """`vcsctl lock` on this machine; one of its processes dies once after the step `crash_after`."""
        code = self.preamble + "\nimport os, signal, sys\nfrom vcsctl import steps\n"
        if crash_after:
            code += (
                f"def observe(step):\n    if step == {crash_after!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
                "steps.observer = observe\n"
            )
        code += "from vcsctl.cli.main import main\nmain()\n"
        command = [sys.executable, "-c", code, "--root", str(self.root), "lock", *arguments]
        given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | popen
        return subprocess.Popen(command, env=self.environment, **given)

    def processes(self) -> list[int]:
        """Its vcsd, runners and jobs, and the commands given to it."""
        mark = f"VCS_ROOT={self.root}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found

    def power_off(self) -> None:
        """Jobs go first, as long as nobody who could notice is awake; the locks are free when all are gone."""
        while everything := self.processes():
            signal_each(everything, signal.SIGSTOP)
            jobs = [pid for pid in everything if not is_ours(pid)]
            signal_each(jobs, signal.SIGKILL)
            _wait_for_end(jobs)
            signal_each(everything, signal.SIGKILL)
            if self.vcsd is not None:
                self.vcsd.wait()
            _wait_for_end(everything)  # one that is ending has no environment any more, and its files are open still

    def log(self) -> str:
        return (self.root / "vcsd.log").read_text()

    def pause(self) -> None:
        assert self.vcsd is not None
        self.vcsd.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.vcsd is not None
        self.vcsd.send_signal(signal.SIGCONT)


class Cell:
    def __init__(self, root: Path, *names: str, configuration: str = "") -> None:
        self.root = root
        self.shared = root / "shared"
        self.shared.mkdir()
        self.paths = Paths(str(self.shared))
        self.nodes: dict[str, Node] = {}
        for name in names:
            self.add(name, configuration)

    def add(self, name: str, configuration: str = "") -> Node:
        """`configuration` is part of its vcs.yaml, and counts before what all nodes have."""
        self.nodes[name] = Node(self.root / name, name, self.shared, configuration)
        return self.nodes[name]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def unit(self, name: str, text: str, on: Iterable[str] | None = None) -> None:
        for node in on if on is not None else self.nodes:
            self.nodes[node].unit(name, text)

    def start(self, *names: str) -> None:
        """All at once, or those named; on return they answer."""
        chosen = [self.nodes[name] for name in names or self.nodes]
        for node in chosen:
            node.start(until_it_answers=False)
        for node in chosen:
            node.until_it_answers()

    def close(self) -> None:
        for node in self.nodes.values():
            node.power_off()
        cell = read_cell(self.paths)
        if cell and (base := cgroups.find_base(cell.id)):
            for left in Path(base).parent.glob(f"{Path(base).name}-*"):
                cgroups.remove(str(left))


def signal_each(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def is_ours(pid: int) -> bool:
    """vcsd or a runner, which is forked from it and keeps its command line."""
    with contextlib.suppress(OSError):
        return b"vcsctl.vcsd.main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _wait_for_end(pids: list[int]) -> None:
    give_up = time.monotonic() + 5
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.002)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
