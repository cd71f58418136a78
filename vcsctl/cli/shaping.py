"""Writes `shapes.py`: what completion must know of every command, so that it need not load one.

`make completion` runs it; a test compares the file with the commands themselves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import click

from vcsctl.cli.commands import COMMANDS
from vcsctl.cli.tree import tree
from vcsctl.domain.run import Outcome, Trigger
from vcsctl.domain.values import WEEKDAYS

# What a parameter stands for, by its name in Python or as the help shows it.
_KINDS = {
    "service": {"name", "names", "service", "services", "what", "patterns"},
    "group": {"group", "groups"},
    "node": {"node", "nodes"},
    "run": {"run_id", "run"},
    "key": {"assignments"},
    "duration": {"given"},
    "command": {"command"},
    "file": {"path", "paths", "file", "html"},
    "folder": {"root", "dir"},
}
# Those that take several of these, with commas between.
_WORDS = {"outcome": get_args(Outcome), "trigger": get_args(Trigger), "days": (*WEEKDAYS, "last")}
_HEAD = '''"""What completion knows of every command without loading it. Written by `make completion`; data only."""

# fmt: off
# ruff: noqa: E501
from __future__ import annotations

# declarations, kind of value (or the choices; with commas: of a list), how many (0: a flag), may be repeated, help
Parameter = tuple[tuple[str, ...], "str | tuple[str, ...]", int, bool, str]
# first line of the help, parameters; a subcommand under the names of all that lead to it
SHAPES: dict[str, tuple[str, tuple[Parameter, ...]]] = {
'''


def main() -> None:
    Path(__file__).with_name("shapes.py").write_text(written())


def written() -> str:
    """The text of the file for the commands as they are."""
    rows = []
    for found in tree():
        if found.name:
            text = COMMANDS[found.name][1] if found.name in COMMANDS else found.command.get_short_help_str(200)
            rows += [f"    {found.name!r}: ({text!r}, ("]
            rows += [f"        {_parameter(one)!r}," for one in found.parameters]
            rows += ["    )),"]
    return _HEAD + "\n".join(rows) + "\n}\n"


def _parameter(one: click.Parameter) -> tuple[object, ...]:
    name = one.name or ""
    if isinstance(one, click.Option):
        # Of --yes/--no the two are one declaration; the name is there for who asks for the value.
        longs = ["/".join(pair) for pair in zip(one.opts, one.secondary_opts, strict=False)] or list(one.opts)
        count = 0 if one.is_flag or one.count else one.nargs
        return (*((*longs, name),), _kind(one), count, one.multiple, one.help or "")
    return ((name,), _kind(one), one.nargs, False, "")


def _kind(one: click.Parameter) -> str | tuple[str, ...]:
    if isinstance(one.type, click.Choice):
        return tuple(map(str, one.type.choices))
    if isinstance(one.type, click.Path | click.File):
        return "folder" if isinstance(one.type, click.Path) and not one.type.file_okay else "file"
    if one.name in _WORDS:
        return ",".join(_WORDS[one.name])
    names = {one.name or "", (one.metavar or "").strip(".").lower()}
    if "--as" in one.opts or "paths" in names:
        names.discard("name")
    return next((kind for kind, known in _KINDS.items() if names & known), "")


if __name__ == "__main__":
    os.umask(0o022)
    main()
