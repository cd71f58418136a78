"""Goals 1-3: from the instant of a slot to the job's own clock at its start.

Slots lie on whole minutes, so samples of them are rare. A retry is due at any instant and takes the same way through
the loop: its samples are many, and the percentiles come from them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from benchmarks import cron_peer
from benchmarks.figures import Line, Options, main, median, percentile
from benchmarks.site import Site, job_cost_ms, minutes_from, next_minute, private_site, sleep_until
from vcsctl.domain.history import Row
from vcsctl.store import history

RETRIES = 100  # the most that a unit may ask for
RETRY_DELAY_S = 0.2
FEW, MANY = 30, 10_000


@dataclass(frozen=True, slots=True)
class Times:
    first: datetime
    samples: int

    @property
    def hundred_at(self) -> datetime:
        return self.first + timedelta(minutes=self.samples)

    @property
    def thousand_at(self) -> datetime:
        return self.hundred_at + timedelta(minutes=1)


def measure(options: Options) -> list[Line]:
    lines = []
    with private_site() as site:
        cost_ms = job_cost_ms(site.job)
        lines.append(Line("-", "the job alone, spawned by a small program", cost_ms, "ms", note="part of each delay"))
        site.fill(FEW - 2)
        site.start()
        first = _declare_single(site, options.samples)
        site.reload()
        sleep_until(first + timedelta(minutes=options.samples - 1))
        lines += _single(site, FEW, options.samples)
    with private_site() as site:
        site.start()
        first = next_minute(15)
        _declare_bursts(site, first)
        site.reload()
        lines += _burst(site, "h", 100, 250.0, first, 1_100) + _burst(
            site, "t", 1_000, 2_400.0, first + timedelta(minutes=1), 1_100
        )
    with private_site() as site:
        site.fill(MANY - 1_102)
        site.start()
        times = Times(next_minute(20), options.samples)
        _declare_single(site, options.samples, times.first)
        _declare_bursts(site, times.hundred_at)
        site.reload()
        sleep_until(times.first + timedelta(minutes=options.samples - 1))
        lines += _single(site, MANY, options.samples)
        lines += _burst(site, "h", 100, 250.0, times.hundred_at, MANY)
        lines += _burst(site, "t", 1_000, 2_400.0, times.thousand_at, MANY)
    return cron_peer.beside(lines)


def _declare_single(site: Site, samples: int, first: datetime | None = None) -> datetime:
    """One service due each minute but the last, and in the last one that fails and is tried again and again."""
    first = first or next_minute()
    minutes = minutes_from(first, samples)
    if samples > 1:
        site.unit("one", run_at=minutes[:-1], days=None)
    retries = {"attempts": RETRIES, "delay": RETRY_DELAY_S, "max_delay": RETRY_DELAY_S}
    site.unit("again", run_at=minutes[-1:], days=None, code=1, retries=retries)
    return first


def _declare_bursts(site: Site, first: datetime) -> None:
    for prefix, count, minute in (("h", 100, first), ("t", 1_000, first + timedelta(minutes=1))):
        for number in range(count):
            site.unit(f"{prefix}-{number:04}", run_at=[f"{minute:%H:%M}"], days=None)


def _single(site: Site, loaded: int, samples: int) -> list[Line]:
    site.until(lambda: site.recorded("again") == RETRIES + 1, "all retries are over")
    runs = site.stamps("again")
    slots = [stamp.delay_ms for stamp in (*site.stamps("one"), runs[0])]
    ends: dict[str, Row] = {row.id: row for row in history.read(site.paths, "again")}
    delays = [
        (after.started_s - ends[before.run_id].at.timestamp() - RETRY_DELAY_S) * 1000
        for before, after in pairwise(runs)
    ]
    where = f"{loaded:,} units"
    return [
        Line("1", f"delay of 1 due, {where}: p50", median(delays), "ms", 5.0, note=f"{len(delays)} retries"),
        Line("1", f"delay of 1 due, {where}: p99", percentile(delays, 0.99), "ms", 15.0),
        Line(
            "1", f"delay of 1 slot, {where}: median", median(slots), "ms", 5.0, note=f"{len(slots)} of {samples} slots"
        ),
    ]


def _burst(site: Site, prefix: str, count: int, limit_ms: float, at: datetime, loaded: int) -> list[Line]:
    sleep_until(at)
    time.sleep(2 + count / 200)
    site.until(lambda: site.recorded(f"{prefix}-") >= count, f"{count} are recorded", pause_s=0.5)
    delays = [stamp.delay_ms for stamp in site.stamps(f"{prefix}-")]
    note = f"{count - len(delays)} lost; median {median(delays):,.0f} ms"
    goal = "2" if count == 100 else "3"
    return [Line(goal, f"last of {count:,} due, {loaded:,} units", max(delays), "ms", limit_ms, note=note)]


if __name__ == "__main__":
    main({"dispatch": measure})
