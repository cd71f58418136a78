"""Storage whose locks failed one proof and pass the next."""

from __future__ import annotations

from pathlib import Path

from sites import Site

# The proof at the start passes, the next one is refused, all later ones pass; an hour passes at once.
REFUSED_ONCE = """
from vcsctl.errors import RefusedError
from vcsctl.vcsd import daemon, turns
real, plan, proofs = daemon.prove_storage, turns.Turns._plan_chores, []
def prove(*where, **how):
    proofs.append(1)
    if len(proofs) == 2:
        raise RefusedError("a lock was refused that nobody holds")
    return real(*where, **how)
def plan_and_prove(self):
    plan(self)
    for chore in self._hourly:
        self.troubles.guarded(chore)
daemon.prove_storage, turns.Turns._plan_chores = prove, plan_and_prove
"""


def test_a_node_claims_again_at_the_heartbeat_after_a_proof_that_passes(tmp_path: Path) -> None:
    site = Site(tmp_path, REFUSED_ONCE)
    site.configure("heartbeat: 1s\npoll: 200ms\n")
    site.start()
    try:
        log = tmp_path / "vcsd.log"
        site.until(lambda: "a lock was refused" in log.read_text(), "it says why it claims nothing", 10)
        site.until(lambda: "claims again" in log.read_text(), "it claims again", 10)
    finally:
        site.stop()
