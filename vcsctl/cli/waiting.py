"""What commands that wait have in common: how often they look, what Ctrl-C says, what is told meanwhile."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

import click

from vcsctl.cli.tables import printable, readable

LOOK_S = 0.1
# What is waited for, as a sentence, and what of it changes by itself, as its age does.
Sentence = tuple[str, str]
_LASTING = re.compile(r" for (\d+ s|\d+[mhd]\d\d[smh])\b")  # as a node has been silent, within a sentence


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


class Progress:
    """What is waited for, on standard error: on a terminal one line that is drawn anew in its place, else a line for
    each sentence that was not true before."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._told: list[str] = []
        self._drawn = ""

    def show(self, sentences: Sequence[Sentence]) -> None:
        sentences = [(printable(readable(text)), passing) for text, passing in sentences]
        if self._is_live:
            self._draw(sentences)
            return
        for text, _ in sentences:
            if _LASTING.sub("", text) not in self._told:
                tell(text)
        self._told = [_LASTING.sub("", text) for text, _ in sentences]

    def _draw(self, sentences: Sequence[Sentence]) -> None:
        line = ""
        if sentences:
            text, passing = sentences[0]
            passing += f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
            room = _columns() - 1 - len(passing)  # in the last column the cursor may go to the next line
            line = (text if len(text) <= room else f"{text[: max(0, room - 1)]}…") + passing
        if line != self._drawn:
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
            self._drawn = line

    def clear(self) -> None:
        """Before something else is written."""
        if self._is_live:
            self._draw(())

    def interrupt(self) -> None:
        """The same after Ctrl-C, which a terminal shows as ^C where the cursor is."""
        if self._is_live:
            sys.stderr.write("\r\x1b[K" if self._drawn else "\n")
            self._drawn = ""


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80
