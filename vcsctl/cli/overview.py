"""What `status`, `queue` and `why` say of the cell, gathered from the shared directory alone. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from vcsctl.cli.context import Context
from vcsctl.cli.tables import value_text
from vcsctl.domain.history import Row
from vcsctl.domain.holder import Holder, waits_for_group
from vcsctl.domain.override import Override
from vcsctl.domain.run import Claim
from vcsctl.store import files, history, records
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, QueueReader
from vcsctl.store.records import Faults, Stored

NO_KIND = "none"
KINDS = (("daemon", "Daemon"), ("periodical", "Periodical"), ("fixed-time", "Fixed Time"), (NO_KIND, "Not Loaded"))


@dataclass(frozen=True, slots=True)
class Line:
    """One service as `status` shows it, in the manual's columns."""

    status: str
    name: str
    schedule: str
    allowed_nodes: tuple[str, ...]  # none: all of them
    run_groups: tuple[str, ...]
    last_run: Row | None
    running: Stored[Claim] | None
    queued_since: datetime | None
    waits_for: str
    kind: str
    title: str
    description: str
    provider: str
    notes: tuple[str, ...]


class Overview:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.faults = Faults()

    @property
    def paths(self) -> Paths:
        return self.context.paths

    @cached_property
    def running(self) -> dict[str, Stored[Claim]]:
        """Live runs by KEY: those of the index that have no outcome yet."""
        found = {}
        for name in files.names(self.paths.running):
            if name.endswith(".json") and not name.startswith("."):
                claim = records.read(Claim, f"{self.paths.running}/{name}", self.faults)
                if claim and files.read(self.paths.end(claim.value.key, claim.value.fence)) is None:
                    found[claim.value.key] = claim
        return found

    @cached_property
    def pending(self) -> dict[str, Pending]:
        """What waits, by KEY. A cancelled request waits no more, though its file is there until vcsd records it."""
        found = {}
        for key, pending in QueueReader(self.paths, self.faults).read().items():
            left = replace(pending, requests=tuple(queued for queued in pending.requests if not queued.cancelled))
            if left.place is not None:
                found[key] = left
        return found

    @cached_property
    def overrides(self) -> dict[str, Override]:
        return OverridesReader(self.paths, self.faults).read()

    @cached_property
    def last(self) -> dict[str, Row]:
        return history.read_last(self.paths)

    def waits_for(self, key: str, groups: tuple[str, ...]) -> str:
        """The sentence of vcsd's log, from the same facts."""
        if key in self.running:
            return f"its own run {self.running[key].value.run_id} is not over"
        for group in sorted(groups):
            for claim in self.running.values():
                declared = (self.context.published.units.get(claim.value.service) or {}).get("plain") or {}
                if group in claim.value.groups or group in declared.get("groups", ()):
                    return waits_for_group(group, Holder(claim.value.run_id, claim.value.node))
        return "starts next"

    def lines(self) -> list[Line]:
        return [self.line(name, row) for name, row in sorted(self.context.published.units.items())]

    def line(self, name: str, row: dict[str, Any]) -> Line:
        plain: dict[str, Any] = dict(row["plain"] or {})
        notes = []
        override = self.overrides.get(name)
        if override is not None and row["plain"] is not None:
            changed = self._in_force(override, plain)
            plain |= changed
            notes += [f"override: {key}={value_text(value)}" for key, value in changed.items()]
            notes += outdated_notes(name, override.fields.keys() - changed.keys())
        if row["missing"]:
            notes.append(f"program missing: {row['missing']}")
        if row["stale"]:
            notes.append("unit file broken: the last good version is in force")
        key = row["key"] or name
        pending = self.pending.get(key)
        groups = tuple(plain.get("groups", ()))
        if row["masked"] or row["broken"]:
            status = "masked" if row["masked"] else "broken"
        else:
            status = "enabled" if plain.get("enabled", True) else "disabled"
        return Line(
            status,
            name,
            schedule_words(plain),
            tuple(plain.get("nodes", ())),
            groups,
            self.last.get(key),
            self.running.get(key),
            pending.place if pending else None,
            self.waits_for(key, groups) if pending else "",
            plain.get("schedule", NO_KIND),
            plain.get("title", ""),
            plain.get("description", ""),
            plain.get("provider", "site"),
            tuple(notes),
        )

    def _in_force(self, override: Override, plain: dict[str, Any]) -> dict[str, Any]:
        declared = {"enabled": True, "align": 0 if plain.get("schedule") == "periodical" else None, **plain}
        return {
            key: changed.value for key, changed in override.fields.items() if declared.get(key) == changed.declared_then
        }


def outdated_notes(name: str, keys: Iterable[str]) -> list[str]:
    """The three-way rule: an override of a declaration that is no more does not count."""
    text = f"left out, the declaration has changed since; `vcsctl revert {name}` removes it"
    return [f"override of {key}: {text}" for key in sorted(keys)]


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
