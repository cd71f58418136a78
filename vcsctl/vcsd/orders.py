"""Carries out what operators want of daemons, each order by the node whose run it is, and removes it when it is done.

Whatever is interrupted is done again: every step is linked once, and an order that was carried out already is seen
by the run that came of it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from vcsctl.domain.daemon import Order
from vcsctl.domain.decision import Decision, Idle
from vcsctl.domain.outcome import StopRequest
from vcsctl.errors import StorageError
from vcsctl.runners.supervise import Runs
from vcsctl.store import daemons, state
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults, Stored
from vcsctl.store.state import KeyState
from vcsctl.vcsd.log import say
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.stopping import live_run, tell_to_stop

_CAUSE = {"stop": "stop-requested", "restart": "restart-requested"}


@dataclass(slots=True)
class Orders:
    """`decided` tells what is decided of a KEY now; `is_ours`, whether this node may run it; `is_apart`, whether its
    orders are carried to this machine's own cell; `finish` takes what is done, by KEY and id, from the orders."""

    paths: Paths
    node: str
    runs: Runs
    peers: Peers
    faults: Faults
    state: Callable[[str], KeyState]
    decided: Callable[[str, KeyState], Decision]
    is_ours: Callable[[str], bool]
    is_apart: Callable[[str], bool]
    finish: Callable[[Paths, str, str], None]

    def carry_out(self) -> set[str]:
        """All that are there and are this node's to carry out; the KEYs that are to be looked at now."""
        touched = set()
        for stored in daemons.orders(self.paths, self.faults):
            order = stored.value
            if self.is_apart(order.key):
                continue
            try:
                done = self._carry_out(stored)
                if done is not None:
                    self.finish(self.paths, order.key, order.id)
                    say(f"{order.key}: {order.do} ordered by {order.by} on {order.node}: {done}")
                    touched.add(order.key)
            except StorageError as error:
                self.faults.add(self.paths.order(order.key, order.id), str(error))
        return touched

    def _carry_out(self, stored: Stored[Order]) -> str | None:
        """What became of it; None while it is not done, or another node's."""
        order = stored.value
        found = self.state(order.key)
        if found.run is not None and found.end is None and found.run.value.trigger == "daemon":
            if found.runs_on == self.node:
                return self._of_what_lives(stored, found)
            if not self.peers.is_silent(found.runs_on):
                return None  # that node's
        if self.is_ours(order.key):
            return self._of_what_is_down(order, found)
        if not self.peers.others_for(order.key):
            self.peers.refresh()  # its node may have published its units since the last heartbeat
        if self.peers.others_for(order.key):
            return None
        return "no known node may run it; nothing is done"

    def _of_what_lives(self, stored: Stored[Order], found: KeyState) -> str | None:
        order = stored.value
        assert found.run is not None
        claim = found.run.value
        match order.do:
            case "stop" | "restart":
                if order.do == "restart" and found.run.at > stored.at:
                    return f"{claim.run_id} was started since"
                request = StopRequest(order.by, order.node, order.reason, _CAUSE[order.do])
                if tell_to_stop(self.paths, self.runs, claim, request):
                    return f"{claim.run_id} is told to stop"
                # It ends already, for another reason perhaps: what is ordered is seen to when it has ended.
                is_done = found.stop is not None and found.stop.cause == request.cause
                return f"{claim.run_id} is being stopped" if is_done else None
            case "reload":
                run = live_run(self.runs, claim)
                told = run is not None and self.runs.tell(run, signal.SIGUSR2)
                return f"{claim.run_id} is told to reload" if told else None
            case "reset-failed":
                return f"it runs as {claim.run_id}; nothing is done"

    def _of_what_is_down(self, order: Order, found: KeyState) -> str | None:
        decision = self.decided(order.key, found)
        down = isinstance(decision, Idle)
        if found.run is None or found.end is None:
            # It never ran, or nobody knows yet what became of its run: an order waits for what starts next.
            return f"nothing is done: {decision.why}" if down and found.run is None else None
        run, before = found.run.value, found.end.value
        match order.do:
            case "stop":
                request = StopRequest(order.by, order.node, order.reason)
                if down and not _is_pause(decision):
                    return f"it is down: {decision.why}"
                # Another wish may lie there, by which it ended: then it waits for the run that follows. And so it does
                # when that began meanwhile, on a node that did not see the wish.
                if not state.write_stop(self.paths, run.key, run.fence, request):
                    return None
                return "it stays down" if self.state(run.key).fence == found.fence else None
            case "restart":
                if down and not _is_pause(decision):
                    state.write_reset(self.paths, run.key, run.fence, order)
                return "it is started" if self._would_start(order.key) else f"nothing is done: {decision.why}"
            case "reset-failed":
                if before.cause != "start-limit" and not run.failed_on:
                    return "it has not failed; nothing is done"
                state.write_reset(self.paths, run.key, run.fence, order)
                return "its failure counts no more"
            case "reload":
                return f"nothing is done: it is down: {decision.why}"

    def _would_start(self, key: str) -> bool:
        decision = self.decided(key, self.state(key))
        return not isinstance(decision, Idle) or _is_pause(decision)


def _is_pause(decision: Decision) -> bool:
    """Down for a moment only."""
    return isinstance(decision, Idle) and decision.next_at is not None
