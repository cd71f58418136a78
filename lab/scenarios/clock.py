"""A node's clock is 3 s off: no slot is run twice. It is 30 s off: the node claims none and says so."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

SERVICES = (
    Service("each-minute", ("billing",), 2, period=1),
    Service("there-only", (), 2, period=1, keys={"nodes": ["bill2"]}),
)
SLOTS = 4


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        cell.nodes[1].clock_offset_s = 3.0
        cell.put_up()
        one, two = cell.nodes
        trial.ask(cell, one, "nodes")
        for unit in ("each-minute", "there-only"):
            cell.wait_for(unit, SLOTS, patience_s=60 * (SLOTS + 2))
        slots = [seen.slot for seen in cell.oracle.seen("each-minute")]
        trial.expect(len(slots) == len(set(slots)), f"3 s ahead: {len(slots)} slots, none repeated")
        two.set_clock(-3.0)
        before = len(cell.oracle.seen("there-only"))
        cell.wait_for("there-only", before + 2, patience_s=240)
        slots = [seen.slot for seen in cell.oracle.seen("each-minute")]
        trial.expect(len(slots) == len(set(slots)), f"3 s behind, after a step back: {len(slots)} slots, none repeated")

        two.set_clock(30.0)
        trial.moment()
        time.sleep(20)  # it measures its clock at each heartbeat; a run that was claimed before may still begin
        before = len(cell.oracle.seen("there-only"))
        there = len(cell.oracle.seen("each-minute", two.name))
        with trial.watch(cell, one, "nodes", "why there-only"):
            time.sleep(130)  # two slots and more
        trial.expect(len(cell.oracle.seen("there-only")) == before, "30 s ahead: it claimed none of its own slots")
        trial.expect(
            len(cell.oracle.seen("each-minute", two.name)) == there, "30 s ahead: it claimed none of the common slots"
        )
        said = cell.vcsctl(one, "nodes").output
        trial.expect(
            "claims nothing" in said or "sets its clock" in said, "30 s ahead: `vcsctl nodes` on the other node says so"
        )
        trial.expect("clock of node" in cell.log(two), "30 s ahead: its own log says so")
        two.set_clock(0.0)
        cell.wait_for("there-only", before + 1, patience_s=240)
        trial.fact("set right it claims again")
        trial.settle(cell)
        trial.judge(cell)
