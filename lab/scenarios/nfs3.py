"""NFS 3: refused without allow_nfs3; with it a dead node's group stays blocked, and `why` says what to do then."""

from __future__ import annotations

import time

from lab.cell import Service
from lab.trial import Trial

LEASE_S = 30
SERVICES = (
    Service("long", ("billing",), 900, keys={"nodes": ["bill1"]}),
    Service("next", ("billing",), 5, keys={"nodes": ["bill2"]}),
)


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, lease_s=LEASE_S) as cell:
        cell.boot()
        one, two = cell.nodes
        for node in cell.nodes:
            cell.mount(node, "vers=3")
        cell.make(one, allow_nfs3=True)
        cell.configure(two)
        refused = two.run("timeout 100 vcsd", timeout_s=120)
        trial.expect(refused.code == 5 and "allow_nfs3" in refused.output, "vcsd refuses NFS 3 and names allow_nfs3")
        trial.quote(two, "vcsd", refused.text)
        for node in cell.nodes:
            cell.configure(node, allow_nfs3=True)
            cell.start_vcsd(node)
        trial.request(cell, one, "long")
        cell.wait_for("long")
        trial.request(cell, two, "next")
        trial.moment(one.power_off())
        with trial.watch(cell, two, "status next", "why next", "nodes"):
            time.sleep(LEASE_S * 3)
        trial.expect(not cell.oracle.seen("next"), f"{LEASE_S * 3} s after the power-off the group is still blocked")
        why = cell.vcsctl(two, "why", "next").output
        told = [line.partition("#")[0].strip() for line in why.splitlines() if "/proc/fs/nfsd/" in line]
        if trial.expect(len(told) == 1, "`why` says what to do on the server"):
            cell.server.must(told[0])
            done_s = time.monotonic()
            began_s = cell.wait_for("next", patience_s=120)
            trial.measure(f"from `{told[0]}` on the server to the group's next run", began_s - done_s, most=30)
        trial.settle(cell)
        trial.judge(cell)
