"""Who is in the way of a start, and the one sentence that says so, in the log, in `status` and in `why`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vcsctl.domain.run import to_text


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a group: a live run, or a KEY that starts in this very pass."""

    who: str
    node: str = ""

    def __str__(self) -> str:
        return f"{self.who} on {self.node}" if self.node else self.who

    @classmethod
    def from_text(cls, text: str) -> Holder:
        """As a lock file says it."""
        who, _, node = text.partition(" on ")
        return cls(who or "an unknown holder", node)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why something cannot start now; `run` is the run in its way, where one is. `passing` as in a decision to wait."""

    why: str
    run: str = ""
    passing: bool = False

    def __str__(self) -> str:
        return self.why


def waits_for_group(group: str, holder: Holder) -> Blocked:
    return Blocked(f"waits for group {group}, held by {holder}", holder.who)


def reserver(key: str, place: datetime) -> Holder:
    """For whom groups are kept: what has waited for long."""
    return Holder(f"{key}, in the queue since {to_text(place)}")


def waits_for_reserved(group: str, by: Holder) -> Blocked:
    return Blocked(f"waits for group {group}, reserved for {by}")
