"""What `status`, `queue` and `why` say of the cell, gathered from the shared directory alone. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from vcsctl.cli.cell_nodes import why_none_can
from vcsctl.cli.context import Context
from vcsctl.cli.tables import local, value_text
from vcsctl.domain.history import Row
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.run import LOCK, Claim, is_lock, service_of
from vcsctl.errors import RefusedError
from vcsctl.store import last_runs, running
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, QueueReader
from vcsctl.store.records import Faults, Stored

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Daemons
    from vcsctl.domain.calendar import Schedule
    from vcsctl.domain.reservations import Entry

NO_KIND = "none"
MISSING = "program missing: "
_NEVER = datetime.max.replace(tzinfo=UTC)
KINDS = (("daemon", "Daemon"), ("periodical", "Periodical"), ("fixed-time", "Fixed Time"), (NO_KIND, "Not Loaded"))


class Line(NamedTuple):
    """One service as `status` shows it, in the manual's columns."""

    status: str
    name: str
    schedule: str
    allowed_nodes: tuple[str, ...]  # none: all of them
    run_groups: tuple[str, ...]
    last_run: Row | None
    runs: tuple[Stored[Claim], ...]  # with `run_on: each` one a node
    queued_since: datetime | None  # the oldest of its KEYs
    waits_for: str
    kind: str
    title: str
    description: str
    provider: str
    notes: tuple[str, ...]
    plain: dict[str, Any]  # the unit as it counts now
    overrides: dict[str, FieldOverride]  # those in force


