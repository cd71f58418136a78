"""Whose turn it is to restart a daemon of each node: one node's at a time, by a lock on the share.

Who may not touch the share asks the process beside it that may, by files of this machine: `SERVICE.wanted` is the
wish, `SERVICE.granted` the answer; `SERVICE.waits` is written anew whenever the share answered that it is another's
turn. A share that does not answer holds nobody up for long: the order of restarts is a courtesy, not a promise.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Protocol

from vcsctl.errors import StorageError
from vcsctl.store import files, locks
from vcsctl.store.locks import Grant
from vcsctl.store.paths import Paths, is_part
from vcsctl.vcsd.clocks import Clocks

WANTED, GRANTED, WAITS = ".wanted", ".granted", ".waits"
_PATIENCE_S = 60.0  # with a share that says nothing; while another node has its turn it says so at each look


class Permits(Protocol):
    def take(self, service: str, who: str) -> bool:
        """Whether it is this node's turn; to be asked again where it is not."""

    def give_back(self, service: str) -> None:
        """After a turn that was taken, or that is not wanted any more."""


@dataclass(slots=True)
class SharedPermits:
    """By the lock of the service's bare name, which no run of a daemon of each node takes."""

    paths: Paths
    _held: dict[str, Grant] = field(default_factory=dict)

    def take(self, service: str, who: str) -> bool:
        if service in self._held:
            return True
        lock = locks.try_lock(self.paths.key_lock(service))
        if lock is None:
            return False
        self._held[service] = Grant(lock, {})
        lock.write(lock.next_fence(), f"the restart of {who}")
        return True

    def give_back(self, service: str) -> None:
        grant = self._held.pop(service, None)
        if grant is not None:
            grant.unlock()
            grant.close()


@dataclass(slots=True)
class AskedPermits:
    """Of a process that never touches the share. What a former one wanted means nothing any more."""

    folder: str
    clocks: Clocks
    _heard_s: dict[str, float] = field(default_factory=dict)  # when it was asked, or when the share answered since
    _signs: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        _clear(self.folder, WANTED)

    def take(self, service: str, who: str) -> bool:
        now_s = self.clocks.monotonic()
        if service not in self._heard_s:
            self._heard_s[service] = now_s
            files.replace(f"{self.folder}/{service}{WANTED}", f"{who}\n".encode())
        if f"{service}{GRANTED}" in files.names(self.folder):
            return True
        sign = files.read(f"{self.folder}/{service}{WAITS}")
        if sign is not None and sign != self._signs.get(service):
            self._signs[service], self._heard_s[service] = sign, now_s
        return now_s - self._heard_s[service] > _PATIENCE_S

    def give_back(self, service: str) -> None:
        if self._heard_s.pop(service, None) is not None:
            files.discard(f"{self.folder}/{service}{WANTED}")


@dataclass(slots=True)
class GrantedPermits:
    """Of the process beside it: takes on the share what is wanted, gives back what is wanted no more."""

    folder: str
    shared: SharedPermits
    _granted: set[str] = field(default_factory=set)
    _looks: int = 0  # no two signs are alike

    def __post_init__(self) -> None:
        """What a former vcsd granted is nobody's; to be made before anybody can ask."""
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        _clear(self.folder, GRANTED, WAITS)

    def look(self) -> None:
        """At each poll; without wishes it costs one listing on this machine."""
        names = files.names(self.folder)
        wanted = {name for name in _having(WANTED, names) if is_part(name)}
        self._looks += 1
        for service in self._granted - wanted:
            files.discard(f"{self.folder}/{service}{GRANTED}")
            self.shared.give_back(service)
            self._granted.discard(service)
        for service in sorted(wanted - self._granted):
            with contextlib.suppress(StorageError):  # asked again; it may be tired of waiting
                if self.shared.take(service, service):
                    self._granted.add(service)
                    files.replace(f"{self.folder}/{service}{GRANTED}", b"")
                else:
                    files.replace(f"{self.folder}/{service}{WAITS}", str(self._looks).encode())
        for service in _having(WAITS, names) - (wanted - self._granted):
            files.discard(f"{self.folder}/{service}{WAITS}")


def _having(suffix: str, names: list[str]) -> set[str]:
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


def _clear(folder: str, *suffixes: str) -> None:
    for name in files.names(folder):
        if name.endswith(suffixes):
            files.discard(f"{folder}/{name}")
