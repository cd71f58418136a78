"""Reads what is on record of a KEY and puts it beside its declaration. Decides nothing, writes only `since` marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vcsctl.domain.decision import DaemonFacts, KeyView, Waiter
from vcsctl.store import state
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, Queued
from vcsctl.store.state import KeyState, StateReader
from vcsctl.vcsd.services import NO_SCHEDULE, Service

_BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Observer:
    paths: Paths
    reader: StateReader

    def state(self, key: str) -> KeyState:
        return self.reader.read(key)

    def mark_schedule(self, key: str, digest: str, known_before: str | None) -> None:
        """Records when a schedule comes into force. A schedule that returns after another, or after none, gets a new
        moment, but only from a node that saw the other one, or that comes when there is none: a push under way on
        several nodes resets nothing."""
        found = self.state(key)
        saw_another = known_before != digest if known_before else found.newest_digest == NO_SCHEDULE
        returned = saw_another and found.newest_digest != digest
        if digest not in found.since or returned:
            state.mark_since(self.paths, found, digest)

    def mark_no_schedule(self, key: str) -> None:
        """Records that a KEY which had a schedule has none: when it has one again nothing earlier counts."""
        found = self.state(key)
        if found.newest_digest not in (None, NO_SCHEDULE):
            state.mark_since(self.paths, found, NO_SCHEDULE)

    def view(
        self, service: Service | None, found: KeyState, pending: Pending | None, groups: tuple[str, ...], *, live: bool
    ) -> KeyView:
        """`service` None: the unit is gone, masked, or not for this node. `groups`: all that a run of it takes."""
        pending = _unclaimed(pending or Pending(found.key), found)
        moment = _BEFORE_ALL
        if service is not None:
            moment = found.since.get(service.schedule_digest, _BEFORE_ALL)
            moment = max(moment, service.moment or _BEFORE_ALL)
        return KeyView(
            key=found.key,
            unit=service.effective if service else None,
            schedule=service.schedule if service else None,
            moment=moment,
            watermark=found.watermark,
            run=found.run.value if found.run else None,
            started=found.began,
            end=found.end.value if found.end else None,
            live=live,
            closes=found.closes,
            slots_first=pending.slots_first,
            slots_entered_at=pending.slots_entered_at,
            requests=tuple(_waiter(queued) for queued in pending.requests),
            groups=groups,
        )


def daemon_facts(
    service: Service | None,
    found: KeyState,
    *,
    node: str,
    drained: bool,
    others: Sequence[str],
    able: Sequence[str],
    boot_ids: Mapping[str, str],
) -> DaemonFacts:
    """`others` may run the KEY, `able` say that they can; `boot_ids`: the present life of each node."""
    started, end = found.started, found.end
    moment = service.moment if service else None
    boot_id = started.value.boot_id if started else ""
    return DaemonFacts(
        node=node,
        drained=drained,
        others=tuple(others),
        able=tuple(able),
        runs_on=found.runs_on,
        stop=found.stop,
        reset=found.reset,
        enabled_since=end is not None and moment is not None and moment > end.at,
        rebooted=started is not None and boot_ids.get(found.runs_on, boot_id) != boot_id,
    )


def _unclaimed(pending: Pending, found: KeyState) -> Pending:
    """Without the entries that a claim lists already: their files are only on their way out."""
    claims = [*found.closes, *((found.run.value,) if found.run else ())]
    taken = {request for claim in claims for request in claim.requests}
    taken |= {row.request for claim in claims for row in claim.dropped if row.request}
    requests = tuple(queued for queued in pending.requests if queued.request.id not in taken)
    if pending.slots_first and found.watermark and pending.slots_first <= found.watermark:
        return Pending(pending.key, requests=requests)
    return Pending(pending.key, pending.slots_first, pending.slots_entered_at, requests)


def _waiter(queued: Queued) -> Waiter:
    return Waiter(queued.request.id, queued.entered_at, queued.cancelled, queued.expires_at)
