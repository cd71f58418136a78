"""Overrides on the shared directory: one file per service, read again only when it was replaced."""

from __future__ import annotations

import os

from vcsctl.domain.override import Override
from vcsctl.store import files, records
from vcsctl.store.paths import DRAINED, Paths
from vcsctl.store.records import Faults


class OverridesReader:
    """Reads the overrides folder, each file again only when it was replaced. `drained`: nodes that start nothing."""

    def __init__(self, paths: Paths, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._known: dict[str, tuple[tuple[int, int, int], Override | None]] = {}
        self.drained: set[str] = set()

    def read(self) -> dict[str, Override]:
        names = files.names(self._paths.overrides)
        self.drained = {name.removesuffix(DRAINED) for name in names if name.endswith(DRAINED)}
        listed = [name for name in names if _service(name)]
        for name in self._known.keys() - set(listed):
            del self._known[name]
        found = {}
        for name in listed:
            override = self._read_one(name)
            if override is not None:
                found[_service(name)] = override
        return found

    def _read_one(self, name: str) -> Override | None:
        path = f"{self._paths.overrides}/{name}"
        with files.named_faults("read", path):
            try:
                status = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                return None
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        if name not in self._known or self._known[name][0] != identity:
            stored = records.read(Override, path, self._faults)
            self._known[name] = (identity, stored.value if stored else None)
        return self._known[name][1]


def _service(name: str) -> str:
    return name.removesuffix(".json") if name.endswith(".json") and not name.startswith(".") else ""


def read_override(paths: Paths, service: str) -> Override | None:
    """By a fresh listing: over NFS a missing name may stay missing for long."""
    if f"{service}.json" not in files.names(paths.overrides):
        return None
    stored = records.read(Override, paths.override(service), Faults())
    return stored.value if stored else None
