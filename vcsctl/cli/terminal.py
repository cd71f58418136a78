"""What a person's terminal can show: its width, and colours by meaning. Through a pipe: neither."""

from __future__ import annotations

import codecs
import os
import re
import sys

import click

# Meaning → how it looks. The text says the same without it.
_LOOKS = {
    "good": {"fg": "green"},
    "busy": {"fg": "cyan"},
    "waits": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
    "faint": {"dim": True},
    "strong": {"bold": True},
}


def columns() -> int | None:
    """How wide a line may be; None where nobody said, as through a pipe."""
    return size()[0] if sys.stdout.isatty() else None


def size() -> tuple[int, int]:
    """Columns and lines: as the user said, as the terminal says, as terminals have always been."""
    told = []
    for name in ("COLUMNS", "LINES"):
        text = os.environ.get(name, "")
        told.append(int(text) if text.isdecimal() else 0)
    try:
        is_so = os.get_terminal_size(1)
    except OSError:
        is_so = os.terminal_size((0, 0))
    return told[0] or is_so.columns or 80, told[1] or is_so.lines or 24


def paint(meaning: str, text: str) -> str:
    """The text in the look of its meaning, on a terminal whose user did not ask for none (NO_COLOR)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, **_LOOKS[meaning])  # type: ignore[arg-type]


# Meaning → the mark before a line that means it, and what a terminal that knows no such character shows instead.
_MARKS = {"good": "●*", "busy": "▶>", "waits": "◆~", "bad": "×x", "faint": "○-"}


def mark(meaning: str) -> str:
    """A mark and a space on a terminal, nothing through a pipe."""
    if not sys.stdout.isatty():
        return ""
    return f"{_MARKS[meaning][0 if has_signs() else 1]} "


def has_signs() -> bool:
    """Whether what is printed may have more than ASCII, by the locale."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


_BEGUN = re.compile(r"\x1b(?:\[[0-9;:]{0,32})?\Z")  # perhaps a colour, whose rest is to come
_COLOUR_OR_CONTROL = re.compile(r"(\x1b\[[0-9;:]{0,32}m)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Shown:
    """What a job prints, as it is passed on piece by piece: through a pipe byte for byte. A terminal would obey it: of
    control characters it gets those that end lines, set columns or colour, and a ? for each of the others."""

    def __init__(self) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("replace") if sys.stdout.isatty() else None
        self._begun = ""

    def of(self, data: bytes, *, is_last: bool = False) -> bytes:
        """Keeps back what is not whole yet: a character, a colour."""
        if self._decoder is None:
            return data
        text, self._begun = self._begun + self._decoder.decode(data, is_last), ""
        if not is_last and (match := _BEGUN.search(text)):
            text, self._begun = text[: match.start()], match[0]
        return _COLOUR_OR_CONTROL.sub(lambda match: match[1] or "?", text).encode(self._encoding, "replace")
