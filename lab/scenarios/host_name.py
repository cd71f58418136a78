"""Two machines of one host name, which a file server takes for one: the second is refused."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

SERVICES = (Service("long", ("billing",), 60), Service("next", ("billing",), 5, keys={"nodes": ["bill2"]}))


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        one, two = cell.nodes
        two.host_name = one.name
        cell.boot()
        for node in cell.nodes:
            cell.mount(node)
        cell.make(one)
        for node in cell.nodes:
            cell.configure(node)
        cell.start_vcsd(one)
        trial.moment()
        cell.start_vcsd(two, wait=False)
        two.until(lambda: "host name" in cell.log(two), "vcsd speaks of the host name", 180)
        trial.quote(two, "vcsd", cell.log(two))
        trial.request(cell, one, "next")
        time.sleep(60)
        trial.expect(not cell.oracle.seen(machine=two.name), "the second machine started nothing")
        trial.ask(cell, one, "nodes")
        trial.judge(cell, settled=False)
