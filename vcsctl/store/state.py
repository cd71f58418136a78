"""What is on record of one KEY: its claims, starts, outcomes and moments. Reads, links, prunes; decides nothing.

Claims and outcomes are linked once and never changed. The highest number in the folder is the KEY's fence;
a number counts as used whatever its file holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from vcsctl.domain.daemon import Order
from vcsctl.domain.outcome import End, Started, StopRequest
from vcsctl.domain.run import Claim
from vcsctl.errors import StorageError
from vcsctl.store import codec, files, records
from vcsctl.store.paths import ASIDE_SUFFIX, CLAIM, END, RESET, STARTED, STOP, TEMPORARY_PREFIX, Paths, is_part
from vcsctl.store.records import Faults, Stored

T = TypeVar("T")
_UNREADABLE_STOP = StopRequest("unknown", "unknown", "the stop file is unreadable")
_MOST_KEPT = 2048  # records of a few hundred KEYs: those that are busy


@dataclass(frozen=True, slots=True)
class KeyState:
    """The KEY's newest records. `run` is the newest claim that started a run, `closes` the claims after it."""

    key: str
    fence: int = 0
    watermark: datetime | None = None
    run: Stored[Claim] | None = None
    started: Stored[Started] | None = None
    end: Stored[End] | None = None
    began: bool = False  # a start is on record, readable or not
    unreadable_end: str | None = None  # the path of an outcome that is there and says nothing
    stop: StopRequest | None = None
    reset: bool = False  # an operator has seen how it ended
    closes: tuple[Claim, ...] = ()
    since: dict[str, datetime] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)

    @property
    def newest_digest(self) -> str | None:
        return max(self.since, key=lambda digest: self.since[digest]) if self.since else None

    @property
    def runs_on(self) -> str:
        """Where the newest run is, or was; where it never began, who claimed it."""
        started, run = self.started, self.run
        return (started.value.node if started else "") or (run.value.node if run else "")


@dataclass(slots=True)
class _Listing:
    """The names in a KEY's folder, each with its inode."""

    claims: list[int] = field(default_factory=list)
    since: list[str] = field(default_factory=list)
    inodes: dict[str, int] = field(default_factory=dict)
    highest: int = 0


def _list(folder: str) -> _Listing:
    listing = _Listing()
    for name, inode in files.entries(folder):
        number, dot, suffix = name.partition(".")
        if number.isdecimal():
            listing.inodes[name] = inode
            listing.highest = max(listing.highest, int(number))
            if dot + suffix == CLAIM:
                listing.claims.append(int(number))
        elif number == "since" and not name.endswith(ASIDE_SUFFIX):
            listing.inodes[name] = inode
            listing.since.append(name)
    listing.claims.sort(reverse=True)
    return listing


