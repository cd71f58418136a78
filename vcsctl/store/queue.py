"""The queue on the shared directory: one immutable file per request, one per KEY's pending slots. Decides nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from vcsctl.domain.nodes import CLOCK_LIMIT_S
from vcsctl.domain.run import Request, SlotsEntry
from vcsctl.store import files, records
from vcsctl.store.paths import ORDER, Paths, split_queue_name
from vcsctl.store.records import Faults

SLOTS = "slots"


@dataclass(frozen=True, slots=True)
class Queued:
    """A request and its place: when it entered the queue by the file server's clock."""

    request: Request
    entered_at: datetime
    cancelled: bool = False

    @property
    def expires_at(self) -> datetime | None:
        """Not to be started from then on (`run --within`)."""
        within_s = self.request.within_s
        return self.entered_at + timedelta(seconds=within_s) if within_s is not None else None

    def is_past(self, now: datetime) -> bool:
        """No node that claims starts it any more, whatever its clock; its file stays until the next claim."""
        return self.expires_at is not None and now >= self.expires_at + timedelta(seconds=CLOCK_LIMIT_S)


@dataclass(frozen=True, slots=True)
class Pending:
    """All that waits for one KEY."""

    key: str
    slots_first: datetime | None = None
    slots_entered_at: datetime | None = None
    requests: tuple[Queued, ...] = ()

    @property
    def place(self) -> datetime | None:
        """The place belongs to the KEY, from its oldest entry on."""
        moments = [queued.entered_at for queued in self.requests]
        if self.slots_entered_at:
            moments.append(self.slots_entered_at)
        return min(moments, default=None)

    @property
    def groups(self) -> tuple[str, ...]:
        """Those of a `vcsctl lock`; all other entries are in the groups of their service."""
        return tuple(sorted({group for queued in self.requests for group in queued.request.groups}))


class QueueReader:
    """Reads the queue folder, each request once; pending slots each time, since their name is used again."""

    def __init__(self, paths: Paths, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._known: dict[tuple[str, int], records.Stored[Request] | records.Stored[SlotsEntry]] = {}
        self.has_orders = False  # something else lies there too, for who carries orders out

    def read(self) -> dict[str, Pending]:
        listed = files.entries(self._paths.queue)
        for gone in self._known.keys() - set(listed):
            del self._known[gone]
        self.has_orders = any(name.endswith(f".{ORDER}") for name, _ in listed)
        return self._pending(listed)

    def read_key(self, key: str) -> Pending | None:
        """What waits for one KEY, looked up anew."""
        own = [entry for entry in files.entries(self._paths.queue) if entry[0].startswith(f"{key}.")]
        return self._pending(own).get(key)

    def _pending(self, listed: list[tuple[str, int]]) -> dict[str, Pending]:
        names = {name for name, _ in listed}
        pending: dict[str, Pending] = {}
        for name, inode in sorted(listed):
            parts = split_queue_name(name)
            if parts is None or parts[2] != "json":
                continue
            key, identity, _ = parts
            stored = self._stored(name, inode, key, identity)
            if stored is None:
                continue
            before = pending.get(key, Pending(key))
            if isinstance(stored.value, SlotsEntry):
                pending[key] = Pending(key, stored.value.first, stored.at, before.requests)
            else:
                cancelled = f"{key}.{identity}.cancelled" in names
                queued = Queued(stored.value, stored.at, cancelled)
                pending[key] = Pending(key, before.slots_first, before.slots_entered_at, (*before.requests, queued))
        return pending

    def _stored(
        self, name: str, inode: int, key: str, identity: str
    ) -> records.Stored[Request] | records.Stored[SlotsEntry] | None:
        if (name, inode) in self._known:
            return self._known[name, inode]
        path = f"{self._paths.queue}/{name}"
        stored: records.Stored[Request] | records.Stored[SlotsEntry] | None
        if identity == SLOTS:
            stored = records.read(SlotsEntry, path, self._faults)
        else:
            stored = records.read(Request, path, self._faults)
        if stored is None:
            return None
        said = (stored.value.key, SLOTS if isinstance(stored.value, SlotsEntry) else stored.value.id)
        if said != (key, identity):
            # A copy under another name would be claimed again and again: what is removed is the name it says.
            self._faults.add(path, f"cannot be used: it is the entry {said[1]} of {said[0]}, not what its name says")
            return None
        if identity != SLOTS:  # that name is used again, and on most disks its inode too
            self._known[name, inode] = stored
        return stored


def new_request_id() -> str:
    return "r" + os.urandom(5).hex()


def enter_request(paths: Paths, request: Request) -> bool:
    return records.publish(paths.request(request.key, request.id), request, sync_folder=True)


def enter_slots(paths: Paths, entry: SlotsEntry) -> bool:
    """False when the KEY has its place already."""
    return records.publish(paths.slots_entry(entry.key), entry)


def cancel(paths: Paths, key: str, request_id: str) -> bool:
    """Marks a request as cancelled; whoever claims next drops it. False when it was marked before."""
    return files.link_new(paths.cancelled(key, request_id), b"", sync_folder=True)


def is_cancelled(paths: Paths, key: str, request_id: str) -> bool:
    return os.path.basename(paths.cancelled(key, request_id)) in files.names(paths.queue)


def leave(paths: Paths, key: str, request_ids: tuple[str, ...], slots_until: datetime | None) -> None:
    """Removes the entries that a claim lists. The mark of a cancelled one goes last: alone it means nothing.

    The entry of slots goes unless it is of later ones: the name is used again, and who looks after an older claim
    must not take the place of those. Raises StorageError: an entry that stays would be run again once other claims
    hide the one that lists it.
    """
    for request_id in request_ids:
        files.remove(paths.request(key, request_id))
        files.remove(paths.cancelled(key, request_id))
    if slots_until is not None:
        drop_slots_until(paths, key, slots_until)


def leave_all(paths: Paths, key: str) -> None:
    """Removes every request of a KEY whose lock the caller holds: nobody waits for them any more."""
    for name in files.names(paths.queue):
        parts = split_queue_name(name)
        if parts is not None and parts[0] == key and parts[2] == "json":
            leave(paths, key, (parts[1],), None)


def drop_slots_until(paths: Paths, key: str, last: datetime) -> None:
    """Removes the entry of slots that begins not later than `last`: of some that a claim took, or that count no more.
    Another node may have entered it before it knew."""
    stored = records.read(SlotsEntry, paths.slots_entry(key), Faults())
    if stored is not None and stored.value.first <= last:
        files.remove(paths.slots_entry(key))
