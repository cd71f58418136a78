"""The guards of the protocol, each with the real code put in its place that lacks just that, and the promises that
break without it. For the test that the simulation notices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vcsctl.domain import fencing, reconcile
from vcsctl.domain.decision import Decision, KeyView, Start
from vcsctl.domain.run import Claim
from vcsctl.domain.unit import Retries, TimedUnit
from vcsctl.runners import base
from vcsctl.store import files, locks, records
from vcsctl.store.locks import HeldLock
from vcsctl.store.state import KeyState
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.peers import Peers


@contextlib.contextmanager
def replaced(owner: Any, name: str, instead: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, instead)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def no_lock() -> Iterator[None]:
    """The lock file is opened and not locked."""

    def try_lock(path: str) -> HeldLock | None:
        with files.named_faults("lock", path):
            return HeldLock(path, locks.os.open(path, locks.os.O_RDWR | locks.os.O_CREAT, 0o600))

    with replaced(locks, "try_lock", try_lock):
        yield


@contextlib.contextmanager
def no_decision_under_the_lock() -> Iterator[None]:
    """What was decided before is done."""
    start, really, decided = Launcher.start, Launcher._decide_again, dict[tuple[int, str], Start]()

    def remembered(self: Launcher, decision: Start) -> Decision | None:
        decided[id(self), decision.key] = decision
        return start(self, decision)

    def decide_again(self: Launcher, key: str) -> tuple[Decision, KeyState]:
        before = decided.pop((id(self), key), None)
        return (before, self.observer.state(key)) if before is not None else really(self, key)

    with replaced(Launcher, "start", remembered), replaced(Launcher, "_decide_again", decide_again):
        yield


@contextlib.contextmanager
def no_claim_before_the_start() -> Iterator[None]:
    def link(self: Launcher, claim: Claim, watermark: datetime | None, *, index: bool) -> bool:
        return True

    with replaced(Launcher, "_link", link):
        yield


@contextlib.contextmanager
def no_fence_number() -> Iterator[None]:
    """The number in the group's lock file is given out again and again."""
    next_fence = HeldLock.next_fence

    with replaced(HeldLock, "next_fence", lambda self: max(1, next_fence(self) - 1)):
        yield


@contextlib.contextmanager
def no_fencing() -> Iterator[None]:
    """A runner that cannot prove its locks goes on."""
    with (
        replaced(fencing, "action", lambda since_proof_s, fence_after_s: "none"),
        replaced(fencing, "may_start", lambda since_proof_s, fence_after_s: True),
    ):
        yield


@contextlib.contextmanager
def no_stop_on_storage_loss() -> Iterator[None]:
    """Every run goes on without its locks, whatever its unit says."""
    with replaced(base, "stops_on_storage_loss", lambda unit, taken: False):
        yield


@contextlib.contextmanager
def no_union_of_groups() -> Iterator[None]:
    """A node goes by its own units alone."""

    def own_groups(self: Launcher, service: str) -> tuple[str, ...]:
        found = self.service(service)
        return found.effective.groups if found is not None else ()

    with (
        replaced(Launcher, "groups_of", own_groups),
        replaced(Peers, "groups_of", lambda self, service: getattr(self._own.get(service), "groups", ())),
    ):
        yield


@contextlib.contextmanager
def no_first_wins() -> Iterator[None]:
    """Records are renamed to their names: the last one wins, and everybody believes to have won."""

    def link(self: files.Draft) -> bool:
        with files.named_faults("write", self.path):
            files.os.link(self._temporary, f"{self._temporary}.kept")
            files.os.rename(self._temporary, self.path)
            files.os.rename(f"{self._temporary}.kept", self._temporary)
        return True

    with replaced(files.Draft, "link", link):
        yield


@contextlib.contextmanager
def further_attempts_at_will() -> Iterator[None]:
    """Whatever failed or was lost is tried again, whatever its unit says."""
    really = reconcile.pending_retry

    def pending_retry(view: KeyView) -> reconcile.Retry | None:
        if not isinstance(view.unit, TimedUnit):
            return None
        return really(replace(view, unit=replace(view.unit, on_lost="rerun", retries=Retries(attempts=3, delay=1.0))))

    with replaced(reconcile, "pending_retry", pending_retry):
        yield


@contextlib.contextmanager
def each_row_twice() -> Iterator[None]:
    """Who writes the history does not look at what is there."""
    append_line = records.append_line

    def twice(path: str, line: bytes) -> None:
        append_line(path, line + line if "/history/" in path else line)

    with replaced(records, "append_line", twice):
        yield


@contextlib.contextmanager
def no_time_to_start() -> Iterator[None]:
    """What does not start at once is called too late: nothing is lost in silence, and nothing is done."""
    with replaced(reconcile, "start_limit", lambda unit, schedule, newest: newest):
        yield


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


@dataclass(frozen=True, slots=True)
class Guard:
    """`breaks` are the beginnings of the checker's sentences of which one must be said without it."""

    without: Callable[[], contextlib.AbstractContextManager[None]]
    breaks: tuple[str, ...]


_TWICE = ("executed twice", "several runs of slot", "request ")  # a request ends once
GUARDS = {
    "the lock": Guard(no_lock, ("together in",)),
    "the decision again under the lock": Guard(no_decision_under_the_lock, _TWICE),
    "the claim before the start": Guard(no_claim_before_the_start, _TWICE),
    "the fence": Guard(no_fence_number, ("fence of group",)),
    "the stop without proof": Guard(no_fencing, ("together in",)),
    "the stop on storage loss": Guard(no_stop_on_storage_loss, ("together in",)),
    "the unit's word on further attempts": Guard(further_attempts_at_will, ("attempt ",)),
    "one row an outcome": Guard(each_row_twice, ("recorded 2 times",)),
    "the time to start": Guard(no_time_to_start, ("overdue: ",)),
    "the union of groups": Guard(no_union_of_groups, ("together in group",)),
}
