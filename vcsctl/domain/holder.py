"""Who holds a group, and the one sentence that says so, in the log, in `status` and in `why`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a group: a live run, or a KEY that starts in this very pass."""

    who: str
    node: str = ""

    def __str__(self) -> str:
        return f"{self.who} on {self.node}" if self.node else self.who


def waits_for_group(group: str, holder: Holder) -> str:
    return f"waits for group {group}, held by {holder}"
