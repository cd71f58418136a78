"""`vcsctl doctor --serve` on one node and `--peer` on another prove an NFSv4 share between the two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from lab.cell import Service
from lab.trial import Trial

SERVICES = (Service("idle", ("billing",), 5),)
PATIENCE_S = 300.0


def run(trial: Trial) -> None:
    with trial.cell(SERVICES) as cell:
        cell.boot()
        one, two = cell.nodes
        cell.on_all(cell.mount)
        cell.make(one)
        cell.on_all(cell.configure)
        with ThreadPoolExecutor() as pool:
            serving = pool.submit(cell.vcsctl, one, "doctor", "--serve", "--within", "4m", timeout_s=PATIENCE_S)
            peer = cell.vcsctl(two, "doctor", "--peer", "--within", "4m", timeout_s=PATIENCE_S)
            served = serving.result()
        for node, option, done in ((one, "--serve", served), (two, "--peer", peer)):
            trial.quote(node, f"vcsctl doctor {option}", f"{done.text}\n(exit {done.code})")
            trial.expect(done.code == 0, f"doctor {option} passes (exit {done.code})")
        trial.judge(cell)
