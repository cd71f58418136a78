"""The index of live runs, for readers, for sweeps and for who takes a group: one immutable name a run.

Linked before a run's command can start, removed by whoever records its outcome. A name of a run that has an
outcome on record means nothing: its removal was cut short, or a node that was cut off linked it late.
"""

from __future__ import annotations

import contextlib

from vcsctl.domain.run import Claim, parse_run_id
from vcsctl.errors import StorageError
from vcsctl.store import codec, files, records
from vcsctl.store.paths import CLAIM, END, Paths
from vcsctl.store.records import Faults, Stored


def enter(paths: Paths, claim: Claim) -> None:
    """`claim.node` is the node that runs it, which may be another than the one that claimed it."""
    path = paths.running_index(claim.run_id)
    if not files.link_new(path, codec.encode(claim)):
        files.replace(path, codec.encode(claim))  # of an attempt to start it that a crash ended


def leave(paths: Paths, run_id: str) -> None:
    files.discard(paths.running_index(run_id))


class RunningReader:
    """Reads the index, each immutable record once."""

    def __init__(self, paths: Paths, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._known: dict[tuple[str, int], Stored[Claim]] = {}

    def read(self) -> dict[str, Stored[Claim]]:
        """Run id → what runs, by a fresh listing. Of runs whose outcome is on record some may still be among them."""
        listed = {entry for entry in files.entries(self._paths.running) if parse_run_id(_stem(entry[0]))}
        for gone in self._known.keys() - listed:
            del self._known[gone]
        found = {}
        for name, inode in sorted(listed):
            stored = self._known.get((name, inode))
            if stored is None:
                stored = records.read(Claim, f"{self._paths.running}/{name}", self._faults)
                if stored is None:
                    continue
                if stored.value.run_id != _stem(name):
                    self._faults.add(f"{self._paths.running}/{name}", "is not the run that its name says; remove it")
                    continue
                self._known[(name, inode)] = stored
            found[_stem(name)] = stored
        return found


def _stem(name: str) -> str:
    return name.removesuffix(CLAIM) if name.endswith(CLAIM) and not name.startswith(".") else ""


def is_over(paths: Paths, key: str, fence: int) -> bool:
    """Whether a run's outcome is on record, or its records are pruned: newer ones are left then, and an empty folder
    says nothing. By a listing: over NFS a name that was missing once stays missing for long."""
    names = files.names(paths.state(key))
    return f"{fence}{END}" in names or (bool(names) and f"{fence}{CLAIM}" not in names)


def live(paths: Paths, faults: Faults) -> dict[str, Stored[Claim]]:
    """KEY → its live run, for a command that looks once."""
    found = {}
    for stored in RunningReader(paths, faults).read().values():
        with contextlib.suppress(StorageError):
            if not is_over(paths, stored.value.key, stored.value.fence):
                found[stored.value.key] = stored
    return found
