"""Overrides on the shared directory: one file per service, replaced as a whole by the operator's command."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from vcsctl.domain.override import Override
from vcsctl.errors import StorageError
from vcsctl.store import codec, files, locks, records
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults

_LOCK_PATIENCE_S = 5.0
_LOCK_PAUSE_S = 0.02


class OverridesReader:
    """Reads the overrides folder, each file again only when it was replaced."""

    def __init__(self, paths: Paths, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._known: dict[str, tuple[tuple[int, int, int], Override | None]] = {}

    def read(self) -> dict[str, Override]:
        listed = [name for name in files.names(self._paths.overrides) if _service(name)]
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
        try:
            status = os.stat(path)
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


def change_override(
    paths: Paths, service: str, change: Callable[[Override | None, datetime], Override | None]
) -> Override | None:
    """Reads, changes and replaces one override while no other command does; `change` gets the server's clock.

    None from `change` removes the override.
    """
    with _alone(paths):
        draft = files.Draft(paths.override(service), b"")
        draft.discard()
        changed = change(read_override(paths, service), draft.modified_at)
        if changed is None:
            files.discard(paths.override(service))
        else:
            files.replace(paths.override(service), codec.encode(changed), durable=True)
        files.sync_directory(paths.overrides)
    return changed


@contextlib.contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    give_up_s = time.monotonic() + _LOCK_PATIENCE_S
    while (lock := locks.try_lock(paths.overrides_lock())) is None:
        if time.monotonic() > give_up_s:
            raise StorageError(f"cannot lock {paths.overrides_lock()}: another command holds it; try again")
        time.sleep(_LOCK_PAUSE_S)
    try:
        yield
    finally:
        os.close(lock.descriptor)
