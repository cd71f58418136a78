"""For whom groups are kept, and until when: old entries of the queue reserve theirs. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

# So many looks at free groups without a start, and an entry's reservation lapses: nobody seems to come for it.
RESERVATION_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A pending entry that only other nodes can start, one of which says that it can."""

    key: str
    place: datetime
    groups: tuple[str, ...]


def count_free_looks(before: Mapping[str, int], entries: Iterable[Entry], busy: frozenset[str]) -> dict[str, int]:
    """KEY → how many looks in a row found all groups of its entry free, and it the first in line for them.

    `busy` are the groups that runs hold. Between two runs a group is free for a moment: of those further back it tells
    nothing.
    """
    looks, spoken_for = dict[str, int](), set[str]()
    for entry in sorted(entries, key=lambda entry: (entry.place, entry.key)):
        looks[entry.key] = before.get(entry.key, 0)
        if busy & set(entry.groups):
            looks[entry.key] = 0
        elif not spoken_for & set(entry.groups):
            looks[entry.key] += 1
        if looks[entry.key] <= RESERVATION_LOOKS:
            spoken_for.update(entry.groups)
    return looks


def reserving(entries: Iterable[Entry], free_looks: Mapping[str, int]) -> list[Entry]:
    """The entries whose reservations have not lapsed."""
    return [entry for entry in entries if free_looks.get(entry.key, 0) <= RESERVATION_LOOKS]


def reservations(entries: Iterable[Entry], now: datetime, fair_after: timedelta) -> dict[str, Entry]:
    """Group → the oldest entry for which it is kept."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.place, entry.key)):
        if now - entry.place > fair_after:
            found |= {group: entry for group in entry.groups if group not in found}
    return found
