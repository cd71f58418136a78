"""A node loses its power in mid-run: its run is recorded lost and run again, its group goes on after about a lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 30
SLACK_S = 30.0  # three silent heartbeats and the polling of emulated machines come on top of the lease


def run(trial: Trial) -> None:
    # Only a slot is run again, and a newer one takes its place: so one slot, a little later than the machines are up.
    soon = datetime.now(UTC) + timedelta(minutes=4)
    daily = {"schedule": "fixed-time", "run_at": [f"{soon:%H:%M}"], "timezone": "UTC", "on_lost": "rerun"}
    services = (Service("long", ("billing",), 900, keys=daily), Service("next", ("billing",), 5))
    with trial.cell(services, lease_s=LEASE_S) as cell:
        cell.put_up()
        cell.wait_for("long", patience_s=400)
        victim = cell.machine_of("long")
        survivor = next(node for node in cell.nodes if node is not victim)
        trial.fact(f"long runs on {victim.name}; next, of the same group, is requested on {survivor.name}")
        trial.request(cell, survivor, "next")
        off_s = victim.power_off()
        trial.moment(off_s)
        with trial.watch(cell, survivor, "status next", "why next", "nodes"):
            began_s = cell.wait_for("next", patience_s=LEASE_S * 4)
        trial.measure("from power-off to the group's next run", began_s - off_s, most=LEASE_S + SLACK_S)
        again_s = cell.wait_for("long", 2, patience_s=120)
        trial.measure("from power-off to the lost run's next attempt", again_s - off_s, most=LEASE_S + SLACK_S + 60)
        second = cell.oracle.seen("long")[1]
        trial.expect(
            second.attempt == 2 and second.machine == survivor.name, "long runs again, as attempt 2, on the other"
        )
        cell.vcsctl(survivor, "disable", "long", "--now", must=True)
        trial.settle(cell)
        lost = [row for row in cell.rows() if row["outcome"] == "lost"]
        trial.expect([row["cause"] for row in lost] == ["node-died"], f"one run is recorded lost: {_whys(lost)}")
        trial.ask(cell, survivor, "history", "long")
        trial.judge(cell)


def _whys(rows: list[dict[str, str]]) -> str:
    return "; ".join(f"{row['id']}: {row['why']}" for row in rows) or "none"
