"""What commands that wait have in common: how often they look, what Ctrl-C says, what is told meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import click

LOOK_S = 0.1


def on_interrupt(text: Callable[[], str]) -> None:
    """Ctrl-C ends the waiting only, and that is worth a line; who told us to ignore it is obeyed."""

    def tell_and_end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        tell(text())
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, tell_and_end)


def tell(text: str) -> None:
    click.echo(f"vcsctl: {text}", err=True)
