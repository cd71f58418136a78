"""Two machines of one host name, which an NFSv4 server takes for one: the second is refused, and starts nothing."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

SERVICES = (Service("long", ("billing",), 900), Service("each-minute", ("rates",), 2, period=1))


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        one, two = cell.nodes
        two.host_name = one.name
        cell.boot()
        cell.mount(one)
        cell.make(one)
        cell.on_all(cell.configure)
        cell.start_vcsd(one)
        trial.request(cell, one, "long")
        cell.wait_for("long")
        cell.mount(two)
        trial.moment()
        cell.start_vcsd(two, wait=False)
        two.until(lambda: "host name" in cell.log(two), "vcsd speaks of the host name", 180)
        trial.quote(two, "vcsd", cell.log(two))
        time.sleep(75)  # more than one slot
        trial.expect(not cell.oracle.seen(machine=two.name), "the second machine started nothing")
        slots = len(cell.oracle.seen("each-minute"))
        cell.wait_for("each-minute", slots + 1, patience_s=150)
        trial.fact("the first goes on starting its own")
        # The server takes the second's mount for the first come back from a reboot, and forgets the first's locks.
        ended = [row for row in cell.rows() if row["key"] == "long"]
        trial.fact(f"the run that the first had: {ended[0]['why'] if ended else 'it goes on'}")
        trial.quote(one, "vcsd", cell.log(one))
        trial.ask(cell, one, "nodes")
        cell.vcsctl(one, "disable", "each-minute", must=True)
        cell.vcsctl(one, "stop", "long")
        trial.settle(cell)
        trial.judge(cell)
