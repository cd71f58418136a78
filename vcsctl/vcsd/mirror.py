"""Carries between the shared directory and this machine's own cell what concerns the daemons that need no share:
wishes of operators there, outcomes back. Only while the share answers; what came last counts while it does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from vcsctl.domain.history import Row
from vcsctl.domain.nodes import SILENT_AFTER_BEATS
from vcsctl.errors import StorageError
from vcsctl.store import daemons, history, last_runs, local_cell, nodes, records
from vcsctl.store.cell import read_cell
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.permits import GrantedPermits
from vcsctl.vcsd.presence import Presence
from vcsctl.vcsd.services import Services

_MOST_COPIES_AT_ONCE = 8


@dataclass(slots=True)
class Mirror:
    """`cell` is the id of the shared one. `tell` has the local cell looked at."""

    shared: Paths
    local: Paths
    cell: str
    node: str
    services: Services
    presence: Presence
    faults: Faults
    permits: GrantedPermits
    clocks: Clocks
    tell: Callable[[], None]
    _beat: tuple[int, int] = (0, 0)  # the last heartbeat of the local cell, and since when it is that one
    _heard_s: float = 0.0
    _wishes: OverridesReader = field(init=False)
    _outcomes: local_cell.Outcomes = field(init=False)
    _sure: bool = False  # what is to be copied is in the shared history nowhere yet

    def __post_init__(self) -> None:
        self._wishes = OverridesReader(self.local, Faults())
        self._outcomes = local_cell.Outcomes(self.local)

    def look(self) -> None:
        """To be called after a look at the share. Raises StorageError."""
        changed = self._carry_wishes()
        changed |= self._carry_orders()
        if changed:
            self.tell()
        self.permits.look()
        self._copy_outcomes()
        self._tell_faults()

    # There.

    def _carry_wishes(self) -> bool:
        """Overrides and this node's drain; whether any differed."""
        here = self._wishes.read()
        overrides = self.services.overrides
        wanted = {name: overrides[name] for name in self.services.apart if name in overrides}
        differing = [name for name in here.keys() | wanted.keys() if here.get(name) != wanted.get(name)]
        drained = self.node in self._wishes.drained
        if not differing and drained == self.presence.drained:
            return False
        if not self._is_the_share():
            return False
        for name in sorted(differing):
            local_cell.mirror(self.local, self.local.override(name), wanted.get(name))
        if drained != self.presence.drained:
            drain = nodes.Drain(self.node, "vcsd", "as in the shared directory")
            local_cell.mirror(self.local, self.local.drain(self.node), drain if self.presence.drained else None)
        return True

    def _is_the_share(self) -> bool:
        """A mount point without its share shows an empty directory: nobody took anything back there."""
        cell = read_cell(self.shared)
        return cell is not None and cell.id == self.cell

    def _carry_orders(self) -> bool:
        """An order goes when the local cell has carried it out: until then who waits for it sees it.

        What is done here is known as done until it is gone there, so that none is carried out again by whoever comes
        after us. Whether there is any still to be carried out."""
        keys = {service.key for service in self.services.apart.values()}
        ordered = {one.value.id: one.value for one in daemons.orders(self.shared, self.faults) if one.value.key in keys}
        taken = {one.value.id: one.value for one in daemons.orders(self.local, Faults())}
        done = daemons.done_here(self.local)
        taken_back = [order for identity, order in taken.items() if identity not in ordered]
        if (done or taken_back) and not self._is_the_share():
            return True
        for order in taken_back:
            daemons.carried_out(self.local, order.key, order.id)
        for key, identity in done:
            daemons.carried_out(self.shared, key, identity)
            daemons.done_everywhere(self.local, key, identity)
        for identity in ordered.keys() - taken.keys() - {identity for _, identity in done}:
            daemons.enter_order(self.local, ordered[identity])
        return ordered.keys() - {identity for _, identity in done} != set()

    # Back.

    def _copy_outcomes(self) -> None:
        """Each once, whatever dies between: how far they are copied is on record when they are durable."""
        for _ in range(_MOST_COPIES_AT_ONCE):  # after a long time without the share there may be very many
            rows, reached = self._outcomes.new()
            if not reached:
                return
            if rows:
                sure, self._sure = self._sure, False  # should it fail half way, each is looked for
                for path in history.append(self.shared, self.node, rows, check=not sure):
                    records.sync_file(path)
                self._append_last(rows)
            self._outcomes.done(reached)
            self._sure = True

    def _tell_faults(self) -> None:
        """What the local process has to say, or that it says nothing, is shown as this node's own."""
        stored = nodes.read_states(self.local).get(self.node)
        if stored is None:
            return
        state, now_s = stored.value, self.clocks.monotonic()
        if self._beat != (state.counter, state.pid):
            self._beat, self._heard_s = (state.counter, state.pid), now_s
        texts = list(state.faults)
        if now_s - self._heard_s > SILENT_AFTER_BEATS * state.heartbeat_s:
            texts.append("what looks after this machine's own daemons is silent; see the log of vcsd")
        if texts:
            self.faults.add(self.local.root, "; ".join(texts))
        else:
            self.faults.forget(self.local.root)

    def _append_last(self, rows: list[Row]) -> None:
        if runs := [row for row in rows if row.is_run]:
            with contextlib.suppress(StorageError):  # an index for display, derived from the history
                last_runs.append(self.shared, self.node, runs)
