"""A node whose share is not mounted: vcsd waits and says so, starts nothing, and begins when the share is there."""

from __future__ import annotations

import time

from lab.cell import SHARED, Service
from lab.trial import Trial

SERVICES = (Service("each-minute", ("billing",), 2, period=1, keys={"nodes": ["bill2"]}),)


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        cell.boot()
        one, two = cell.nodes
        cell.mount(one)
        cell.make(one)
        for node in cell.nodes:
            cell.configure(node)
        cell.start_vcsd(one)
        two.must(f"mkdir -p {SHARED}")
        cell.start_vcsd(two, wait=False)
        trial.moment()
        with trial.watch(cell, two, "status"):
            time.sleep(100)  # more than one slot
        log = cell.log(two)
        trial.quote(two, "vcsd", log)
        trial.expect("mount the shared directory" in log, "vcsd says that the cell is not there")
        trial.expect(two.run("pgrep -f /opt/vcs/bin/vcsd").ok, "vcsd waits")
        trial.expect(not cell.oracle.seen(), "nothing was started")
        trial.expect(not two.must(f"ls {SHARED}"), "nothing was written into the empty directory")
        cell.mount(two)
        mounted_s = time.monotonic()
        began_s = cell.wait_for("each-minute", patience_s=180)
        trial.measure("from the mount to the first run", began_s - mounted_s, most=90)
        trial.settle(cell)
        trial.judge(cell)
