"""A runner of a daemon on a private root, without vcsd: forked as vcsd forks it, with real locks and records."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vcsctl.domain.daemon import DaemonState
from vcsctl.domain.outcome import End, StopRequest
from vcsctl.store import daemons, locks, records, state
from vcsctl.store.paths import FOLDERS, Paths
from vcsctl.store.records import Faults


class Rig:
    """One daemon under its real runner. `unit` is the text of its unit file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths(str(root / "shared"))
        for folder in FOLDERS:
            os.makedirs(self.paths.folder(folder))
        self.daemons = str(root / "run/daemons")
        self.log = root / "log/d/d.log"
        self.parent: subprocess.Popen[str] | None = None
        self.with_cgroups = False
        self.runner = 0
        self.fence = 0

    def start(
        self,
        *argv: str,
        groups: tuple[str, ...] = (),
        fence_after_s: float | None = None,
        lost_locks: bool = False,
        **keys: object,
    ) -> None:
        """Forks a runner and returns when its start is on record. `argv`: of the daemon; `keys`: of its unit.

        `lost_locks`: from the moment at which there is a file `lose`, each proof fails as on a lock that was lost.
        """
        self.fence += 1
        asked = {
            "root": str(self.root),
            "fence": self.fence,
            "groups": groups,
            "fence_after_s": fence_after_s,
            "lost_locks": lost_locks,
            "cgroups": self.with_cgroups,
            "daemons": self.daemons,
            "keys": {"name": "d", "run_on": "each", "exec": argv, **keys},
        }
        self.parent = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("parent.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(repr(asked) + "\n")
        self.parent.stdin.flush()
        self.runner = int(self.parent.stdout.readline())
        self.until(lambda: os.path.exists(self.paths.started("d", self.fence)), "its start is on record")

    def script(self, text: str) -> tuple[str, str]:
        """A Python program as a daemon; its working folder is the rig's root."""
        path = self.root / f"program{len(list(self.root.glob('program*')))}.py"
        path.write_text(f"import os, signal, sys, time\nos.chdir({str(self.root)!r})\n{text}")
        return sys.executable, str(path)

    # What it shows.

    def told(self) -> DaemonState | None:
        found = daemons.told_here(self.daemons).get(f"d.{self.fence}")
        return found.value if found else None

    def end(self) -> End | None:
        found = records.read(End, self.paths.end("d", self.fence), Faults())
        return found.value if found else None

    def is_locked(self) -> bool:
        lock = locks.try_lock(self.paths.key_lock("d"))
        if lock is not None:
            lock.close()
        return lock is None

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def written(self, name: str) -> list[str]:
        """The lines of a file that the daemon's program writes."""
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []

    # What is done to it.

    def signal(self, number: int) -> None:
        os.kill(self.runner, number)

    def stop(self, cause: str = "stop-requested") -> None:
        state.write_stop(self.paths, "d", self.fence, StopRequest("olga", "n1", cause=cause))
        self.signal(signal.SIGUSR1)

    def until(self, holds: Callable[[], object], what: str, patience_s: float = 20) -> None:
        give_up = time.monotonic() + patience_s
        while not holds():
            if time.monotonic() > give_up:
                pytest.fail(
                    f"waited {patience_s:g} s in vain until {what}; told {self.told()}; log:\n{self.said()[-3000:]}"
                )
            time.sleep(0.01)

    def until_phase(self, phase: str) -> DaemonState:
        self.until(lambda: (told := self.told()) and told.phase == phase, phase)
        told = self.told()
        assert told is not None
        return told

    def until_over(self) -> End:
        self.until(self.end, "the run is over")
        self.until(lambda: not self.is_locked(), "its lock is free")
        end = self.end()
        assert end is not None
        return end

    def close(self) -> None:
        if self.parent is not None:
            assert self.parent.stdin is not None
            self.parent.stdin.close()
            self.parent.wait(20)
