"""A private root with a real vcsd in it, its units and what its runs left. Measures nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vcsctl.domain.run import Request
from vcsctl.places import Places
from vcsctl.store import queue
from vcsctl.store.paths import Paths
from vcsctl.vcsd.control import ask

PATIENCE_S = 120.0
_HERE = Path(__file__).parent
_SHELL_JOB = """#!/bin/sh
started=$(date +%s.%N)
[ "${1:-0}" = 0 ] || sleep "$1"
echo "${VCS_RUN_ID:-${3:--}} ${VCS_SLOT:--} $started $(date +%s.%N)"
exit "${2:-0}"
"""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a job noted of itself: its own clock at its start and at its end, in seconds."""

    run_id: str
    slot: str
    started_s: float
    ended_s: float

    @property
    def delay_ms(self) -> float:
        return (self.started_s - datetime.fromisoformat(self.slot).timestamp()) * 1000


class Site:
    """One root directory. Nothing outside of it is touched."""

    def __init__(self, root: Path, node: str = "bench") -> None:
        self.root = root
        self.node = node
        self.units = root / "etc/vcs/services.d"
        self.units.mkdir(parents=True)
        self.logs = root / "var/log/vcs"
        self.where = Places(str(root))
        self.paths = Paths(str(root / "var/lib/vcs/shared"))
        self.job = make_job(root)
        self.vcsd: subprocess.Popen[bytes] | None = None
        (root / "etc/vcs/vcs.yaml").write_text(f"node: {node}\n")

    def unit(self, name: str, **keys: Any) -> None:
        """One unit; by default a job that ends at once and is never due."""
        seconds, code = keys.pop("seconds", 0), keys.pop("code", 0)
        found: dict[str, Any] = {"schedule": "fixed-time", "run_at": ["00:00"], "days": ["31"], "timezone": "UTC"}
        found |= {"exec": [str(self.job), str(seconds), str(code)], **keys}
        if found["schedule"] == "periodical":
            del found["run_at"], found["days"]
        if "days" in keys and keys["days"] is None:
            del found["days"]
        (self.units / f"{name}.yaml").write_text("".join(f"{key}: {_flow(value)}\n" for key, value in found.items()))

    def fill(self, count: int, prefix: str = "idle") -> None:
        for number in range(count):
            self.unit(f"{prefix}-{number:05}")

    def start(self) -> float:
        """Starts vcsd and waits until it answers; how long that took."""
        began_s = time.monotonic()
        with (self.root / "vcsd.log").open("ab") as log:
            environment = {**os.environ, "VCS_ROOT": str(self.root)}
            command = [sys.executable, "-m", "vcsctl.vcsd.main"]
            self.vcsd = subprocess.Popen(command, env=environment, stderr=log)
        self.until(lambda: self.wake() is not None, "vcsd answers")
        return time.monotonic() - began_s

    def stop(self) -> None:
        if self.vcsd is not None and self.vcsd.poll() is None:
            self.vcsd.terminate()
            self.vcsd.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        assert self.vcsd is not None
        return self.vcsd.pid

    def wake(self) -> dict[str, Any] | None:
        return ask(self.where.socket, {"do": "wake"}, PATIENCE_S)

    def reload(self) -> None:
        answer = ask(self.where.socket, {"do": "reload"}, PATIENCE_S)
        if not answer or not answer.get("ok") or answer.get("texts"):
            raise SystemExit(f"vcsd cannot reload: {answer}")

    def request(self, *names: str) -> None:
        """What `vcsctl run` does, without the start of an interpreter for each."""
        for name in names:
            queue.enter_request(self.paths, Request(queue.new_request_id(), name, name, "bench", self.node))
        if self.vcsd is not None:
            self.wake()

    def stamps(self, prefix: str) -> list[Stamp]:
        """What the runs of all services whose name begins so left in their logs, in order of their start."""
        found = []
        for path in self.logs.glob(f"{prefix}*/*.log"):
            for line in path.read_text().splitlines():
                run_id, slot, started, ended = line.split()
                found.append(Stamp(run_id, slot, float(started), float(ended)))
        return sorted(found, key=lambda stamp: stamp.started_s)

    def recorded(self, prefix: str) -> int:
        """How many history rows of runs there are, whatever their outcome."""
        found = 0
        for path in (self.root / "var/lib/vcs/shared/history").glob(f"{prefix}*/*.jsonl"):
            found += sum(1 for line in path.read_bytes().splitlines() if b'"duration_s"' in line)
        return found

    def until(
        self, holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S, pause_s: float = 0.02
    ) -> None:
        give_up_s = time.monotonic() + patience_s
        while not holds():
            if time.monotonic() > give_up_s or (self.vcsd is not None and self.vcsd.poll() is not None):
                log = (self.root / "vcsd.log").read_text()[-2000:]
                raise SystemExit(f"waited in vain until {what}; vcsd said:\n{log}")
            time.sleep(pause_s)


@contextlib.contextmanager
def private_site(node: str = "bench") -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="vcs-bench-", ignore_cleanup_errors=True) as folder:
        site = Site(Path(folder), node)
        try:
            yield site
        finally:
            site.stop()


def _flow(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def make_job(folder: Path) -> Path:
    """A program that costs next to nothing: compiled where there is a compiler, else a shell script."""
    job = folder / "stamp"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        for flags in (["-static"], []):
            command = [compiler, "-O2", *flags, "-o", str(job), str(_HERE / "stamp.c")]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return job
    job.write_text(_SHELL_JOB)
    job.chmod(0o755)
    return job


def job_cost_ms(job: Path, repetitions: int = 50) -> float:
    """From just before it is started to its own first look at the clock, without us: what no manager can beat."""
    delays = []
    for _ in range(repetitions):
        began_s = time.time()
        done = subprocess.run([str(job)], capture_output=True, text=True, check=True)
        delays.append((float(done.stdout.split()[2]) - began_s) * 1000)
    return sorted(delays)[len(delays) // 2]


def next_minute(spare_s: float = 5.0) -> datetime:
    """The next whole minute that leaves time to get ready."""
    return (datetime.now(UTC) + timedelta(seconds=spare_s + 60)).replace(second=0, microsecond=0)


def minutes_from(first: datetime, count: int) -> list[str]:
    return [f"{first + timedelta(minutes=number):%H:%M}" for number in range(count)]


def sleep_until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


def second_node(site: Site, root: Path, node: str) -> Site:
    """Another node of the same cell: a root of its own, the shared directory of `site`."""
    other = Site(root, node)
    shared = root / "var/lib/vcs"
    shared.mkdir(parents=True)
    (shared / "shared").symlink_to(site.paths.root)
    other.paths = replace(site.paths)
    return other
