"""The steps of `vcsctl doctor`, done in a child that can be given up. Judges and prints nothing.

The child tells each finding as it comes, so what is known is shown at once, and the step that was begun last is the one
that hung.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import click

from vcsctl.cli.lookout import Lookout, Message

_SILENCE_S = 1.0
Verdict = Literal["ok", "warning", "failed", "skipped", "hung"]
Finding = tuple[Verdict, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One check: what it is called, how long it may take, and the work."""

    name: str
    patience_s: float
    work: Callable[[], list[Finding]]


@dataclass(frozen=True, slots=True)
class Line:
    """One finding of a check. `took_s` is the whole check's."""

    check: str
    verdict: Verdict
    text: str
    took_s: float


def carried_out(steps: Generator[Step, None, None]) -> Iterator[Line]:
    """The findings as they come; the last one is `hung` when the child had to be given up.

    Ctrl-C, or whatever else ends the command, ends the child too, after it has removed what it made.
    """
    name, told, patience_s = "the first check", "", _SILENCE_S
    with Lookout(lambda: _work(steps), dies_by=signal.SIGTERM) as lookout:
        while not lookout.is_over:
            messages = lookout.messages(_SILENCE_S)
            for message in messages:
                match message:
                    case {"begins": str(name), "patience_s": patience_s}:
                        pass
                    case {"check": check, "findings": findings, "took_s": took_s}:
                        yield from (Line(check, verdict, text, took_s) for verdict, text in findings)
            took_s = lookout.silent_s  # it says nothing while it is at one
            if messages or lookout.is_over or took_s < _SILENCE_S:
                continue
            if took_s >= patience_s:
                lookout.give_up()
                yield Line(name, "hung", "the storage does not answer; see to its mount and its server", took_s)
                return
            if told != name:
                click.echo(f"still at: {name}", err=True)
                told = name


def _work(steps: Generator[Step, None, None]) -> Iterator[Message]:
    """In the child."""
    signal.signal(signal.SIGTERM, _stop)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(steps):
        for step in steps:
            yield {"begins": step.name, "patience_s": step.patience_s}
            began_s = time.monotonic()
            findings = step.work()
            took_s = round(time.monotonic() - began_s, 6)
            yield {"check": step.name, "findings": findings, "took_s": took_s}


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is tidying up
    raise KeyboardInterrupt
