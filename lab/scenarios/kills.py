"""vcsd and a runner are killed: a job outlives its vcsd, and is gone with its runner before its group goes on."""

from __future__ import annotations

from lab.cell import Service
from lab.trial import Trial

SERVICES = (
    Service("long", ("billing",), 60, keys={"nodes": ["bill1"]}),
    Service("next", ("billing",), 5, keys={"nodes": ["bill2"]}),
    Service("killed", ("billing",), 900, keys={"nodes": ["bill1"]}),
    Service("after", ("billing",), 5, keys={"nodes": ["bill2"]}),
)


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        cell.put_up()
        one, two = cell.nodes
        trial.request(cell, one, "long")
        cell.wait_for("long")
        cell.kill_vcsd(one)
        trial.moment()
        trial.request(cell, two, "next")
        with trial.watch(cell, two, "status long", "nodes"):
            cell.start_vcsd(one)
            next_s = cell.wait_for("next", patience_s=180)
        long = cell.oracle.seen("long")[0]
        trial.expect(long.ended, "the job of a killed vcsd went on to its end")
        trial.measure("from that end to the other node's next run of the group", next_s - long.last_at, most=10)
        trial.settle(cell)
        ends = [(row["outcome"], row["node"]) for row in cell.rows() if row["key"] == "long"]
        trial.expect(ends == [("ok", "bill1")], f"its outcome is on record, once: {ends}")
        trial.request(cell, one, "killed")
        cell.wait_for("killed")
        trial.request(cell, two, "after")
        runner = cell.runner_of("killed")
        one.must(f"kill -KILL {runner}")
        trial.moment()
        with trial.watch(cell, two, "status after"):
            cell.wait_for("after", patience_s=120)
        trial.settle(cell)
        ends = [(row["outcome"], row["cause"]) for row in cell.rows() if row["key"] == "killed"]
        trial.expect(ends == [("lost", "runner-died")], f"the run of a killed runner is recorded lost, once: {ends}")
        trial.judge(cell)
