"""A private root with a real vcsd in it, for tests that need the real thing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from vcsctl.domain.run import Request
from vcsctl.store import queue
from vcsctl.store.paths import Paths
from vcsctl.vcsd.control import ask


class Site:
    """One root directory: unit files, vcsd, commands. Nothing outside of it is touched.

    `preamble` is run by vcsd before anything else of ours; `environment` is added to that of vcsd and of commands.
    """

    def __init__(self, root: Path, preamble: str = "", environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.preamble = preamble
        self.environment = {**os.environ, **(environment or {}), "VCS_ROOT": str(root)}
        self.units = root / "etc/vcs/services.d"
        self.units.mkdir(parents=True)
        self.shared = root / "var/lib/vcs/shared"
        self.vcsd: subprocess.Popen[bytes] | None = None

    def unit(self, name: str, text: str) -> None:
        (self.units / f"{name}.yaml").write_text(text)

    def configure(self, text: str) -> None:
        (self.root / "etc/vcs/vcs.yaml").write_text(text)

    def start(
        self,
        crash_after: str | None = None,
        hold_at: str | None = None,
        *,
        with_cgroups: bool = True,
        until_it_answers: bool = True,
    ) -> None:
        """`crash_after`: die once after that step. `hold_at`: make the file `held` there, go on when it is gone."""
        code = f"{self.preamble}\nfrom vcsctl.vcsd.main import main; main()"
        if not with_cgroups:
            code = "from vcsctl.runners import cgroups; cgroups.find_base = lambda cell: None\n" + code
        if crash_after:
            # Once in all: what starts the run again after the crash passes the same step unharmed.
            marker = str(self.root / "crashed")
            code = (
                "import os, signal\nfrom vcsctl import steps\n"
                "def observe(step):\n"
                f"    if step == {crash_after!r} and not os.path.exists({marker!r}):\n"
                f"        open({marker!r}, 'x').close()\n"
                "        os.kill(os.getpid(), signal.SIGKILL)\n"
                "steps.observer = observe\n" + code
            )
        if hold_at:
            held = str(self.root / "held")
            code = (
                "import os, time\nfrom vcsctl import steps\n"
                "def observe(step):\n"
                f"    if step == {hold_at!r}:\n"
                f"        open({held!r}, 'x').close()\n"
                f"        while os.path.exists({held!r}): time.sleep(0.01)\n"
                "steps.observer = observe\n" + code
            )
        log = (self.root / "vcsd.log").open("ab")
        self.vcsd = subprocess.Popen([sys.executable, "-c", code], env=self.environment, stderr=log)
        log.close()
        if crash_after is None and hold_at is None and until_it_answers:
            self.until_it_answers()

    def until_it_answers(self) -> None:
        self.until(lambda: self.wake() or self.vcsd is None or self.vcsd.poll() is not None, "vcsd answers")
        assert self.wake(), f"vcsd has ended: {(self.root / 'vcsd.log').read_text()[-3000:]}"

    def wake(self) -> dict[str, Any] | None:
        return ask(str(self.root / "run/vcs/vcsd.sock"), {"do": "wake"})

    def reload(self) -> None:
        """As `vcsctl reload`: on return the new catalog is in force and published."""
        answer = ask(str(self.root / "run/vcs/vcsd.sock"), {"do": "reload"}, timeout_s=60)
        assert answer is not None, "vcsd did not answer"
        assert answer.get("ok"), answer

    def request(self, *names: str) -> list[str]:
        """Requests as `vcsctl run` enters them, without the price of a process; their ids."""
        paths = Paths(str(self.shared))
        requests = [Request(queue.new_request_id(), name, name, "test", os.uname().nodename) for name in names]
        for one in requests:
            queue.enter_request(paths, one)
        self.wake()
        return [one.id for one in requests]

    def kill(self) -> None:
        assert self.vcsd is not None
        self.vcsd.send_signal(signal.SIGKILL)
        self.vcsd.wait()

    def stop(self) -> None:
        if self.vcsd is not None and self.vcsd.poll() is None:
            self.vcsd.terminate()
            self.vcsd.wait(20)

    def vcsctl(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(self.root), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on for a while, as `vcsctl` calls it."""
        command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(self.root), *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def history(self, name: str) -> list[dict[str, Any]]:
        rows = []
        for path in sorted((self.shared / "history" / name).glob("*.jsonl")):
            rows += [json.loads(line) for line in path.read_text().splitlines()]
        return rows

    def until(self, holds: Callable[[], object], what: str, patience_s: float = 30) -> None:
        give_up = time.monotonic() + patience_s
        while not holds():
            if time.monotonic() > give_up:
                log = (self.root / "vcsd.log").read_text()[-3000:]
                pytest.fail(f"waited {patience_s:g} s in vain until {what}; vcsd said:\n{log}")
            time.sleep(0.02)
