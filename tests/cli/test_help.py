"""What --help, the man pages and the examples in them say is so, of every command there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.terminals import Terminal, assert_screen
from vcsctl import errors
from vcsctl.cli.commands import COMMANDS, vcsctl
from vcsctl.cli.helps import SECTIONS, by_section, examples
from vcsctl.cli.manual import pages
from vcsctl.cli.tree import Found, tree

FOUND = list(tree())
PAGES = pages()
every_command = pytest.mark.parametrize("found", FOUND, ids=lambda found: found.name or "vcsctl")


def parsed(line: str) -> click.Context:
    """The context of the command that a line would run; raises where it could not be run."""
    ours = re.search(r"vcsctl [^|()<>]*", line)
    assert ours, f"no vcsctl in {line!r}"
    context = vcsctl.make_context("vcsctl", shlex.split(ours[0], comments=True)[1:])
    while isinstance(context.command, click.Group) and (left := [*context._protected_args, *context.args]):
        name, command, rest = context.command.resolve_command(context, left)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


@every_command
def test_help_begins_with_a_sentence_and_an_example(found: Found) -> None:
    first, second, *_ = [*(found.command.help or "").split("\n\n"), ""]
    assert re.fullmatch(r"[A-Z][^\n]*(\n[^\n]+)*\.", first), first
    assert second.startswith(("\b\nExample:\n", "\b\nExamples:\n")), second


@every_command
def test_each_example_is_one_of_that_command_and_can_be_read(found: Found) -> None:
    for line in examples(found.command.help or ""):
        context = parsed(line)
        assert not found.name or f"{context.command_path} ".startswith(f"vcsctl {found.name} ")


@every_command
def test_help_fits_80_columns(found: Found) -> None:
    text = found.command.get_help(
        click.Context(found.command, found.context.parent, found.context.info_name, terminal_width=80)
    )
    assert max(map(len, text.splitlines())) <= 80


def test_every_command_has_its_place_in_the_help() -> None:
    assert sorted(name for _, names in by_section(COMMANDS) for name in names) == sorted(COMMANDS)
    members = [name for names in SECTIONS.values() for name in names]
    assert len(members) == len(set(members))


@pytest.mark.parametrize("command", ["", "run"])
def test_help_on_a_terminal(command: str) -> None:
    line = [sys.executable, "-m", "vcsctl.cli.main", *command.split(), "--help"]
    with Terminal(line, {}, columns=80, rows=60) as terminal:
        assert terminal.end() == 0
        assert_screen(f"help-{command or 'vcsctl'}", terminal.text)


def test_help_as_a_command_shows_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    shown = []
    for line in (["help", "nodes", "forget"], ["nodes", "forget", "--help"]):
        with pytest.raises(SystemExit):
            vcsctl(line, prog_name="vcsctl")
        shown.append(capfd.readouterr().out)
    assert shown[0] == shown[1]


@every_command
def test_the_man_page_has_every_command_with_its_options(found: Found) -> None:
    page = PAGES["vcsctl.1"].replace(r"\-", "-")
    start = page.index(f"\n\\fBvcsctl {found.name}\\fR ") if found.name else 0
    part = page[start : page.index("\n.RE\n.P", start) if "\n.RE\n.P" in page[start:] else None] if found.name else page
    options = [one for one in found.parameters if isinstance(one, click.Option)]
    assert not [name for one in options for name in one.opts if name not in part]


def test_the_man_page_has_every_exit_code() -> None:
    part = PAGES["vcsctl.1"].partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    known = {value for value in vars(errors).values() if isinstance(value, int)}
    assert {int(code) for code in re.findall(r"\\fB(\d+)\\fR", part)} == known


@pytest.mark.parametrize("name", ["vcsctl.1", "vcsd.8"])
def test_the_man_pages_are_read_without_a_warning(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(PAGES[name])
    readers = {"mandoc": ["-T", "lint", "-W", "warning"], "groff": ["-man", "-ww", "-T", "utf8", "-z"]}
    there = {program: options for program, options in readers.items() if shutil.which(program)}
    if not there:
        pytest.skip("neither mandoc nor groff is installed")
    for program, options in there.items():
        done = subprocess.run(
            [program, *options, str(tmp_path / name)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("", ""), program
