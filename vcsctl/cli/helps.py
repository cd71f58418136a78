"""How help is laid out: a sentence, its examples, then the rest; and `vcsctl --help` by what one wants to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

import click

SECTIONS = {
    "See": ("status", "why", "queue", "logs", "history", "calendar", "timeline", "simulate", "advise"),
    "Act": ("run", "stop", "restart", "reset-failed", "cancel", "lock"),
    "Change": ("enable", "disable", "set", "revert"),
    "Nodes": ("nodes", "drain", "resume", "init"),
    "Unit files": ("reload", "cat", "verify", "schema"),
}
_REST = "More"
_EXAMPLES = ("Example:", "Examples:")


def by_section(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The commands that are there, under the title of their section."""
    left = list(names)
    for title, members in SECTIONS.items():
        if found := [name for name in members if name in left]:
            yield title, found
            left = [name for name in left if name not in members]
    if left:
        yield _REST, left


def arrange(command: click.Command) -> click.Command:
    """Lays out its help, once, and that of its subcommands."""
    if command.help and "\b" not in command.help:
        command.help = _arranged(command.help)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        arrange(below)
    return command


def _arranged(text: str) -> str:
    text = inspect.cleandoc(text)
    first, *others = text.split("\n\n")
    lines = examples(text)
    title = "Example:" if len(lines) == 1 else "Examples:"
    # click leaves a paragraph that begins with \b as it is.
    shown = ["\n".join(("\b", title, *(f"  {line}" for line in lines)))] if lines else []
    return "\n\n".join((first, *shown, *(part for part in others if not part.startswith(_EXAMPLES))))


def examples(text: str) -> list[str]:
    """The lines of its examples."""
    found = [part for part in inspect.cleandoc(text).replace("\b\n", "").split("\n\n") if part.startswith(_EXAMPLES)]
    lines = [line.strip() for part in found for line in part.partition(":")[2].split("\n")]
    return [line for line in lines if line]
