"""What stat(2) and the listing of a directory answer in the simulation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_DEVICE = 42


@dataclass(frozen=True, slots=True)
class Status:
    st_ino: int
    st_mode: int
    st_nlink: int
    st_size: int
    st_mtime_ns: int
    st_dev: int = _DEVICE

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9


class Entry:
    __slots__ = ("_number", "name")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self._number = number

    def inode(self) -> int:
        return self._number


class Listing:
    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)
