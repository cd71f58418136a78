"""One node at a time restarts a daemon that runs on each of them and whose unit changed: the others wait until its new
process is ready, or has failed. Memory and one lock; the lock is free when this vcsd dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vcsctl.domain.run import Claim, service_of
from vcsctl.store import daemons, locks
from vcsctl.store.locks import Grant
from vcsctl.store.paths import Paths
from vcsctl.store.state import KeyState
from vcsctl.vcsd.clocks import Clocks

_PATIENCE_S = 600.0  # a daemon that is neither ready nor failed by then holds nobody up any more


@dataclass(slots=True)
class _Roll:
    grant: Grant
    key: str
    fence: int
    give_up_s: float


@dataclass(slots=True)
class Rolling:
    """`told` is the folder in which runners tell how their daemons are, None where they do not; `is_wanted`, whether a
    KEY is to be started."""

    paths: Paths
    told: str | None
    clocks: Clocks
    state: Callable[[str], KeyState]
    is_wanted: Callable[[str], bool]
    _rolls: dict[str, _Roll] = field(default_factory=dict)

    def begin(self, claim: Claim) -> str:
        """Why it cannot begin now; empty when it may. The lock is that of the service's bare name, which no run of a
        daemon of each node takes."""
        service = service_of(claim.key)
        if service == claim.key or service in self._rolls:
            return ""
        lock = locks.try_lock(self.paths.key_lock(service))
        if lock is None:
            return "its unit changed, and another node restarts it now: one at a time"
        lock.write(lock.next_fence(), f"the restart of {claim.key}")
        self._rolls[service] = _Roll(Grant(lock, {}), claim.key, claim.fence, self.clocks.monotonic() + _PATIENCE_S)
        return ""

    def look(self) -> None:
        """Lets the next node begin where ours is done."""
        told: dict[str, str] | None = None
        for service, roll in list(self._rolls.items()):
            if told is None and self.told is not None:
                told = {run_id: one.value.phase for run_id, one in daemons.told_here(self.told).items()}
            if self._is_over(roll, told):
                del self._rolls[service]
                roll.grant.unlock()
                roll.grant.close()

    def _is_over(self, roll: _Roll, phases: dict[str, str] | None) -> bool:
        found = self.state(roll.key)
        if found.run is None or self.clocks.monotonic() > roll.give_up_s:
            return True
        claim = found.run.value
        if found.end is not None:
            return not self.is_wanted(roll.key)
        return claim.fence > roll.fence and (phases is None or phases.get(claim.run_id) in ("up", "reloading"))