class StateReader:
    """Reads what is on record of KEYs. The folder is listed each time; a record, which never changes, is read once
    and kept while there is room. The inode is part of its name: a folder emptied by hand begins its numbers anew."""

    def __init__(self, paths: Paths, faults: Faults) -> None:
        self._paths = paths
        self._faults = faults
        self._kept: dict[tuple[str, int], Any] = {}

    def read(self, key: str) -> KeyState:
        folder = self._paths.state(key)
        listing = _list(folder)
        since, turns = self._since(folder, listing)
        state = KeyState(
            key,
            fence=listing.highest,
            since=since,
            turns=turns,
        )
        watermark: datetime | None = None
        closes: list[Claim] = []
        for number in listing.claims:
            claim = self._record(Claim, folder, f"{number}{CLAIM}", listing)
            if claim is None:
                # What an unreadable claim had taken is unknown: count every slot up to its writing as taken.
                watermark = _later(watermark, written_at(self._paths.claim(key, number)))
                continue
            watermark = _later(watermark, claim.value.watermark)
            if not claim.value.is_run:
                closes.append(claim.value)
                continue
            end = self._record(End, folder, f"{number}{END}", listing)
            state = replace(
                state,
                run=claim,
                started=self._record(Started, folder, f"{number}{STARTED}", listing),
                end=end,
                began=f"{number}{STARTED}" in listing.inodes,
                unreadable_end=f"{folder}/{number}{END}" if f"{number}{END}" in listing.inodes and not end else None,
                stop=self._stop(folder, number, listing),
                reset=f"{number}{RESET}" in listing.inodes,
            )
            break
        return replace(state, watermark=watermark, closes=tuple(closes))

    def _stop(self, folder: str, number: int, listing: _Listing) -> StopRequest | None:
        if f"{number}{STOP}" not in listing.inodes:
            return None
        found = self._record(StopRequest, folder, f"{number}{STOP}", listing)
        return found.value if found else _UNREADABLE_STOP

    def finished(self, key: str, after: int) -> Iterator[tuple[Stored[Claim], Stored[End] | None]]:
        """The claims above a number with their outcomes, in order, up to the newest run if that has none.

        An older run without an outcome is skipped: see `strays`.
        """
        folder = self._paths.state(key)
        listing = _list(folder)
        found = []
        for number in listing.claims:
            claim = self._record(Claim, folder, f"{number}{CLAIM}", listing) if number > after else None
            if claim is None:
                continue
            end = self._record(End, folder, f"{number}{END}", listing)
            if not claim.value.is_run or end is not None:
                started = self._record(Started, folder, f"{number}{STARTED}", listing)
                if started is not None and started.value.node:  # not where it was claimed, if that node died in between
                    claim = Stored(replace(claim.value, node=started.value.node), claim.at)
                found.append((claim, end))
            elif not any(later.value.is_run for later, _ in found):
                found.clear()  # what follows an unfinished run waits for it
        yield from reversed(found)

    def strays(self, key: str, newest_run: int) -> list[int]:
        """Numbers below the newest run whose records are nobody's.

        A node that lost its lock unnoticed may link a claim late: the claims after it could not have been made had
        it been there, and its runner finds the lock lost. A start or an outcome may come after its claim was pruned.
        """
        folder = self._paths.state(key)
        listing = _list(folder)
        numbers = {int(name.partition(".")[0]) for name in listing.inodes if name[0].isdecimal()}
        return sorted(number for number in numbers if number < newest_run and self._is_stray(folder, number, listing))

    def _is_stray(self, folder: str, number: int, listing: _Listing) -> bool:
        if number not in listing.claims:
            return True
        claim = self._record(Claim, folder, f"{number}{CLAIM}", listing)
        return claim is not None and claim.value.is_run and f"{number}{END}" not in listing.inodes

    def _record(self, cls: type[T], folder: str, name: str, listing: _Listing) -> Stored[T] | None:
        """By the listing: over NFS a name that was missing once stays missing for long."""
        if name not in listing.inodes:
            return None
        path = f"{folder}/{name}"
        identity = (path, listing.inodes[name])
        stored: Stored[T] | None = self._kept.get(identity)
        if stored is None and (stored := records.read(cls, path, self._faults)) is not None:
            self._keep(identity, stored)
        return stored

    def _since(self, folder: str, listing: _Listing) -> tuple[dict[str, datetime], dict[str, int]]:
        since: dict[str, datetime] = {}
        turns: dict[str, int] = {}
        for name in listing.since:
            parts = name.split(".")
            identity = (f"{folder}/{name}", listing.inodes[name])
            moment: datetime | None = self._kept.get(identity)
            if moment is None and (moment := written_at(identity[0])) is not None:
                self._keep(identity, moment)
            if moment is None or len(parts) < 2:
                continue
            since[parts[1]] = max(moment, since.get(parts[1], moment))
            turn = int(parts[2]) if len(parts) > 2 and parts[2].isdecimal() else 1
            turns[parts[1]] = max(turn, turns.get(parts[1], 0))
        return since, turns

    def _keep(self, identity: tuple[str, int], value: Any) -> None:
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[identity] = value


def read_key(paths: Paths, key: str, faults: Faults) -> KeyState:
    """Once, for a command."""
    return StateReader(paths, faults).read(key)


