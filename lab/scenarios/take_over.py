"""A daemon with `run_on: any`: its node loses its processes, its power, its network; another takes over, never two."""

from __future__ import annotations

import time

from lab.cell import Cell, Service
from lab.machine import Machine
from lab.scenarios.cut import TERM_MOST_S
from lab.trial import Trial

LEASE_S = 30
SLACK_S = 30.0  # silent heartbeats and the polling of emulated machines come on top of the lease
SERVICES = (Service("radius", (), 86400, keys={"schedule": "daemon", "run_on": "any"}),)
EVERYTHING = "[/]opt/vcs/bin/vcsd|[/]opt/lab/job"  # vcsd, its runners, the daemon


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S) as cell:
        cell.put_up()
        cell.wait_for("radius")
        first, other = _active_and_other(cell)
        trial.fact(f"radius is active on {first.name}; {other.name} stands by")
        trial.moment()
        trial.ask(cell, other, "status", "radius")
        trial.ask(cell, other, "why", "radius")

        first.must(f"pkill -KILL -f '{EVERYTHING}'")
        began_s = cell.wait_for("radius", 2)
        died_s = cell.oracle.seen("radius")[0].last_at
        trial.measure("from kill -9 of everything to the other's start", began_s - died_s, most=SLACK_S)
        trial.expect(cell.machine_of("radius") is other, "all processes killed: the other node took over")
        cell.start_vcsd(first)
        _stays(trial, cell, other, "the killed node's new vcsd stands by")

        active, other = other, first
        off_s = active.power_off()
        trial.moment(off_s)
        with trial.watch(cell, other, "status radius", "why radius", "nodes"):
            began_s = cell.wait_for("radius", 3, patience_s=LEASE_S * 4)
        trial.measure("from power-off to the other's start", began_s - off_s, most=LEASE_S + SLACK_S)
        trial.expect(cell.machine_of("radius") is other, "power-off: the other node took over")
        cell.boot(active)
        cell.mount(active)
        cell.configure(active)
        cell.start_vcsd(active)
        _stays(trial, cell, other, "the node that is back stands by")

        active, other = other, active
        cut_s = active.cut()
        trial.moment(cut_s)
        with trial.watch(cell, other, "status radius", "why radius", "nodes"):
            began_s = cell.wait_for("radius", 4, patience_s=LEASE_S * 4)
        stopped_s = cell.oracle.seen("radius")[2].last_at
        trial.measure("from cut to the daemon's end", stopped_s - cut_s, most=TERM_MOST_S)
        trial.measure("from cut to the other's start", began_s - cut_s, least=LEASE_S / 2, most=LEASE_S + SLACK_S)
        trial.expect(cell.machine_of("radius") is other, "cut: the other node took over")
        active.heal()
        _stays(trial, cell, other, "the node whose cable is back stands by")

        cell.vcsctl(other, "disable", "radius", must=True)
        other.until(lambda: not _is_alive(cell), "the disabled daemon is stopped", LEASE_S)
        trial.settle(cell)
        ends = [(row["node"], row["outcome"], row["cause"]) for row in cell.rows()]
        trial.expect(len(ends) == 4, f"each of its four runs is recorded once: {ends}")
        trial.ask(cell, other, "history", "radius")
        trial.judge(cell)


def _active_and_other(cell: Cell) -> tuple[Machine, Machine]:
    active = cell.machine_of("radius")
    return active, next(node for node in cell.nodes if node is not active)


def _stays(trial: Trial, cell: Cell, active: Machine, text: str) -> None:
    """`text` holds when a node that came back says so itself and starts none of its own."""
    returned = next(node for node in cell.nodes if node is not active)
    before = len(cell.oracle.seen("radius"))
    returned.until(lambda: "stands by" in cell.vcsctl(returned, "status", "radius").output, text, 180)
    trial.expect(len(cell.oracle.seen("radius")) == before and _is_alive(cell), text)


def _is_alive(cell: Cell) -> bool:
    """The job is heard three times a second while its processor is not too busy."""
    return time.monotonic() - cell.oracle.seen("radius")[-1].last_at < 5.0
