"""Goal 11: from the unit files to the compiled catalog, and to a vcsd that uses it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Line, Options, main, median
from benchmarks.site import Site, private_site

COUNT = 10_000
GRAIN_S = 2.5  # a file younger than this is read again
SITUATIONS = (("nothing changed", 0.3), ("one changed", 0.3))


def measure(options: Options) -> list[Line]:
    repetitions = max(3, options.repetitions // 5)
    lines = []
    with private_site() as site:
        site.fill(COUNT)
        time.sleep(GRAIN_S)
        cold = [_compile(site, fresh=True) for _ in range(3)]
        lines.append(Line("11", f"compile {COUNT:,} units, cold", median(cold), "s", 3.0, note=f"{len(cold)} times"))
        for what, limit in SITUATIONS:
            times = [_compile_after(site, what) for _ in range(repetitions)]
            lines.append(Line("11", f"compile, {what}", median(times), "s", limit, note=f"{len(times)} times"))
        Path(site.where.snapshot).unlink()
        lines.append(Line("-", "start of vcsd until it answers, cold", site.start(), "s"))
        for what, limit in SITUATIONS:
            times = [_reload_after(site, what) for _ in range(repetitions)]
            lines.append(
                Line("11", f"reload through vcsd, {what}", median(times), "s", limit, note=f"{len(times)} times")
            )
        site.stop()
        lines.append(Line("-", "start of vcsd until it answers, warm", site.start(), "s"))
    return lines


def _touch_one(site: Site, what: str) -> None:
    if what == "one changed":
        site.unit("idle-00000", timeout=60 + time.monotonic_ns() % 100_000)


def _compile_after(site: Site, what: str) -> float:
    _touch_one(site, what)
    return _compile(site, fresh=False)


def _compile(site: Site, *, fresh: bool) -> float:
    where = site.where
    if fresh:
        Path(where.snapshot).unlink(missing_ok=True)
    command = [sys.executable, "-m", "vcsctl.catalog.compiler"]
    command += ["--vendor", where.vendor_units, "--site", where.site_units, "--snapshot", where.snapshot]
    began_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began_s


def _reload_after(site: Site, what: str) -> float:
    _touch_one(site, what)
    began_s = time.perf_counter()
    site.reload()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main({"load": measure})
