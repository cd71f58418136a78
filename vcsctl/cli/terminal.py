"""What a person's terminal can show: its width, and colours by meaning. Through a pipe: neither."""

from __future__ import annotations

import os
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
