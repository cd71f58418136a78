"""Goal 4: short runs per second, each claimed, logged and on record. Counted in the history; none may be missing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Line, Options, main
from benchmarks.site import Site, make_job, minutes_from, next_minute, private_site

GOAL = 450.0
QUEUED = 2_000
LOOPING, ATTEMPTS = 20, 100
PEER_RUNS = 2_000


def measure(options: Options) -> list[Line]:
    peers = {"make -j4": _make(), "task-spooler": _task_spooler()}
    name, value = next(((name, value) for name, value in peers.items() if value), ("make, tsp: not installed", None))
    with private_site() as site:
        queued = _queued(site)
    with private_site() as site:
        looping = _looping(site)
    lines = [
        Line("4", f"{QUEUED:,} requests of as many services", queued, "/s", GOAL, True, name, value),
        Line("4", f"{LOOPING} services run again and again", looping, "/s", GOAL, True, name, value),
    ]
    others = [(name, value) for name, value in list(peers.items())[1:] if value]
    return lines + [Line("-", f"peer: {name}", value, "/s", note="keeps no record") for name, value in others]


def _queued(site: Site) -> float:
    """All requests wait when vcsd starts: from the first job's start to the last row of history."""
    names = [f"job-{number:04}" for number in range(QUEUED)]
    for name in names:
        site.unit(name)
    site.start()
    site.stop()
    site.vcsd = None
    site.request(*names)
    site.start()
    return _rate(site, QUEUED)


def _looping(site: Site) -> float:
    """A service that fails and is tried again at once comes back as soon as its outcome is on record."""
    minute = minutes_from(next_minute(), 1)
    retries = {"attempts": ATTEMPTS, "delay": 0.001, "max_delay": 0.001}
    for number in range(LOOPING):
        site.unit(f"job-{number:04}", run_at=minute, days=None, code=1, retries=retries)
    site.start()
    site.reload()
    return _rate(site, LOOPING * (ATTEMPTS + 1))


def _rate(site: Site, expected: int) -> float:
    site.until(lambda: site.recorded("job-") >= expected, f"{expected} runs are recorded", pause_s=0.25)
    stamps = site.stamps("job-")
    if len(stamps) != expected:
        raise SystemExit(f"{expected - len(stamps)} of {expected} runs left no log")
    return expected / (stamps[-1].ended_s - stamps[0].started_s)


def _make() -> float | None:
    if shutil.which("make") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="vcs-bench-") as folder:
        job = make_job(Path(folder))
        targets = " ".join(f"t{number}" for number in range(PEER_RUNS))
        (Path(folder) / "Makefile").write_text(f"all: {targets}\n{targets}:\n\t@{job} 0 0\n")
        began_s = time.monotonic()
        subprocess.run(["make", "-s", "-j4"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return PEER_RUNS / (time.monotonic() - began_s)


def _task_spooler() -> float | None:
    """From the first job's own start to the last one's end, all of them queued before."""
    spooler = shutil.which("tsp")
    if spooler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="vcs-bench-") as folder:
        job, out = make_job(Path(folder)), Path(folder) / "out"
        environment = {"TS_SOCKET": f"{folder}/socket", "TMPDIR": folder, "TS_MAXFINISHED": "10"}
        try:
            # Held back by the first one until all are queued.
            count = 500
            hold = [spooler, "-n", "/bin/sh", "-c", f"while [ ! -e {folder}/go ]; do sleep 0.05; done"]
            subprocess.run(hold, env=environment, check=True, capture_output=True)
            script = f"exec {job} 0 0 >>{out}"
            for _ in range(count):
                subprocess.run(
                    [spooler, "-n", "/bin/sh", "-c", script], env=environment, check=True, capture_output=True
                )
            (Path(folder) / "go").touch()
            give_up_s = time.monotonic() + 30
            while not out.exists() or len(rows := out.read_text().splitlines()) < count:
                if time.monotonic() > give_up_s:
                    return None
                time.sleep(0.05)
            return count / (float(rows[-1].split()[3]) - float(rows[0].split()[2]))
        finally:
            subprocess.run([spooler, "-K"], env=environment, check=False, capture_output=True)


if __name__ == "__main__":
    main({"throughput": measure})
