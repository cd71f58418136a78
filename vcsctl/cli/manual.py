"""The man pages, from the same text as --help, and the scripts for shells, as files to be installed.

`make man` writes them, and so does the building of a wheel.

click-man was looked at: it lists the commands a group was given, and ours are found by name; it leaves backslashes,
leading dots and the lines of examples to chance; and it makes a page of each command where one is easier to search.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from vcsctl import __version__
from vcsctl.cli.completion import script
from vcsctl.cli.helps import by_section, examples
from vcsctl.cli.tree import Found, tree
from vcsctl.errors import (
    CANNOT_START,
    EXPIRED,
    FAILED,
    LOST,
    NOT_RUNNING,
    OK,
    REFUSED,
    SKIPPED,
    TIMED_OUT,
    TRY_AGAIN,
    UNKNOWN_UNIT,
    USAGE,
)

_EXIT_CODES = (
    (OK, "ok"),
    (FAILED, "failed"),
    (USAGE, "bad usage or invalid file"),
    (NOT_RUNNING, "not running"),
    (UNKNOWN_UNIT, "unknown service or node"),
    (REFUSED, "refused"),
    (TRY_AGAIN, "the storage cannot be used now: try again"),
    (EXPIRED, "run --wait: it could not start in time"),
    (SKIPPED, "run --wait: cancelled, or taken out of the queue otherwise"),
    (LOST, "run --wait: nobody knows how it ended"),
    (TIMED_OUT, "run --wait: its timeout ended it"),
    (CANNOT_START, "run --wait: it could not be executed"),
)
_ENVIRONMENT = (
    ("VCS_ROOT", "Moves every path under this directory, as --root does."),
    ("NO_COLOR", "No colours on a terminal either."),
    ("VCS_DEBUG", "A fault of vcsctl itself is shown with its traceback."),
)
_FILES = (
    ("/etc/vcs/vcs.yaml", "What this node is called, where the shared directory and the logs are."),
    ("/etc/vcs/services.d", "The site's units; NAME.yaml.d holds drop-ins."),
    ("PREFIX/share/vcs/units", "The units that come with vcsctl."),
    ("/var/lib/vcs/shared", "The shared directory, unless vcs.yaml names another."),
    ("/var/log/vcs", "What runs printed, unless vcs.yaml names another."),
)


def pages() -> dict[str, str]:
    """File name → content: the man pages, and the scripts for the shells where each looks for them."""
    from vcsctl.vcsd.main import parser

    return {
        "vcsctl.1": "".join(f"{line}\n" for line in _vcsctl()),
        "vcsd.8": "".join(f"{line}\n" for line in _vcsd(parser())),
        "vcsctl": script("bash"),
        "_vcsctl": script("zsh"),
        "vcsctl.fish": script("fish"),
    }


def _vcsctl() -> Iterator[str]:
    whole, *commands = tree()
    yield from _top("vcsctl", 1, "see and steer the services of a cell")
    yield from (".B vcsctl", _roff("[OPTIONS] COMMAND [ARGS]..."))
    yield from (".SH DESCRIPTION", *_text(whole.command.help or ""))
    yield from _options(whole, ".SH OPTIONS")
    yield ".SH COMMANDS"
    for title, names in by_section(dict.fromkeys(found.name.partition(" ")[0] for found in commands)):
        yield f".SS {_roff(title)}"
        these = [found for name in names for found in commands if found.name.partition(" ")[0] == name]
        for number, found in enumerate(these):
            yield from ([".PP"] if number else [])
            yield from _command(found)
    yield from _table(".SH EXIT STATUS", [(str(code), text) for code, text in _EXIT_CODES])
    yield from _table(".SH ENVIRONMENT", _ENVIRONMENT)
    yield from _table(".SH FILES", _FILES)
    yield from (".SH SEE ALSO", ".BR vcsd (8)")


def _command(found: Found) -> Iterator[str]:
    usage = " ".join(found.command.collect_usage_pieces(found.context))
    yield from (rf"\fBvcsctl {_roff(found.name)}\fR {_roff(usage)}", ".RS", *_text(found.command.help or ""))
    yield from (*_options(found), ".RE")


def _options(found: Found, title: str = "") -> Iterator[str]:
    options = [one for one in found.parameters if isinstance(one, click.Option)]
    records = [one.get_help_record(found.context) for one in options]
    yield from _table(title, [record for record in records if record])


def _vcsd(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _top("vcsd", 8, "runs the services of this node")
    yield from (".B vcsd", _roff(" ".join(parser.format_usage().split()[2:])))
    yield from (".SH DESCRIPTION", *_text(parser.description or ""), *_text(parser.epilog or ""))
    options = [one for one in parser._actions if one.option_strings]
    yield from _table(
        ".SH OPTIONS",
        [
            (", ".join(one.option_strings) + (f" {one.metavar}" if one.metavar else ""), one.help or "")
            for one in options
        ],
    )
    yield from _table(".SH FILES", _FILES)
    yield from (".SH SEE ALSO", ".BR vcsctl (1)")


def _top(name: str, section: int, what: str) -> Iterator[str]:
    made_at = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    yield f'.TH {name.upper()} {section} {time.strftime("%Y-%m-%d", made_at)} "vcsctl {__version__}" "vcsctl"'
    yield from (".SH NAME", rf"{name} \- {_roff(what)}", ".SH SYNOPSIS")


def _text(text: str) -> Iterator[str]:
    for number, part in enumerate(inspect.cleandoc(text).replace("\b\n", "").split("\n\n")):
        if lines := examples(part):
            yield from (".PP", "For example:" if len(lines) == 1 else "Examples:", ".PP", ".nf")
            yield from (".RS 4", *(_roff(line) for line in lines), ".RE", ".fi")
        else:
            yield from ([".PP"] if number else [])
            yield _roff(" ".join(part.split()))


def _table(title: str, rows: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield from [title] if title and rows else []
    for head, text in rows:
        yield from (".TP", rf"\fB{_roff(head)}\fR", _roff(text))


def _roff(text: str) -> str:
    """A text in which nothing is a command of roff: no backslash, no dot or quote at a line's beginning."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha")
    return re.sub(r"^([.'])", r"\\&\1", text.replace("`", r"\(ga"), flags=re.MULTILINE)


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
