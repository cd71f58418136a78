"""How far something long is, in one line that comes after a second and is gone at the end. On a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from vcsctl.cli.context import answered

T = TypeVar("T")

_SHOWN_AFTER_S = 1.0
_EVERY_S = 0.2


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Gives what is to be told the part that is done, from 0 to 1, as often as one likes. Standard output is free."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    next_at, width = time.monotonic() + _SHOWN_AFTER_S, 0

    def tell(done: float) -> None:
        nonlocal next_at, width
        if time.monotonic() >= next_at:
            next_at = time.monotonic() + _EVERY_S
            line = f"{what}: {min(done, 1.0):.0%}"
            width = max(width, len(line))
            click.echo(f"\r{line.ljust(width)}", nl=False, err=True)

    try:
        yield tell
    finally:
        if width:
            click.echo(f"\r{' ' * width}\r", nl=False, err=True)


def along(things: Iterable[T], what: str, count: int) -> Iterator[T]:
    """Goes through `things`, for each of which the shared directory is asked: how far it is, and that it answers."""
    with progress(what) as tell:
        for number, thing in enumerate(things):
            answered()
            tell(number / count)
            yield thing
