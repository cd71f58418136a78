"""A forecast of the next minutes, and then these minutes by a real vcsd with real processes: do they agree?

make foresee MINUTES=10. It takes as long as it says: the slots are those of the clock on the wall.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agreement import disagreements
from sites import Site

from vcsctl.domain.forecast import Outset, at_rest, forecast
from vcsctl.domain.unit import Periodical
from vcsctl.store import history
from vcsctl.store.paths import Paths

# name, period, align, groups, seconds: one queue of three, one of two that never get out of each other's way, one of
# runs longer than their period, and one that needs both queues' groups.
SERVICES = [
    ("first", 1, 0, ("g",), 11.0),
    ("second", 1, 0, ("g",), 17.0),
    ("third", 2, 0, ("g",), 23.0),
    ("long", 1, 0, ("h",), 70.0),
    ("beside", 3, 1, ("h",), 12.0),
    ("both", 5, 2, ("g", "i"), 9.0),
    ("other", 1, 0, ("i",), 33.0),
    ("alone", 1, 0, (), 2.0),
]
BEFORE_S = 15.0  # vcsd begins so long before the first slot


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    minutes = options.parse_args().minutes
    units = {
        name: Periodical(name=name, exec=("/bin/sleep", str(lasts_s)), period=period, align=align, groups=groups)
        for name, period, align, groups, lasts_s in SERVICES
    }
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "site")
        for unit in units.values():
            groups = f"groups: [{', '.join(unit.groups)}]\n" if unit.groups else ""
            argv = ", ".join(unit.exec)
            site.unit(
                unit.name,
                f"schedule: periodical\nperiod: {unit.period}\nalign: {unit.align}\n{groups}exec: [{argv}]\n",
            )
        time.sleep((60.0 - BEFORE_S - time.time()) % 60.0)
        start = (datetime.now(UTC) + timedelta(seconds=60)).replace(second=0, microsecond=0)
        until = start + timedelta(minutes=minutes)
        site.start()
        print(f"until {until.astimezone():%H:%M:%S}", flush=True)
        time.sleep(until.timestamp() - time.time())
        rows = [row for name in units for row in history.read(Paths(str(site.shared)), name) if row.is_run]
        for name in units:
            site.vcsctl("disable", name, "--now")
        site.stop()
    views = tuple(at_rest(unit, name, "UTC", start) for name, unit in units.items())
    lasts = {name: (lasts_s,) for name, *_, lasts_s in SERVICES}
    foreseen = forecast(Outset(views, lasts, timedelta(minutes=10)), start, until)
    found = disagreements(foreseen, rows, units)
    waits = sum(run.wait_s for run in foreseen.runs), sum(row.queue_wait_s or 0.0 for row in rows)
    print(
        f"{len(foreseen.runs)} runs foreseen, {len(rows)} ended; waits {waits[0]:.1f} s foreseen, {waits[1]:.1f} s really"
    )
    print("\n".join(found) or "they agree within ten percent")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