class Overview:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.faults = Faults()
        self._slots: dict[tuple[Schedule, datetime], list[datetime]] = {}

    @property
    def paths(self) -> Paths:
        return self.context.paths

    @cached_property
    def running(self) -> dict[str, Stored[Claim]]:
        """Live runs by KEY."""
        return running.live(self.paths, self.faults)

    @property
    def locks(self) -> tuple[Stored[Claim], ...]:
        """What `vcsctl lock` runs."""
        return self.runs_of(LOCK)

    @cached_property
    def daemons(self) -> Daemons:
        from vcsctl.cli.daemons import Daemons  # here: not every table has a daemon, and what tells of them is much

        return Daemons(self)

    @cached_property
    def pending(self) -> dict[str, Pending]:
        """What waits, by KEY. A cancelled request waits no more, nor one whose time is over, though its file is there
        until vcsd records it."""
        found, now = {}, datetime.now(UTC)
        for key, pending in QueueReader(self.paths, self.faults).read().items():
            waiting = (queued for queued in pending.requests if not queued.cancelled and not queued.is_past(now))
            left = replace(pending, requests=tuple(waiting))
            if left.place is not None:
                found[key] = left
        return found

    @cached_property
    def overrides(self) -> dict[str, Override]:
        return OverridesReader(self.paths, self.faults).read()

    def waits_for(self, key: str) -> str:
        """The sentences of vcsd's log, from the same facts."""
        return "; ".join(self.obstacles(key)) or "starts next"

    def obstacles(self, key: str) -> list[str]:
        """That no node can take it comes first: while that is so, it helps nobody that a run ends."""
        found = [text for text in (self._nobody_for(key), self._holder(key)) if text]
        reserved = "" if found else self._reserved(key)
        return [reserved] if reserved else found

    def _holder(self, key: str) -> str:
        """Which run is in its way; empty when none is."""
        from vcsctl.domain.holder import Holder, waits_for_group  # here, as below: mostly nothing waits

        if key in self.running:
            return f"its own run {self.running[key].value.run_id} is not over"
        for group in self.groups_of(key):
            for claim in self.running.values():
                if self.holds(claim.value, group):
                    return waits_for_group(group, Holder(claim.value.run_id, claim.value.node)).why
        return ""

    def _nobody_for(self, key: str) -> str:
        """Why no node can take it up at present; empty when one can, or the `vcsctl lock` that waits for it."""
        if is_lock(key):
            return ""
        plain = (self.context.published.units.get(service_of(key)) or {}).get("plain") or {}
        return why_none_can(key, plain, self.context.nodes.values())

    def _reserved(self, key: str) -> str:
        """For whom one of its groups is kept; empty when none is."""
        from vcsctl.domain.holder import reserver, waits_for_reserved

        found = self.reservation_before(key)
        return waits_for_reserved(found[0], reserver(found[1].key, found[1].place)).why if found else ""

    def reservation_before(self, key: str) -> tuple[str, Entry] | None:
        """The first of its groups that is kept for an older entry, and that entry."""
        for group in sorted(self.groups_of(key)):
            by = self._reservations.get(group)
            if by is not None and by.key != key and (by.place, by.key) < (self._place(key), key):
                return group, by
        return None

    def _place(self, key: str) -> datetime:
        """What has not entered the queue comes last."""
        return (self.pending[key].place if key in self.pending else None) or _NEVER

    @cached_property
    def _reservations(self) -> dict[str, Entry]:
        """By vcsd's rule, of what some node can take up: looked through once, for all that waits."""
        from vcsctl.domain.reservations import Entry, reservations

        able = [one.key for one in self.queue if not self._nobody_for(one.key)]
        entries = [Entry(key, self._place(key), self.groups_of(key)) for key in able]
        return reservations(entries, datetime.now(UTC), timedelta(seconds=self.context.config.fair_after))

    def groups_of(self, key: str) -> tuple[str, ...]:
        """What a run of the KEY takes."""
        if is_lock(key):
            return self.pending[key].groups if key in self.pending else ()
        return self.context.catalogs.groups(service_of(key))

    def holds(self, claim: Claim, group: str) -> bool:
        """By its claim, or since any node declares its service in that group by now."""
        return group in claim.groups or group in self.context.catalogs.groups(claim.service)

    def in_its_way(self, key: str) -> list[Stored[Claim]]:
        """The live runs that the KEY cannot run beside: its own, and those that hold one of its groups."""
        groups = self.context.catalogs.groups(service_of(key))
        return [
            run
            for run in self.running.values()
            if run.value.key == key or any(self.holds(run.value, group) for group in groups)
        ]

    def runs_on(self, node: str) -> list[str]:
        return sorted(run.value.run_id for run in self.running.values() if run.value.node == node)

    def runs_of(self, service: str) -> tuple[Stored[Claim], ...]:
        """Its live runs, the oldest first."""
        return self._runs.get(service, ())

    @cached_property
    def _runs(self) -> dict[str, tuple[Stored[Claim], ...]]:
        found: dict[str, tuple[Stored[Claim], ...]] = {}
        for claim in sorted(self.running.values(), key=lambda claim: (claim.at, claim.value.key)):
            found[claim.value.service] = (*found.get(claim.value.service, ()), claim)
        return found

    def waiting(self, service: str) -> list[Pending]:
        """What waits for its KEYs, the oldest first."""
        return self._waiting.get(service, [])

    @cached_property
    def _waiting(self) -> dict[str, list[Pending]]:
        found: dict[str, list[Pending]] = {}
        for pending in self.queue:
            found.setdefault(service_of(pending.key), []).append(pending)
        return found

    @cached_property
    def queue(self) -> list[Pending]:
        return sorted(self.pending.values(), key=lambda pending: (pending.place or _NEVER, pending.key))

    @cached_property
    def last_of_key(self) -> dict[str, Row]:
        return last_runs.read(self.paths)

    @cached_property
    def last(self) -> dict[str, Row]:
        """The last run of each service, on whichever node."""
        found: dict[str, Row] = {}
        for row in self.last_of_key.values():
            if row.service not in found or row.at > found[row.service].at:
                found[row.service] = row
        return found

    def keys(self, service: str) -> list[str]:
        """What runs once at a time of it: those of its nodes, and those of a former declaration that still live."""
        declared = {row["key"] for row in self.context.catalogs.rows(service).values()} - {""}
        live = {run.value.key for run in self.runs_of(service)} | {one.key for one in self.waiting(service)}
        return sorted(declared | live) or [service]

    def keys_on(self, service: str, node: str | None) -> list[str]:
        """The same on one node. Raises RefusedError where `--node` is of no use."""
        keys = self.keys(service)
        if node is None:
            return keys
        self.context.node(node)
        if keys == [service]:
            raise RefusedError(f"{service} runs on any one of its nodes, not on each; leave --node out")
        if f"{service}@{node}" not in keys:
            raise RefusedError(f"{service}: node {node} may not run it; see to its `nodes`")
        return [f"{service}@{node}"]

    def lines(self) -> list[Line]:
        return [self.line(name, row) for name, row in sorted(self.context.published.units.items())]

    def line(self, name: str, row: dict[str, Any]) -> Line:
        plain: dict[str, Any] = row["plain"] or {}
        notes = list[str]()
        override, changed = self.overrides.get(name), dict[str, FieldOverride]()
        if override is not None and row["plain"] is not None:
            changed, notes = self._counting(name, override)
            plain = plain | {key: one.value for key, one in changed.items()}
        allowed = tuple(plain.get("nodes", ()))
        if allowed and not any(node.is_allowed(allowed) for node in self.context.nodes.values()):
            notes.append(f"no known node may run it (allowed: {', '.join(allowed)})")
        if row["missing"]:
            notes.append(MISSING + row["missing"])
        if row["stale"]:
            notes.append("unit file broken: the last good version is in force")
        for node, differing in self.context.catalogs.differences.items():
            if name in differing:
                notes.append(f"node {node} differs: {differing[name]}")
        waiting = self.waiting(name)
        if row["masked"] or row["broken"]:
            status = "masked" if row["masked"] else "broken"
        else:
            status = "enabled" if plain.get("enabled", True) else "disabled"
        return Line(
            status,
            name,
            schedule_words(plain),
            allowed,
            tuple(plain.get("groups", ())),
            self.last.get(name),
            self.runs_of(name),
            waiting[0].place if waiting else None,
            self.waits_for(waiting[0].key) if waiting else "",
            plain.get("schedule", NO_KIND),
            plain.get("title", ""),
            plain.get("description", ""),
            plain.get("provider", "site"),
            tuple(notes),
            plain,
            changed,
        )

    def _counting(self, name: str, override: Override) -> tuple[dict[str, FieldOverride], list[str]]:
        """What of it counts, and what is to be said of it."""
        from vcsctl.domain.effective import fitting, in_force  # here: most services have none, and need no unit

        unit = self.context.unit(name)
        found, (_, unfit) = in_force(override, unit), fitting(unit, override)
        notes = [unfit] if unfit else [f"override: {override_text(key, one)}" for key, one in found.items()]
        notes += outdated_notes(name, override.fields.keys() - found.keys())
        return {} if unfit else found, notes

    def next_slots(self, line: Line, after: datetime, count: int = 1) -> list[datetime]:
        """Its next slots; none of what is not enabled or has none."""
        from vcsctl.domain.calendar import next_slot  # here: the table of all needs no zones

        schedule = self._schedule(line)
        if schedule is None:
            return []
        found = self._slots.setdefault((schedule, after), [])  # thousands of services have the same few schedules
        while len(found) < count:
            found.append(next_slot(schedule, found[-1] if found else after))
        return found[:count]

    def _schedule(self, line: Line) -> Schedule | None:
        from vcsctl.domain.calendar import AtTimes, EveryMinutes

        if line.status != "enabled" or line.kind not in ("periodical", "fixed-time"):
            return None
        plain, zone = line.plain, self.context.published.timezone
        zone = plain.get("timezone") or zone
        if line.kind == "periodical":
            return EveryMinutes(plain["period"], plain.get("align", 0), zone)
        return AtTimes(tuple(plain["run_at"]), tuple(plain.get("days", ())), zone)


def outdated_notes(name: str, keys: Iterable[str]) -> list[str]:
    """The three-way rule: an override of a declaration that is no more does not count."""
    text = f"left out, the declaration has changed since; `vcsctl revert {name}` removes it"
    return [f"override of {key}: {text}" for key in sorted(keys)]


def override_text(key: str, changed: FieldOverride) -> str:
    reason = f" ({changed.reason})" if changed.reason else ""
    return f"{key}={value_text(changed.value)} by {changed.by} at {local(changed.at)}{reason}"


def schedule_words(plain: dict[str, Any]) -> str:
    match plain.get("schedule"):
        case "periodical":
            align = plain.get("align", 0)
            return f"every {plain.get('period')} min" + (f" +{align}" if align else "")
        case "fixed-time":
            return " ".join(plain.get("run_at", ())) + (f" on {','.join(plain['days'])}" if plain.get("days") else "")
        case "daemon":
            return "daemon"
        case _:
            return "-"
