"""A cable is out for less than a third of the lease: no run is stopped."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 60
AWAY_S = LEASE_S / 3 - 8.0  # the connection is found again some seconds after the cable is back
SERVICES = (Service("long", ("billing",), 90, keys={"nodes": ["bill1"]}), Service("next", ("billing",), 5))


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S) as cell:
        cell.put_up()
        one, two = cell.nodes
        trial.request(cell, one, "long")
        cell.wait_for("long")
        trial.request(cell, two, "next")
        cut_s = one.cut()
        trial.moment(cut_s)
        with trial.watch(cell, two, "status long", "nodes"):
            time.sleep(AWAY_S)
            one.heal()
            cell.wait_for("next", patience_s=180)
        trial.fact(f"the cable was out for {AWAY_S:.0f} s, the lease is {LEASE_S} s")
        trial.settle(cell)
        seen = cell.oracle.seen("long")
        trial.expect(len(seen) == 1 and seen[0].ended, "the run went on to its own end")
        ends = [row["outcome"] for row in cell.rows() if row["key"] == "long"]
        trial.expect(ends == ["ok"], f"and is recorded ok: {ends}")
        trial.judge(cell)
