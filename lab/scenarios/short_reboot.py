"""The file server is rebooted within a third of its lease: no run is stopped, and its locks are still theirs."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 150  # a third of it must be enough for an emulated machine to boot
GRACE_S = 100  # two thirds of it, as docs/storage.md asks for
SERVICES = (
    Service("first", ("billing",), 240, keys={"nodes": ["bill1"]}),
    Service("second", ("rates",), 240, keys={"nodes": ["bill2"]}),
    Service("next", ("billing", "rates"), 5),
)


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S, grace_s=GRACE_S) as cell:
        cell.put_up()
        one, two = cell.nodes
        for name in ("first", "second"):
            trial.request(cell, one, name)
        for name in ("first", "second"):
            cell.wait_for(name)
        trial.request(cell, two, "next")
        off_s = cell.server.power_off()
        trial.moment(off_s)
        with trial.watch(cell, two, "status next", "queue"):
            cell.boot(cell.server)
            away_s = time.monotonic() - off_s
            trial.measure("the server was away for", away_s, most=LEASE_S / 3)
            cell.wait_for("next", patience_s=360)
        trial.settle(cell)
        for name in ("first", "second"):
            seen = cell.oracle.seen(name)
            trial.expect(len(seen) == 1 and seen[0].ended, f"{name} went on to its own end")
            ends = [row["outcome"] for row in cell.rows() if row["key"] == name]
            trial.expect(ends == ["ok"], f"{name} is recorded ok: {ends}")
        trial.judge(cell)
