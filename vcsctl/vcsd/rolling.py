"""One node at a time restarts a daemon that runs on each of them and whose unit changed: the others wait until its new
process is ready, or has failed. Memory and a permit; what this vcsd was permitted ends with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vcsctl.domain.run import Claim, service_of
from vcsctl.store import daemons
from vcsctl.store.state import KeyState
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.permits import Permits

_PATIENCE_S = 600.0  # a daemon that is neither ready nor failed by then holds nobody up any more
_FORGOTTEN_AFTER_S = 15.0  # who waits asks once a second; who does not any more has changed its mind


@dataclass(frozen=True, slots=True)
class _Roll:
    key: str
    fence: int
    give_up_s: float


@dataclass(slots=True)
class Rolling:
    """`told` is the folder in which runners tell how their daemons are, None where they do not; `is_wanted`, whether a
    KEY is to be started."""

    permits: Permits
    told: str | None
    clocks: Clocks
    state: Callable[[str], KeyState]
    is_wanted: Callable[[str], bool]
    _rolls: dict[str, _Roll] = field(default_factory=dict)
    _asked_s: dict[str, float] = field(default_factory=dict)  # services that wait for their turn

    def begin(self, claim: Claim) -> str:
        """Why it cannot begin now; empty when it may."""
        service, now_s = service_of(claim.key), self.clocks.monotonic()
        if service == claim.key or service in self._rolls:
            return ""
        if not self.permits.take(service, claim.key):
            self._asked_s[service] = now_s
            return "its unit changed, and another node restarts it now: one at a time"
        self._asked_s.pop(service, None)
        self._rolls[service] = _Roll(claim.key, claim.fence, now_s + _PATIENCE_S)
        return ""

    def look(self) -> None:
        """Lets the next node begin where ours is done."""
        now_s = self.clocks.monotonic()
        for service in [name for name, asked_s in self._asked_s.items() if now_s - asked_s > _FORGOTTEN_AFTER_S]:
            del self._asked_s[service]
            self.permits.give_back(service)
        told: dict[str, str] | None = None
        for service, roll in list(self._rolls.items()):
            if told is None and self.told is not None:
                told = {run_id: one.value.phase for run_id, one in daemons.told_here(self.told).items()}
            if self._is_over(roll, told):
                del self._rolls[service]
                self.permits.give_back(service)

    def _is_over(self, roll: _Roll, phases: dict[str, str] | None) -> bool:
        found = self.state(roll.key)
        if found.run is None or self.clocks.monotonic() > roll.give_up_s:
            return True
        claim = found.run.value
        if found.end is not None:
            return not self.is_wanted(roll.key)
        return claim.fence > roll.fence and (phases is None or phases.get(claim.run_id) in ("up", "reloading"))
