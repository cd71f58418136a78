"""The names of the protocol's steps, in order. Does nothing: tests replace `observer` to crash after each one."""

from __future__ import annotations

from collections.abc import Callable

CLAIM = (
    "locks taken",
    "claim drafted",
    "claim linked",
    "run indexed",
    "fences raised",
    "not recalled",
    "entries removed",
)
START = ("runner forked", "runner alone", "locks proved", "start recorded", "command started")
OUTCOME = ("command over", "locks proved again", "outcome linked", "index removed")
RELEASE = ("locks freed", "run reaped", "history written", "records pruned")
STEPS = CLAIM + START + OUTCOME + RELEASE

observer: Callable[[str], None] | None = None


def reached(step: str) -> None:
    if observer is not None:
        observer(step)
