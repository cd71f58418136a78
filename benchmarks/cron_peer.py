"""The peer of `dispatch`: busybox crond with a private crontab, in minutes of its own. It needs no service."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.figures import Line
from benchmarks.site import make_job, next_minute, sleep_until

COUNTS = (1, 100, 1_000)
NAME = "busybox crond"


def beside(lines: list[Line]) -> list[Line]:
    """The lines with the peer's figure in those that have one."""
    found = measure()
    return [
        replace(line, peer=NAME, peer_value=found.get(_due(line))) if found and _due(line) else _without(line)
        for line in lines
    ]


def _due(line: Line) -> int:
    return {"1": 1, "2": 100, "3": 1_000}.get(line.number, 0)


def _without(line: Line) -> Line:
    return replace(line, peer=f"{NAME}: not installed") if _due(line) else line


def measure() -> dict[int, float]:
    """Due at once → delay of the last in ms; empty where there is no busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="vcs-bench-") as folder:
        job, out, tables = make_job(Path(folder)), Path(folder) / "out", Path(folder) / "tables"
        tables.mkdir()
        first = next_minute()
        entries = []
        for number, count in enumerate(COUNTS):
            at = first + timedelta(minutes=number)
            local = at.astimezone()
            entries += [f"{local.minute} {local.hour} * * * {job} 0 0 {at.timestamp():.0f} >>{out}\n"] * count
        table = tables / getpass.getuser()
        table.write_text("".join(entries))
        crond = subprocess.Popen([busybox, "crond", "-f", "-c", str(tables), "-L", f"{folder}/log"])
        try:
            sleep_until(first + timedelta(minutes=len(COUNTS) - 1))
            time.sleep(12)
        finally:
            crond.terminate()
            crond.wait()
        found: dict[int, float] = {}
        rows = [line.split() for line in out.read_text().splitlines()] if out.exists() else []
        for number, count in enumerate(COUNTS):
            due_s = (first + timedelta(minutes=number)).timestamp()
            delays = [(float(row[2]) - due_s) * 1000 for row in rows if float(row[0]) == due_s]
            if len(delays) == count:
                found[count] = max(delays)
        return found
