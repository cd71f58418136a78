"""One `vcsctl lock` from its KEY to its claim: its place in the queue, its turn, the locks, what is put on record.

It keeps the order of the queue by the functions that vcsd keeps it by, and needs no vcsd. Prints nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from vcsctl import steps
from vcsctl.cli.catalogs import Catalogs
from vcsctl.cli.cell_nodes import read_nodes
from vcsctl.config import Config
from vcsctl.domain.decision import Plan, Start, Wait
from vcsctl.domain.holder import Blocked, Holder, waits_for_group
from vcsctl.domain.outcome import End
from vcsctl.domain.reconcile import arrange
from vcsctl.domain.reservations import Entry, count_free_looks, reserving
from vcsctl.domain.run import LOCK, Claim, Request, is_lock, lock_key, service_of
from vcsctl.domain.unit import Periodical, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners.proc import boot_id
from vcsctl.store import locks, queue, running, state
from vcsctl.store.locks import Grant, HeldLock
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, QueueReader
from vcsctl.store.records import Faults
from vcsctl.store.running import RunningReader
from vcsctl.store.state import StateReader
from vcsctl.vcsd.conflict import NOBODY_WAITS, in_the_way

_MOST_KEYS = 10_000


@dataclass(slots=True)
class Bid:
    """`lock` is that of the KEY, held from before the entry is made until the run is over: by it others see that
    somebody waits."""

    paths: Paths
    config: Config
    groups: tuple[str, ...]
    user: str
    key: str
    lock: HeldLock
    place: datetime
    request: Request | None = None
    _faults: Faults = field(default_factory=Faults)
    _queue: QueueReader = field(init=False)
    _index: RunningReader = field(init=False)
    _free_looks: dict[str, int] = field(default_factory=dict)
    _next_look_s: float = 0.0

    def __post_init__(self) -> None:
        self._queue = QueueReader(self.paths, self._faults)
        self._index = RunningReader(self.paths, self._faults)

    def enter_queue(self) -> None:
        self.request = Request(queue.new_request_id(), self.key, LOCK, self.user, self.config.node, groups=self.groups)
        queue.enter_request(self.paths, self.request)
        entered = self._queue.read_key(self.key)
        if entered is not None and entered.place is not None:
            self.place = entered.place

    def take(self) -> Grant | Blocked:
        """All the groups, or who is in the way. The KEY's lock stays ours in any case."""
        if (blocked := self._out_of_turn()) is not None:
            return blocked
        paths = {group: self.paths.group_lock(group) for group in self.groups}
        grant = locks.take_groups(self.lock, paths)
        if not isinstance(grant, Grant):
            content = locks.read_lock_file(grant)
            group = next(group for group, path in paths.items() if path == grant)
            return waits_for_group(group, Holder.from_text(content.holder if content else ""))
        steps.reached("locks taken")
        try:
            # The declarations first: a run that began before they were read is in the index by now.
            catalogs = self._catalogs()
            reader = StateReader(self.paths, self._faults)
            blocked = in_the_way(self.paths, self._index, reader, self.key, self.groups, lambda one: _of(catalogs, one))
        except BaseException:
            _let_go(grant)
            raise
        if blocked is None:
            return grant
        _let_go(grant)
        return blocked

    def _catalogs(self) -> Catalogs:
        node = self.config.node
        return Catalogs(self.paths, read_nodes(self.paths, node), node)

    # The order of the queue.

    def _out_of_turn(self) -> Blocked | None:
        """An older entry that has waited longer than `fair_after` reserves its groups, unless nobody comes for it."""
        now, fair_after = datetime.now(UTC), timedelta(seconds=self.config.fair_after)
        older = {
            key: pending
            for key, pending in self._queue.read().items()
            if key != self.key and pending.place and pending.place <= self.place and now - pending.place > fair_after
        }
        if not older:
            self._free_looks = {}
            return None
        entries = list(self._entries(older))
        start = Start(self.key, "asked for", Plan("manual"), self.place, self.groups)
        decision = arrange([start], {}, now, fair_after, self._standing(entries))[0]
        return Blocked(decision.why, decision.run) if isinstance(decision, Wait) else None

    def _entries(self, pending: dict[str, Pending]) -> Iterator[Entry]:
        """Those that somebody can start."""
        catalogs, nodes = self._catalogs(), read_nodes(self.paths, self.config.node)
        for key, one in pending.items():
            assert one.place is not None
            if is_lock(key):
                yield Entry(key, one.place, one.groups)
                continue
            rows = catalogs.rows(service_of(key)) if catalogs.readable else {}
            able = [node for node, row in rows.items() if row["key"] == key and not row["missing"]]
            if any(node in nodes and not nodes[node].hindrance for node in able):
                yield Entry(key, one.place, _of(catalogs, service_of(key)))

    def _standing(self, entries: list[Entry]) -> list[Entry]:
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + self.config.poll
            catalogs = self._catalogs()
            claims = [stored.value for stored in self._index.read().values()]
            busy = {group for one in claims for group in (*one.groups, *_of(catalogs, one.service))}
            self._free_looks = count_free_looks(self._free_looks, entries, frozenset(busy))
        return reserving(entries, self._free_looks)

    # What is put on record.

    def claim(self, program: str, grant: Grant) -> tuple[Claim, dict[str, int]]:
        """Under all locks. The claim and the fence numbers of the groups."""
        found = state.read_key(self.paths, self.key, self._faults)
        name = os.path.basename(program)
        unit = Periodical(name=LOCK, exec=(name,), period=60, groups=self.groups, on_storage_loss="stop")
        claim = Claim(
            self.key,
            found.fence + 1,
            LOCK,
            self.config.node,
            "manual",
            f"{self.user} held {', '.join(self.groups)} for {name}",
            requests=(self.request.id,) if self.request else (),
            groups=self.groups,
            queued_at=self.place,
            unit=to_plain(unit),
        )
        grant.prove()  # the KEY's lock may have been ours for long
        draft = state.draft_claim(self.paths, claim)
        try:
            steps.reached("claim drafted")
            # First: no vcsd looks at this KEY of itself, so a claim that is not in the index would never be seen.
            running.enter(self.paths, claim)
            steps.reached("run indexed")
            if not draft.link():
                raise StorageError(f"cannot hold {', '.join(self.groups)}: the lock of {self.key} was lost; try again")
            steps.reached("claim linked")
        finally:
            draft.discard()
        fences = grant.raise_fences(claim.fence, f"{claim.run_id} on {self.config.node}")
        steps.reached("fences raised")
        self.leave_queue()
        steps.reached("entries removed")
        return claim, fences

    def leave_queue(self) -> None:
        if self.request is not None:
            queue.leave(self.paths, self.key, (self.request.id,), None)

    def give_up(self) -> None:
        """Leaves nothing behind. The entry first: without the lock another may have the KEY at once."""
        with contextlib.suppress(StorageError):
            self.leave_queue()
        self.lock.close()


