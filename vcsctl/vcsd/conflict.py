"""Who is in the way of a run though the locks of its groups are free, and which waiters are no more. Starts nothing.

Used under the locks by whoever is about to claim: vcsd, and `vcsctl lock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vcsctl.domain.holder import Blocked, Holder, waits_for_group
from vcsctl.domain.run import Claim, is_lock
from vcsctl.store import locks, queue, running
from vcsctl.store.paths import Paths
from vcsctl.store.running import RunningReader
from vcsctl.store.state import StateReader

NOBODY_WAITS = "vcsctl lock ended before its command began"


def in_the_way(
    paths: Paths,
    index: RunningReader,
    reader: StateReader,
    key: str,
    groups: tuple[str, ...],
    groups_of: Callable[[str], tuple[str, ...]],
) -> Blocked | None:
    """A live run that counts as holding one of the groups: its service is in it by now, by what `groups_of` tells."""
    for stored in index.read().values():
        claim = stored.value
        if claim.key == key:
            continue
        shared = set(groups) & {*claim.groups, *groups_of(claim.service)}
        if shared and _counts(paths, reader, claim):
            return waits_for_group(min(shared), Holder(claim.run_id, claim.node))
    return None


def _counts(paths: Paths, reader: StateReader, claim: Claim) -> bool:
    """Whether what is in the index holds its groups: not when it has its outcome, nor when it never began and
    nobody is about to start it. Two such claims whose services a push put together would wait for each other for
    ever; whoever starts one looks around when it has the locks."""
    if running.is_over(paths, claim.key, claim.fence):
        return False
    if is_lock(claim.key):
        return is_held(paths, claim.key)  # nobody starts it again, and no vcsd has to end what it left
    found = reader.read(claim.key)
    waits = found.run is not None and found.run.value.fence == claim.fence and not found.began
    return not waits or is_held(paths, claim.key)


def is_held(paths: Paths, key: str) -> bool:
    """Whether somebody holds a KEY's lock at this moment."""
    lock = locks.try_lock(paths.key_lock(key))
    if lock is None:
        return True
    lock.close()
    return False


def drop_dead_waiters(paths: Paths, waiting: Iterable[str]) -> None:
    """Removes what `vcsctl lock`s left in the queue that were killed: who waits there holds its KEY's lock."""
    for key in filter(is_lock, waiting):
        lock = locks.try_lock(paths.key_lock(key))
        if lock is not None:
            try:
                queue.leave_all(paths, key)
            finally:
                lock.close()
