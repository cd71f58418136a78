"""This node's place in the cell: its heartbeat, its clock beside the file server's, and whether it claims anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from vcsctl.config import Config
from vcsctl.domain.nodes import SILENT_AFTER_BEATS, clock_fault
from vcsctl.errors import RefusedError
from vcsctl.store import nodes
from vcsctl.store.nodes import NodeState
from vcsctl.store.paths import Paths
from vcsctl.store.server_clock import measure_offset
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.peers import Peers


@dataclass(frozen=True, slots=True)
class Machine:
    """Which machine this is: its host name, what tells it from all others, and its present life."""

    host: str
    id: str
    boot_id: str


class Presence:
    """`drained`, `unpublished`, `untrusted` (why the storage is not to be trusted with locks), `unnamed` (why it could
    not keep the lock of its name), `going_down`: set by who knows it."""

    def __init__(self, paths: Paths, config: Config, machine: Machine, clocks: Clocks, peers: Peers) -> None:
        self._paths = paths
        self._config = config
        self._machine = machine
        self._clocks = clocks
        self._peers = peers
        self._started_at = clocks.now()
        self._counter = 0
        self._offset_s: float | None = None
        self._doubt_s = 0.0
        self._impostor = ""
        self.drained = False
        self.unpublished = False
        self.untrusted = ""
        self.unnamed = ""
        self.going_down = ""

    @property
    def node(self) -> str:
        return self._config.node

    def claims_nothing(self) -> str:
        """Why this node claims nothing at present; empty when it does."""
        return self.starts_nothing() or self.clock_fault()

    def starts_nothing(self) -> str:
        """The same for daemons, which no clock starts."""
        return self._cannot_act() or self._drain() or self._is_unread()

    def closes_nothing(self) -> str:
        """Why it does not even put on record what will not run. A drained node does: where all are drained requests
        expire and are cancelled like anywhere else."""
        return self._cannot_act() or self._is_unread() or self.clock_fault()

    def clock_fault(self) -> str:
        return clock_fault(self.node, self._offset_s, self._doubt_s)

    def _cannot_act(self) -> str:
        if standing := self.going_down or self._impostor or self.untrusted:
            return standing
        return (
            f"node {self.node} claims nothing before it has its own lock again: {self.unnamed}" if self.unnamed else ""
        )

    def _drain(self) -> str:
        return f"node {self.node} is drained; `vcsctl resume {self.node}` ends that" if self.drained else ""

    def _is_unread(self) -> str:
        unread = self.unpublished or self._peers.forgotten
        return f"node {self.node} claims nothing before the other nodes can read its units" if unread else ""

    def measure_clock(self) -> None:
        clocks = self._clocks
        measured = measure_offset(self._paths.nodes, 1, lambda: clocks.now().timestamp(), clocks.monotonic)
        self._offset_s, self._doubt_s = measured.offset_s, measured.doubt_s

    def refuse_a_double(self) -> None:
        """At start: another machine with this host name is a danger over NFS, where a lock's owner is named by it."""
        server, ours = self._clocks.now() - timedelta(seconds=self._offset_s or 0.0), self._machine
        for node, stored in nodes.read_states(self._paths).items():
            state = stored.value
            beating = (server - stored.at).total_seconds() < SILENT_AFTER_BEATS * state.heartbeat_s
            if node != self.node and state.host == ours.host and state.boot_id != ours.boot_id and beating:
                raise RefusedError(
                    f"node {node} is another machine with this one's host name {ours.host}; over NFS their locks "
                    f"would be one: give this machine another name, or `vcsctl nodes forget {node}` if it is no more"
                )

    def beat(self, faults: tuple[str, ...]) -> None:
        """Publishes the heartbeat. Looks first whether the last one is still ours: a node's name has one machine."""
        self._notice_impostors()
        state = NodeState(
            self.node,
            self._counter + 1,
            self._machine.boot_id,
            os.getpid(),
            self._started_at,
            self._config.heartbeat,
            self._config.labels,
            faults,
            self._machine.host,
            self._machine.id,
            None if self._offset_s is None else round(self._offset_s, 3),
            round(self._doubt_s, 3),
            self.drained,
            self.claims_nothing(),
        )
        nodes.publish_state(self._paths, state)
        self._counter += 1  # one that failed has left what was there before, perhaps of this machine's former life
        self._peers.under_our_name = None  # until it is read again

    def _notice_impostors(self) -> None:
        """What is noticed once counts until vcsd is restarted: by then somebody has seen to it."""
        ours = self._machine
        seen = self._peers.under_our_name if self._counter else None
        if self._impostor:
            return
        if seen is not None and seen.boot_id != ours.boot_id:
            who = f"another machine, {seen.host or 'unknown'}, runs as node {self.node}"
            self._impostor = self._until_restarted(who, "one of them another name in vcs.yaml")
        elif (other := self._peers.same_host(ours.host, ours.boot_id)) is not None:
            who = f"node {other} is another machine with this one's host name {ours.host}"
            self._impostor = self._until_restarted(who, "one of them another host name")

    def _until_restarted(self, who: str, remedy: str) -> str:
        return f"{who}: node {self.node} claims nothing until its vcsd is restarted; give {remedy}"