def keys_on_record(paths: Paths) -> set[str]:
    """Those of units, and those that left records though their unit is gone; none where they cannot be listed."""
    with contextlib.suppress(StorageError):
        return {name for name in files.names(paths.states) if is_part(name)}
    return set()


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def written_at(path: str) -> datetime | None:
    with files.named_faults("read", path):
        try:
            return files.instant_of(os.stat(path, follow_symlinks=False).st_mtime_ns)
        except FileNotFoundError:
            return None


def mark_since(paths: Paths, state: KeyState, digest: str) -> None:
    """Records that the schedule `digest` comes into force now. First wins; the moment is the file's mtime."""
    path = paths.since(state.key, digest, state.turns.get(digest, 0) + 1)
    files.make_folder(paths.state(state.key))
    # Linked: of a name that open() makes exclusively over NFS, the mtime is no moment before a second call has set it.
    files.link_new(path, b"")


def remove_old_turns(paths: Paths, state: KeyState) -> None:
    """Of each schedule only the newest moment counts: without this every disabling and enabling left two names."""
    for name in files.names(paths.state(state.key)):
        parts = name.split(".")
        if len(parts) < 2 or parts[0] != "since":
            continue
        turn = int(parts[2]) if len(parts) == 3 and parts[2].isdecimal() else 1
        if turn < state.turns.get(parts[1], 0):
            files.discard(f"{paths.state(state.key)}/{name}")


def draft_claim(paths: Paths, claim: Claim) -> files.Draft:
    if claim.fence == 1:  # a KEY without records has no folder where no schedule of it was ever in force
        files.make_folder(paths.state(claim.key))
    return files.Draft(paths.claim(claim.key, claim.fence), codec.encode(claim))


def write_started(paths: Paths, key: str, fence: int, started: Started) -> bool:
    """Syncs the folder too: from here on the claim and the start survive a power cut."""
    return records.publish(paths.started(key, fence), started, sync_folder=True)


def read_started(paths: Paths, key: str, fence: int) -> Started | None:
    stored = records.read(Started, paths.started(key, fence), Faults())
    return stored.value if stored else None


def write_end(paths: Paths, key: str, fence: int, end: End) -> bool:
    """The commit point of a run: first wins. False when an outcome is on record already."""
    return records.publish(paths.end(key, fence), end, sync_folder=True)


def write_stop(paths: Paths, key: str, fence: int, stop: StopRequest) -> bool:
    return records.publish(paths.stop(key, fence), stop, sync_folder=True)


def read_stop(paths: Paths, key: str, fence: int) -> StopRequest | None:
    """Looks the name up in the listing first: over NFS a missing name may stay missing for long."""
    if f"{fence}{STOP}" not in files.names(paths.state(key)):
        return None
    found = records.read(StopRequest, paths.stop(key, fence), Faults())
    return found.value if found else _UNREADABLE_STOP


def write_reset(paths: Paths, key: str, fence: int, order: Order) -> bool:
    """How that run ended counts no more. First wins; what is kept is whose wish it was."""
    return records.publish(paths.reset(key, fence), order, sync_folder=True)


def remove_numbers(paths: Paths, key: str, numbers: list[int]) -> None:
    """Removes the records of finished numbers, the outcome last: a claim without it would look unfinished."""
    for number in numbers:
        for path in (
            paths.stop(key, number),
            paths.reset(key, number),
            paths.started(key, number),
            paths.claim(key, number),
            paths.end(key, number),
        ):
            files.discard(path)


def remove_drafts(paths: Paths, key: str, below: int) -> None:
    """Removes what killed writers left of numbers that are over. Who wakes up late to link one finds it gone."""
    for name in files.names(paths.state(key)):
        if name.startswith(TEMPORARY_PREFIX):
            number = name.removeprefix(TEMPORARY_PREFIX).partition(".")[0]
            if number.isdecimal() and int(number) < below:
                files.discard(f"{paths.state(key)}/{name}")


def sweep_temporaries(folder: str, older_than_s: float, now_s: float) -> None:
    """Removes what a killed writer left; young ones may be somebody's work in progress."""
    for name in files.names(folder):
        if name.startswith(TEMPORARY_PREFIX):
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                if now_s - os.stat(path).st_mtime > older_than_s:
                    files.discard(path)
                    os.rmdir(path)  # of a clock that was read
