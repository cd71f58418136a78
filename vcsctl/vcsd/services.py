"""The services as this node sees them: declared units, the overrides on top, keys and groups. No files, no clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vcsctl.catalog.snapshot import Snapshot
from vcsctl.domain.calendar import Schedule
from vcsctl.domain.effective import fitting
from vcsctl.domain.override import Override
from vcsctl.domain.run import service_of
from vcsctl.domain.unit import Daemon, Unit, allowed_on, from_plain, key_of, needs_no_share, schedule_of

NO_SCHEDULE = "none"


@dataclass(frozen=True, slots=True)
class Service:
    """One service on this node; `unit` is the declaration, `effective` what counts with the override."""

    name: str
    key: str
    unit: Unit
    effective: Unit
    schedule: Schedule | None
    schedule_digest: str
    moment: datetime | None = None  # when an operator last changed the schedule or the status
    fault: str = ""  # why an override is left out


@dataclass(slots=True)
class Services:
    """All services; those this node may run have a key here.

    `keeps_apart`: those that need no shared directory are looked after elsewhere on this node, and lie in `apart`.
    """

    node: str
    labels: tuple[str, ...]
    timezone: str
    declared: dict[str, Unit] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    by_key: dict[str, Service] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    keeps_apart: bool = False
    apart: dict[str, Service] = field(default_factory=dict)

    def adopt(self, snapshot: Snapshot, overrides: dict[str, Override]) -> set[str]:
        """Takes over a compiled catalog; the keys that changed, came or went."""
        overridden = self._take_over(overrides)  # no look after this one finds them changed
        changed = {name for name, unit in snapshot.units.items() if unit.digest != self.digests.get(name)}
        changed |= self.digests.keys() - snapshot.units.keys()
        touched = set()
        for name in changed:
            touched |= self._forget(name)
        for name in changed & snapshot.units.keys():
            compiled = snapshot.units[name]
            self.digests[name] = compiled.digest
            if compiled.plain is not None and not compiled.masked:
                self.declared[name] = from_plain(compiled.plain)
        self.masked = {name for name, unit in snapshot.units.items() if unit.masked}
        self.stale = {name for name, unit in snapshot.units.items() if unit.stale}
        return touched | self._rebuild(changed | overridden)

    def adopt_overrides(self, overrides: dict[str, Override]) -> set[str]:
        """Takes over the overrides; the keys whose override changed."""
        return self._rebuild(self._take_over(overrides))

    def _take_over(self, overrides: dict[str, Override]) -> set[str]:
        """The names of those that changed."""
        before, self.overrides = self.overrides, overrides
        return {name for name in before.keys() | overrides.keys() if before.get(name) is not overrides.get(name)}

    def _forget(self, name: str) -> set[str]:
        self.declared.pop(name, None)
        self.digests.pop(name, None)
        self.apart.pop(name, None)
        key = self.keys.pop(name, None)
        if key is None:
            return set()
        self.by_key.pop(key, None)
        return {key}

    def _rebuild(self, names: Iterable[str]) -> set[str]:
        touched = set()
        for name in names:
            unit = self.declared.get(name)
            if unit is None or not allowed_on(unit, self.node, self.labels):
                continue
            service = self._service(name, unit)
            if self.keeps_apart and needs_no_share(unit):
                self.apart[name] = service
                continue
            self.keys[name] = service.key
            self.by_key[service.key] = service
            touched.add(service.key)
        return touched

    def _service(self, name: str, unit: Unit) -> Service:
        override = self.overrides.get(name)
        current, fault = fitting(unit, override)
        schedule = None if isinstance(current, Daemon) else schedule_of(current, self.timezone)
        digest = schedule_digest(current, schedule)
        moment = override.moment if override else None
        return Service(name, key_of(unit, self.node), unit, current, schedule, digest, moment, fault)

    def named(self, name: str) -> Service | None:
        """As this node may run it, here or apart."""
        return self.apart.get(name) or self.by_key.get(self.keys.get(name, ""))

    def is_apart(self, key: str) -> bool:
        service = self.apart.get(service_of(key))
        return service is not None and service.key == key

    def has_no_schedule(self, key: str) -> bool:
        """Whether no schedule starts a KEY as far as this node knows: its unit is gone or masked, is a daemon, runs
        under another KEY by now, or no longer on this node, whose own KEY it is. Another node's is for that to know."""
        name, _, owner = key.partition("@")
        if owner not in ("", self.node):
            return False
        current = self.by_key.get(key) or self.named(name)
        if current is None:
            return name not in self.declared or owner == self.node
        return current.key != key or current.schedule is None

    def elsewhere(self, key: str) -> bool:
        """Whether a KEY is the business of other nodes: its service exists, and this node may not run it.

        What is this node's alone is nobody else's, whether it may still run it or not.
        """
        service, _, owner = key.partition("@")
        unit = self.declared.get(service)
        if unit is None or key in self.by_key or owner == self.node:
            return False
        return bool(owner) == (unit.run_on == "each")


def schedule_digest(unit: Unit, schedule: Schedule | None) -> str:
    """What `since` files are named by: a change of it means that nothing earlier counts."""
    if schedule is None:
        return NO_SCHEDULE
    content: Any = [unit.enabled, repr(schedule)]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
