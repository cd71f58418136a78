"""The file server is off for longer than half its lease: every grouped run is stopped, nothing runs twice."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 60
AWAY_S = LEASE_S * 0.8
SERVICES = (
    Service("first", ("billing",), 900, keys={"nodes": ["bill1"]}),
    Service("second", ("rates",), 900, keys={"nodes": ["bill2"]}),
    Service("going-on", (), 900, keys={"nodes": ["bill2"], "on_storage_loss": "continue"}),
    Service("next", ("billing", "rates"), 5),
)


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S) as cell:
        cell.put_up()
        one, two = cell.nodes
        for name in ("first", "second", "going-on"):
            trial.request(cell, one, name)
        for name in ("first", "second", "going-on"):
            cell.wait_for(name)
        trial.request(cell, two, "next")
        off_s = cell.server.power_off()
        trial.moment(off_s)
        with trial.watch(cell, two, "status next"):
            time.sleep(AWAY_S)
        for name in ("first", "second"):
            seen = cell.oracle.seen(name)[0]
            trial.measure(f"from the server's end to the end of {name}", seen.last_at - off_s, most=LEASE_S / 2 + 2)
        cell.boot(cell.server)
        back_s = time.monotonic()
        trial.measure("the server was away for", back_s - off_s)
        began_s = cell.wait_for("next", patience_s=LEASE_S * 3)
        trial.measure("from the server's return to the next run", began_s - back_s, most=cell.grace_s + 60)
        going_on = cell.oracle.seen("going-on")[0]
        heard_s = going_on.last_at
        time.sleep(2.0)
        trial.expect(going_on.last_at > heard_s, "what has no group and says on_storage_loss: continue went on")
        cell.vcsctl(two, "stop", "going-on", must=True)
        trial.settle(cell)
        ends = {row["key"]: (row["outcome"], row["cause"]) for row in cell.rows()}
        lost = {name: ends.get(name) for name in ("first", "second")}
        trial.expect(
            all(end and end[0] == "lost" for end in lost.values()), f"the grouped runs are recorded lost: {lost}"
        )
        trial.ask(cell, two, "history", "first")
        trial.judge(cell)
