"""What two nodes prove to each other about the directory they share. Both sides run the same trials in the same order.

Each trial ends with both sides knowing the same facts, so that both come to the same verdict by themselves. Where
one side may do something, the other one waits for its word: nothing here relies on a clock that both would share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from vcsctl.errors import StorageError
from vcsctl.runners.orphan import hold_in_orphan, wait_for_lock
from vcsctl.store import files, locks
from vcsctl.store.exchange import Exchange, PartnerGoneError, Role
from vcsctl.store.paths import session_trial
from vcsctl.store.selftest import RELEASE_PATIENCE_S

NAMES = 200  # that both sides want at once
REPLACED = 25  # times that each side replaces its file
_ROUNDS = 10  # both begin each at the same moment, as far as they can
_SLOW_S = 1.0
_REMEDY = "vcsctl doctor on each node says what is wrong with its mount; NFS 4.1 or later is the sure choice"
Facts = dict[str, Any]
Result = tuple[Literal["ok", "warning", "failed"], str]


class TrialFaultError(Exception):
    """The storage failed on one of the two sides: the trial says nothing, the next one may."""


@dataclass(frozen=True, slots=True)
class Pair:
    """This side of a session; `names` are what the two sides are called in sentences."""

    exchange: Exchange
    names: dict[Role, str]

    @property
    def role(self) -> Role:
        return self.exchange.role

    def path(self, name: str) -> str:
        return session_trial(self.exchange.folder, name)

    def meet(self, facts: Facts | None = None, pause_s: float = 0.01) -> Facts:
        other = self.exchange.meet(facts or {}, pause_s)
        if "fault" in other:
            raise TrialFaultError(f"{self.names[_other(self.role)]}: {other['fault']}")
        return other

    def agree(self, facts: Facts) -> dict[Role, Facts]:
        """Both sides' facts, by role."""
        other = self.meet(facts)
        return {"server": facts, "peer": other} if self.role == "server" else {"server": other, "peer": facts}


def run_trial(trial: Callable[[Pair], Result], pair: Pair) -> Result:
    """A fault of the storage on this side is told to the other one at the meeting that it waits for."""
    try:
        return trial(pair)
    except TrialFaultError as fault:
        return "failed", str(fault)
    except PartnerGoneError:
        raise
    except StorageError as error:
        pair.exchange.meet({"fault": str(error)})
        return "failed", f"{pair.names[pair.role]}: {error}"


def lock_of(holder: Role) -> Callable[[Pair], Result]:
    """A lock that one side holds is refused to the other, and free once it is let go."""
    return lambda pair: _held_lock(pair, holder, f"lock-of-{holder}", _hold, "let it go")


def orphan_of(holder: Role) -> Callable[[Pair], Result]:
    """The same when only a child of the process that took it holds it, until that is killed."""
    return lambda pair: _held_lock(pair, holder, f"orphan-of-{holder}", _hold_in_orphan, "died by SIGKILL")


def _hold(path: str) -> Callable[[], None] | None:
    lock = locks.try_lock(path)
    return (lambda: os.close(lock.descriptor)) if lock else None


def _hold_in_orphan(path: str) -> Callable[[], None]:
    orphan = hold_in_orphan(path)

    def kill() -> None:
        try:
            orphan.kill()
        finally:
            orphan.close()

    return kill


def _held_lock(
    pair: Pair, holder: Role, name: str, hold: Callable[[str], Callable[[], None] | None], ending: str
) -> Result:
    path, other = pair.path(name), _other(holder)
    held, wanted = pair.names[holder], pair.names[other]
    if pair.role == holder:
        let_go = hold(path)
        try:
            taken = pair.agree({"taken": let_go is not None})
            tried = pair.agree({})
        finally:
            if let_go is not None:
                let_go()
        pair.meet()
        freed = pair.agree({})
    else:
        taken = pair.agree({})
        stolen = locks.try_lock(path)
        if stolen is not None:
            os.close(stolen.descriptor)
        tried = pair.agree({"refused": stolen is None})
        pair.meet()
        freed = pair.agree({"free_after_s": wait_for_lock(path, RELEASE_PATIENCE_S)})
    if not taken[holder]["taken"]:
        return "failed", f"{held} cannot take a lock that nobody holds; {_REMEDY}"
    if not tried[other]["refused"]:
        return "failed", f"{wanted} took the lock while {held} held it: locks do not hold between the two; {_REMEDY}"
    free_after_s = freed[other]["free_after_s"]
    if free_after_s is None:
        stayed = f"still refused to {wanted} {RELEASE_PATIENCE_S:g} s after its holder on {held} {ending}"
        return "failed", f"{stayed}; {_REMEDY}"
    return "ok", f"refused to {wanted}, free to it {_ms(free_after_s)} after its holder on {held} {ending}"


def create(pair: Pair) -> Result:
    """Exclusive create has one winner for each of many names that both want at once."""
    return _race(pair, "create", lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)))


def link(pair: Pair) -> Result:
    draft = pair.path(f"draft-{pair.role}")
    files.replace(draft, b"draft")
    return _race(pair, "link", lambda path: os.link(draft, path))


