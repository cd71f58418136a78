"""Goals 5 and 6: from the end of a run to the start of the one that waited for its group, by the jobs' own clocks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.figures import Line, Options, main, median, percentile
from benchmarks.site import Site, make_job, private_site, second_node

HOLD_S = 0.15  # longer than it takes until the other one waits
NODES_HOLD_S = 0.5


def measure(options: Options) -> list[Line]:
    peer = _flock(options.repetitions)
    with private_site() as site:
        site.unit("left", groups=["shared"], seconds=HOLD_S)
        site.unit("right", groups=["shared"], seconds=HOLD_S)
        site.start()
        gaps = _gaps(site, options.repetitions)
    name = "flock(1)" if peer is not None else "flock(1): not installed"
    lines = [
        Line("5", "hand-over on one node: p50", median(gaps), "ms", 3.0, False, name, peer, f"{len(gaps)} hand-overs"),
        Line("5", "hand-over on one node: p99", percentile(gaps, 0.99), "ms"),
    ]
    return lines + _two_nodes(options.repetitions)


def _gaps(site: Site, repetitions: int) -> list[float]:
    for number in range(1, repetitions + 1):
        site.request("left", "right")
        site.until(lambda wanted=number: site.recorded("") >= 2 * wanted, "both are over")  # type: ignore[misc]
    stamps = site.stamps("")
    pairs = [(stamps[2 * number], stamps[2 * number + 1]) for number in range(repetitions)]
    return [(after.started_s - before.ended_s) * 1000 for before, after in pairs]


def _two_nodes(repetitions: int) -> list[Line]:
    """Two vcsd, one shared directory, a service on each: the end on one node is no event on the other."""
    measure_name = "hand-over between two nodes: p50"
    with private_site("one") as site, tempfile.TemporaryDirectory(prefix="vcs-bench-") as folder:
        other = second_node(site, Path(folder) / "two", "two")
        for node in (site, other):
            node.unit("left", groups=["shared"], seconds=NODES_HOLD_S, nodes=["one"])
            node.unit("right", groups=["shared"], seconds=NODES_HOLD_S, nodes=["two"])
        site.start()
        try:
            other.start()
            gaps = []
            for number in range(1, repetitions + 1):
                site.request("left")
                time.sleep(0.1)
                other.request("right")
                site.until(lambda wanted=number: site.recorded("") >= 2 * wanted, "both are over", 20.0)  # type: ignore[misc]
            stamps = sorted([*site.stamps(""), *other.stamps("")], key=lambda stamp: stamp.started_s)
            for before, after in pairwise(stamps):
                if before.run_id.startswith("left") and after.run_id.startswith("right"):
                    gaps.append((after.started_s - before.ended_s) * 1000)
        except SystemExit as error:
            print(f"two nodes: left out: {error}")
            return []
        finally:
            other.stop()
        note = f"{len(gaps)} hand-overs; worst {max(gaps):.0f} ms"
        return [Line("6", measure_name, median(gaps), "ms", 50.0, note=note)]


def _flock(repetitions: int) -> float | None:
    flock = shutil.which("flock")
    if flock is None:
        return None
    gaps = []
    with tempfile.TemporaryDirectory(prefix="vcs-bench-") as folder:
        job, lock = make_job(Path(folder)), f"{folder}/lock"
        for _ in range(repetitions):
            command = [flock, lock, str(job), str(HOLD_S), "0"]
            first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            time.sleep(0.02)
            second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            rows = sorted(process.communicate()[0].split()[2:] for process in (first, second))
            gaps.append((float(rows[1][0]) - float(rows[0][1])) * 1000)
    return median(gaps)


if __name__ == "__main__":
    main({"handover": measure})
