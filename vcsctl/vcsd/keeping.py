"""What vcsd does for daemons besides starting them: sees how they are, ends runs that are not wanted, carries out
orders. Decides nothing; the domain does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vcsctl.domain.decision import DaemonFacts, Decision, Idle, Stop
from vcsctl.domain.outcome import StopRequest
from vcsctl.errors import StorageError
from vcsctl.runners.supervise import Runs
from vcsctl.store.paths import Paths
from vcsctl.store.state import KeyState
from vcsctl.vcsd.daemons import Publisher
from vcsctl.vcsd.log import say
from vcsctl.vcsd.observe import daemon_facts
from vcsctl.vcsd.orders import Orders
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.presence import Presence
from vcsctl.vcsd.rolling import Rolling
from vcsctl.vcsd.services import Service
from vcsctl.vcsd.stopping import tell_to_stop

VCSD = "vcsd"  # whose wish it is
_ROLL_PAUSE = timedelta(seconds=1)


@dataclass(slots=True)
class Keeping:
    paths: Paths
    node: str
    boot_id: str
    runs: Runs
    peers: Peers
    presence: Presence
    rolling: Rolling
    orders: Orders
    publisher: Publisher | None  # None where another process publishes what runners tell
    state: Callable[[str], KeyState]

    def look(self, has_orders: bool) -> set[str]:
        """At each poll, and when woken; the KEYs that are to be looked at now."""
        self.rolling.look()
        return self.orders.carry_out() if has_orders else set()

    def publish(self, *, run_ended: bool) -> None:
        """At each pass; a share in trouble only leaves old news there."""
        if self.publisher is not None:
            if run_ended:
                self.publisher.run_ended()
            with contextlib.suppress(StorageError):
                self.publisher.look()

    def beat(self) -> None:
        if self.publisher is not None:
            self.publisher.beat()

    def facts(self, service: Service | None, found: KeyState) -> DaemonFacts:
        peers, key = self.peers, found.key
        return daemon_facts(
            service,
            found,
            node=self.node,
            drained=self.presence.drained,
            others=peers.others_for(key),
            able=peers.able_for(key),
            boot_ids={node: one.boot_id for node, one in peers.states.items()} | {self.node: self.boot_id},
        )

    def stop(self, decision: Stop, now: datetime) -> Decision:
        """Tells a runner of this node that its run is not wanted any more."""
        key, found = decision.key, self.state(decision.key)
        if found.run is None or found.run.value.fence != decision.fence or found.end is not None:
            return Idle(key, "its outcome is on record", now)
        claim = found.run.value
        if decision.rolls and (blocked := self.rolling.begin(claim)):
            return Idle(key, blocked, now + _ROLL_PAUSE)
        tell_to_stop(self.paths, self.runs, claim, StopRequest(VCSD, self.node, decision.why, "unwanted"))
        say(f"{claim.run_id}: told to stop: {decision.why}")
        return Idle(key, decision.why)
