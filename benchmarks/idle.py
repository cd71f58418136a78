"""Goals 7, 8 and 13: what vcsd costs while nothing is due, and what a running run adds."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.figures import Line, Options, main
from benchmarks.site import Site, private_site

FEW, MANY, RUNNING = 30, 10_000, 20
SETTLE_S = 8.0


def measure(options: Options) -> list[Line]:
    lines = []
    for number, count, cpu_percent, memory_mib in (("7", FEW, 0.02, 30.0), ("8", MANY, 0.1, 90.0)):
        with private_site() as site:
            site.fill(count)
            site.start()
            time.sleep(SETTLE_S)
            before_s = cpu_s(site.pid)
            time.sleep(options.idle_s)
            percent = (cpu_s(site.pid) - before_s) / options.idle_s * 100
            lines.append(Line(number, f"idle CPU, {count:,} units", percent, "%", cpu_percent))
            lines.append(Line(number, f"idle memory, {count:,} units", pss_mib(site.pid), "MiB", memory_mib))
            if count == FEW:
                lines.append(_running(site))
    return lines


def _running(site: Site) -> Line:
    names = [f"running-{number:02}" for number in range(RUNNING)]
    for name in names:
        site.unit(name, seconds=12)
    site.reload()
    alone_mib = _tree_mib(site.pid)
    site.request(*names)
    running = site.root / "var/lib/vcs/shared/running"
    site.until(lambda: len(list(running.glob("running-*.json"))) == RUNNING, "all are running")
    time.sleep(4)  # long enough for each runner's thread to be there
    added_mib = (_tree_mib(site.pid) - alone_mib) / RUNNING
    site.until(lambda: site.recorded("running") == RUNNING, "all are over")
    return Line(
        "13", "memory that a running run adds", added_mib, "MiB", 4.0, note=f"{RUNNING} at once, command included"
    )


def cpu_s(pid: int) -> float:
    """Seconds on a processor, all threads, in nanosecond grain."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def pss_mib(pid: int) -> float:
    """The proportional set: pages shared with others count by their share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _tree_mib(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pss_mib(pid) + sum(_tree_mib(int(child)) for child in children)


if __name__ == "__main__":
    main({"idle": measure})