def _race(pair: Pair, name: str, make: Callable[[str], None]) -> Result:
    won = []
    for first in range(0, NAMES, NAMES // _ROUNDS):
        pair.meet(pause_s=0)
        numbers = range(first, first + NAMES // _ROUNDS)
        won += [number for number in numbers if _wins(make, pair.path(f"{name}-{number}"))]
    found = pair.agree({"won": won})
    server, peer = set(found["server"]["won"]), set(found["peer"]["won"])
    if twice := server & peer:
        return "failed", f"{len(twice)} of {NAMES} names had two winners; {_REMEDY}"
    if none := NAMES - len(server | peer):
        return "failed", f"{none} of {NAMES} names had no winner although they were new; {_REMEDY}"
    names = pair.names
    return "ok", f"one winner for each of {NAMES} names: {names['server']} {len(server)}, {names['peer']} {len(peer)}"


def _wins(make: Callable[[str], None], path: str) -> bool:
    with files.named_faults("write", path):
        try:
            make(path)
        except FileExistsError:
            return False
    return True


def visibility(pair: Pair) -> Result:
    """How long a new file takes to be seen: half of what it takes to be answered by another one."""
    took_s = []
    try:
        for _ in range(_ROUNDS):
            if pair.role == "server":
                began_s = time.monotonic()
                pair.exchange.send({})
                pair.exchange.receive(pause_s=0)
                took_s.append((time.monotonic() - began_s) / 2)
            else:
                pair.exchange.receive(pause_s=0)
                pair.exchange.send({})
    except StorageError as error:  # half a message exchanged: the two are out of step
        raise PartnerGoneError(str(error)) from error
    seen = pair.agree({"took_s": took_s})["server"]["took_s"]
    text = f"a new file is seen on the other side after {_ms(median(seen))}, at most {_ms(max(seen))}"
    if median(seen) > _SLOW_S:
        return "warning", f"{text}: what one node writes, the others will know as late"
    return "ok", text


def replaced_files(pair: Pair) -> Result:
    """A file that is replaced by rename is whole to the other side at each look: the old content or the new."""
    own, others = pair.path(f"replaced-by-{pair.role}"), pair.path(f"replaced-by-{_other(pair.role)}")
    files.replace(own, _content(0))
    pair.meet()
    looks, took_s = Looks(), []
    for number in range(1, REPLACED + 1):
        began_s = time.monotonic()
        if pair.role == "server":
            files.replace(own, _content(number))
        if not looks.see(others, number):
            break  # the other side, which waits for our answer, gives up as well
        if pair.role == "peer":
            files.replace(own, _content(number))
        took_s.append((time.monotonic() - began_s) / 2)
    facts = pair.agree({"torn": looks.torn, "missing": looks.missing, "late": looks.late, "took_s": took_s})
    for role in ("peer", "server"):
        reader, writer, seen = pair.names[role], pair.names[_other(role)], facts[role]
        if seen["torn"]:
            what = f"neither the old nor the new content of a file that {writer} replaced, {seen['torn']} times"
            return "failed", f"{reader} read {what}; {_REMEDY}"
        if seen["missing"]:
            return "failed", f"{reader} did not find a file that {writer} replaced, {seen['missing']} times; {_REMEDY}"
        if seen["late"]:
            still = f"{reader} still read the old content {RELEASE_PATIENCE_S:g} s after {writer} had replaced it"
            return "failed", f"{still}; {_REMEDY}"
    took_s = facts["server"]["took_s"]
    text = f"each of {2 * REPLACED} renames shows the old content or the new, whole; seen after {_ms(median(took_s))}"
    text += f", at most {_ms(max(took_s))}"
    return ("warning" if median(took_s) > _SLOW_S else "ok"), text


@dataclass(slots=True)
class Looks:
    """What one side saw of the other's file while it was being replaced."""

    torn: int = 0
    missing: int = 0
    late: bool = False

    def see(self, path: str, number: int) -> bool:
        """Looks without a pause until that content is there; False when it does not come."""
        old, new = _content(number - 1), _content(number)
        give_up_s = time.monotonic() + RELEASE_PATIENCE_S
        while not self.late:
            found = files.read(path)
            if found is not None and found[0] == new:
                return True
            self.missing += found is None
            self.torn += found is not None and found[0] != old
            self.late = time.monotonic() > give_up_s
        return False


def _content(number: int) -> bytes:
    """Of more than one page, and longer or shorter than the one before: half of each would show."""
    return f"{number:07}\n".encode() * (2000 + number % 2 * 1000)


def hand_over(pair: Pair) -> Result:
    """How long a lock takes from one side to the other: there and back, halved."""
    own, others = pair.path(f"hand-of-{pair.role}"), pair.path(f"hand-of-{_other(pair.role)}")
    took_s: list[float] = []
    for _ in range(_ROUNDS):
        lock = locks.try_lock(own)
        other = pair.meet({"taken": lock is not None}, pause_s=0)
        began_s = time.monotonic()
        if pair.role == "server" and lock is not None:
            os.close(lock.descriptor)
        got_s = wait_for_lock(others, RELEASE_PATIENCE_S)
        if pair.role == "peer" and lock is not None:
            os.close(lock.descriptor)
        if pair.role == "server" and lock is not None and other["taken"] and got_s is not None:
            took_s.append((time.monotonic() - began_s) / 2)
        pair.meet()
    seen = pair.agree({"took_s": took_s})["server"]["took_s"]
    if missing := _ROUNDS - len(seen):
        return "failed", f"{missing} of {_ROUNDS} times a lock was not handed over within {RELEASE_PATIENCE_S:g} s"
    return "ok", f"a lock goes from one side to the other in {_ms(median(seen))}, at most {_ms(max(seen))}"


def _other(role: Role) -> Role:
    return "peer" if role == "server" else "server"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


TRIALS: dict[str, Callable[[Pair], Result]] = {
    "lock of the serving side": lock_of("server"),
    "lock of the peer": lock_of("peer"),
    "child's lock, serving side": orphan_of("server"),
    "child's lock, peer": orphan_of("peer"),
    "exclusive create": create,
    "link once": link,
    "new files": visibility,
    "replaced files": replaced_files,
    "hand-over": hand_over,
}
