"""What `status`, `queue` and `why` say of the cell, gathered from the shared directory alone. Prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from vcsctl.cli.context import Context
from vcsctl.domain.history import Row
from vcsctl.domain.override import Override
from vcsctl.domain.reconcile import Holder, waits_for_group
from vcsctl.domain.run import Claim
from vcsctl.store import files, history, records
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, QueueReader
from vcsctl.store.records import Faults, Stored

KINDS = (("daemon", "Daemon"), ("periodical", "Periodical"), ("fixed-time", "Fixed Time"))


@dataclass(frozen=True, slots=True)
class Line:
    """One service as `status` shows it, in the manual's columns."""

    status: str
    name: str
    schedule: str
    allowed_nodes: str
    run_groups: str
    last_run: Row | None
    running: Stored[Claim] | None
    queued_since: datetime | None
    waits_for: str
    kind: str
    title: str
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
        return QueueReader(self.paths, self.faults).read()

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
            notes += [f"override: {key}={value}" for key, value in changed.items()]
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
            ", ".join(plain.get("nodes", ())) or "all",
            ", ".join(groups) or "-",
            self.last.get(key),
            self.running.get(key),
            pending.place if pending else None,
            self.waits_for(key, groups) if pending else "",
            plain.get("schedule", "periodical"),
            plain.get("title", ""),
            tuple(notes),
        )

    def _in_force(self, override: Override, plain: dict[str, Any]) -> dict[str, Any]:
        declared = {"enabled": True, "align": 0 if plain.get("schedule") == "periodical" else None, **plain}
        return {
            key: changed.value for key, changed in override.fields.items() if declared.get(key) == changed.declared_then
        }


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