@contextlib.contextmanager
def bid_for(paths: Paths, config: Config, groups: tuple[str, ...], user: str) -> Iterator[Bid]:
    """With a KEY of its own: the first of this node that nobody has, put in order after who had it last."""
    key, lock = _free_key(paths, config.node)
    bid = Bid(paths, config, groups, user, key, lock, datetime.now(UTC))
    try:
        queue.leave_all(paths, key)
        _bury(paths, config.node, key)
        yield bid
    finally:
        bid.give_up()


def _free_key(paths: Paths, node: str) -> tuple[str, HeldLock]:
    for number in count(1):
        key = lock_key(node, number)
        if (lock := locks.try_lock(paths.key_lock(key))) is not None:
            return key, lock
        if number > _MOST_KEYS:
            break
    raise StorageError(f"cannot find a free lock below {paths.key_lock(lock_key(node, 1))}; see to the storage")


def _bury(paths: Paths, node: str, key: str) -> None:
    """A run of this KEY whose processes are all gone, and which no vcsd has recorded yet."""
    found = state.read_key(paths, key, Faults())
    if found.run is None or found.end is not None or found.unreadable_end is not None:
        return
    claim, started = found.run.value, found.started.value if found.started else None
    cause, why = "recalled", NOBODY_WAITS
    if started is not None and started.boot_id != boot_id():
        cause, why = "node-died", f"{node} went down under it"
    elif found.began:
        cause, why = "runner-died", "its processes ended without an outcome and its lock is free"
    record_end(paths, claim, cause, why)


def record_end(paths: Paths, claim: Claim, cause: str, why: str) -> End:
    end = End(cause, f"{claim.why}: {why}", claim.node, datetime.now(UTC))
    state.write_end(paths, claim.key, claim.fence, end)
    return end


def known_groups(catalogs: Catalogs) -> set[str]:
    """The groups that any node's units name."""
    if not catalogs.readable:
        return set()
    rows = [row for units in catalogs.by_node.values() for row in units.units.values()]
    return {group for row in rows for group in (row["plain"] or {}).get("groups", ())}


def _of(catalogs: Catalogs, service: str) -> tuple[str, ...]:
    """What any node declares; where none has published anything, nothing is."""
    return catalogs.groups(service) if catalogs.readable else ()


def _let_go(grant: Grant) -> None:
    """Of the groups alone."""
    for lock in grant.groups.values():
        lock.close()
