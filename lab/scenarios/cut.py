"""A node's cable is pulled in mid-run and put back: its runs are stopped before the server gives their locks away."""

from __future__ import annotations

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 30
ON_ONE = {"nodes": ["bill1"]}
ON_TWO = {"nodes": ["bill2"]}
SERVICES = (
    Service("polite", ("billing",), 900, keys=ON_ONE),
    Service("stubborn", ("rates",), 900, stubborn=True, keys=ON_ONE),
    Service("after-polite", ("billing",), 5, keys=ON_TWO),
    Service("after-stubborn", ("rates",), 5, keys=ON_TWO),
    Service("short", ("billing",), 2, keys=ON_ONE),
)
# The last good proof began up to a sixth of the lease before the cut; a job is heard three times a second.
TERM_LEAST_S, TERM_MOST_S = LEASE_S / 3 - 2.0, LEASE_S / 2 + 2.0
KILL_LEAST_S, KILL_MOST_S = LEASE_S / 2 - 2.0, LEASE_S * 2 / 3 + 2.0


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S) as cell:
        cell.put_up()
        one, two = cell.nodes
        for name in ("polite", "stubborn"):
            trial.request(cell, one, name)
        cell.wait_for("polite")
        cell.wait_for("stubborn")
        for name in ("after-polite", "after-stubborn"):
            trial.request(cell, two, name)
        cut_s = one.cut()
        trial.moment(cut_s)
        with trial.watch(cell, two, "status polite", "why after-polite", "nodes"):
            polite_s = cell.wait_for("after-polite", patience_s=LEASE_S * 4)
            stubborn_s = cell.wait_for("after-stubborn", patience_s=LEASE_S * 4)
        polite, stubborn = cell.oracle.seen("polite")[0], cell.oracle.seen("stubborn")[0]
        trial.measure("from cut to the end of a job that obeys TERM", polite.last_at - cut_s, most=TERM_MOST_S)
        if trial.expect(stubborn.termed_at is not None, "a job that ignores TERM got one"):
            assert stubborn.termed_at is not None
            trial.measure("from cut to that TERM", stubborn.termed_at - cut_s, least=TERM_LEAST_S, most=TERM_MOST_S)
        trial.measure("from cut to its KILL", stubborn.last_at - cut_s, least=KILL_LEAST_S, most=KILL_MOST_S)
        trial.measure("from cut to the first group's next run", polite_s - cut_s, least=LEASE_S / 2, most=LEASE_S + 30)
        trial.measure(
            "from cut to the second group's next run", stubborn_s - cut_s, least=LEASE_S * 2 / 3, most=LEASE_S + 30
        )
        one.heal()
        trial.quote(one, "vcsctl status", cell.vcsctl(one, "status", "polite").output)
        trial.settle(cell)
        for name in ("polite", "stubborn"):
            ends = [(row["outcome"], row["cause"]) for row in cell.rows() if row["key"] == name]
            trial.expect(len(ends) == 1 and ends[0][0] == "lost", f"{name} is recorded once, and lost: {ends}")
        trial.request(cell, one, "short")
        cell.wait_for("short", patience_s=120)
        trial.fact("after the cable was put back the node runs again by itself")
        trial.settle(cell)
        trial.ask(cell, two, "history", "polite")
        trial.judge(cell)
