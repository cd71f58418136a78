"""Checks done in a child that may be given up: storage that hangs hangs whoever touches it. Judges and prints nothing.

The child tells each finding through a pipe, so what is known is shown at once, and the check that was begun last
is the one that hung.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import click

from vcsctl.runners import linux

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


def watched(steps: Generator[Step, None, None]) -> Iterator[Line]:
    """The findings as they come; the last one is `hung` when the child had to be given up."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work(steps, writer, parent)
    os.close(writer)
    name, told, patience_s, began_s = "the first check", "", _SILENCE_S, time.monotonic()
    for message in _messages(reader):
        took_s = time.monotonic() - began_s
        match message:
            case {"begins": str(name), "patience_s": patience_s}:
                began_s = time.monotonic()
            case {"check": check, "findings": findings, "took_s": took_s}:
                yield from (Line(check, verdict, text, took_s) for verdict, text in findings)
            case None if took_s >= patience_s:
                os.kill(pid, signal.SIGKILL)  # not waited for: a process that hangs in the kernel may stay
                yield Line(name, "hung", "the storage does not answer; see to its mount and its server", took_s)
                return
            case None if told != name:
                click.echo(f"still at: {name}", err=True)
                told = name
    _, status = os.waitpid(pid, 0)
    if (code := os.waitstatus_to_exitcode(status)) != 0:
        raise click.exceptions.Exit(code & 0xFF)  # it has said why


def _messages(reader: int) -> Iterator[dict[str, Any] | None]:
    """What the child says; None for each second without a word."""
    buffer = b""
    with open(reader, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], _SILENCE_S)
            if not ready:
                yield None
                continue
            data = pipe.read(65536)
            if not data:
                return
            *complete, buffer = (buffer + data).split(b"\n")
            yield from map(json.loads, complete)


def _work(steps: Generator[Step, None, None], writer: int, parent: int) -> NoReturn:
    """In the child. A fault of the program itself ends it by the command's usual way, with its sentence.

    Ctrl-C, or whatever else ends the command, ends this child too, after it has removed what it made.
    """
    signal.signal(signal.SIGTERM, _stop)
    for of_the_terminal in (signal.SIGINT, signal.SIGHUP):  # they reach the command too, and its end tells us
        signal.signal(of_the_terminal, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), open(writer, "wb", buffering=0) as pipe:
        linux.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked to be told
            os._exit(0)
        with contextlib.closing(steps):
            for step in steps:
                _send(pipe, {"begins": step.name, "patience_s": step.patience_s})
                began_s = time.monotonic()
                findings = step.work()
                took_s = round(time.monotonic() - began_s, 6)
                _send(pipe, {"check": step.name, "findings": findings, "took_s": took_s})
    os._exit(0)


def _stop(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows is tidying up
    raise KeyboardInterrupt


def _send(pipe: Any, message: dict[str, Any]) -> None:
    pipe.write(json.dumps(message).encode() + b"\n")
