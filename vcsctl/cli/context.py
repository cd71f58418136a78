"""What every command needs: where things lie, the cell, the published units. Renders nothing."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from vcsctl.cli import relay
from vcsctl.cli.catalogs import Catalogs
from vcsctl.cli.cell_nodes import CellNode, read_nodes, unknown_node
from vcsctl.cli.hints import is_glob, likely
from vcsctl.config import Config, load_config
from vcsctl.domain.run import to_text
from vcsctl.errors import FAILED, TRY_AGAIN, RefusedError, StorageError, UnknownUnitError, UsageError
from vcsctl.places import Places, places
from vcsctl.store.cell import Cell, open_cell, read_cell
from vcsctl.store.nodes import NodeUnits
from vcsctl.store.paths import Paths
from vcsctl.store.records import append_line

if TYPE_CHECKING:
    from vcsctl.domain.unit import Unit

READ_PATIENCE_S = 4.0  # the answer is to be there within 5 s of Enter, and an interpreter has to start
_ANSWERED_EVERY_S = 0.1
JSON_VERSION = 1
_INDENTED = 1000


class Context:
    def __init__(self, root: str | None) -> None:
        self.root = root

    @cached_property
    def where(self) -> Places:
        where = places(self.root)
        if where.root and not os.path.isdir(where.root):
            raise UsageError(f"{where.root} is no directory; --root and VCS_ROOT name one that vcsd was started with")
        return where

    @cached_property
    def config(self) -> Config:
        return load_config(self.where)

    @cached_property
    def paths(self) -> Paths:
        paths, expected = Paths(self.config.shared_dir), self.config.cell
        if expected and read_cell(paths) is None:
            raise StorageError(f"{paths.root} does not hold cell {expected}; mount the shared directory")
        self.refuse_another(open_cell(paths))
        return paths

    def of_this_machine(self) -> Context | None:
        """The same for this machine's own cell, which needs no shared directory; None where there is none."""
        paths = Paths(self.where.local_cell)
        if read_cell(paths) is None:  # no daemon ever ran here without the shared directory
            return None
        own = Context(self.root)
        own.paths = paths
        return own

    def refuse_another(self, cell: Cell) -> None:
        if self.config.cell not in (None, cell.id):
            where, expected = self.config.shared_dir, self.config.cell
            raise RefusedError(f"{where} is cell {cell.id}, vcs.yaml expects {expected}; mount the right one")

    @cached_property
    def nodes(self) -> dict[str, CellNode]:
        return read_nodes(self.paths, self.config.node)

    @cached_property
    def catalogs(self) -> Catalogs:
        return Catalogs(self.paths, self.nodes, self.config.node)

    @property
    def published(self) -> NodeUnits:
        """The units of the cell, as its nodes published them: every command works on a machine without vcsd too."""
        return self.catalogs.published

    def node(self, name: str) -> CellNode:
        if name not in self.nodes:
            raise unknown_node(name, self.nodes)
        return self.nodes[name]

    def row(self, name: str) -> dict[str, Any]:
        if name not in self.published.units:
            if is_glob(name):
                hint = f"`vcsctl status '{name}'` lists those that match"
                raise UnknownUnitError(f"{name} is no name of a service, and patterns are for `status`; {hint}")
            hint = likely(name, self.published.units, "`vcsctl status` lists them all")
            raise UnknownUnitError(f"unknown service {name}; {hint}")
        return self.published.units[name]

    def unit(self, name: str) -> Unit:
        """The declaration. Raises RefusedError where there is none to go by."""
        row = self.row(name)
        if row["masked"]:
            raise RefusedError(f"{name} is masked; `vcsctl cat {name}` names the empty file that masks it")
        if row["plain"] is None:
            raise RefusedError(f"the unit file of {name} is broken; `vcsctl status {name}` says where")
        from vcsctl.domain.unit import from_plain  # here, since `status` of 10,000 services needs no unit

        return from_plain(row["plain"])

    @cached_property
    def user(self) -> str:
        import getpass  # here, since only who changes something is named

        login = os.environ.get("SUDO_USER") or getpass.getuser()
        return login if login.isprintable() else str(os.getuid())

    def audit(self, **what: Any) -> None:
        """Puts on record who changed what."""
        line = {"at": to_text(datetime.now(UTC)), "by": self.user, **what}
        append_line(self.paths.audit(self.config.node), json.dumps(line).encode() + b"\n")


def _one_line(_ctx: click.Context, _option: click.Parameter, text: str) -> str:
    if not text.isprintable():  # it is shown in tables, and on other people's terminals
        raise UsageError("--reason must be one line of printable characters")
    return text


output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer."
)
reason_option = click.option("--reason", default="", callback=_one_line, help="Why; it is recorded.")


_answers: int | None = None  # where a child says that it was answered
_answered_s = 0.0
_shown_at_once = True  # False: the answer is over soon, and nobody reads it line by line


def show(text: str) -> None:
    if _shown_at_once:
        click.echo(text)
    else:
        sys.stdout.write(f"{text}\n")  # 10,000 rows, each written by itself, take as long as making them


def tell_of_nothing(text: str) -> None:
    """To who looks at it an empty table is no answer; who reads it by a program wants no more than that."""
    if sys.stdout.isatty():
        click.echo(text, err=True)


def show_json(kind: str, content: Any, **beside: Any) -> None:
    # Indented for who looks at it; of thousands that would take longer than to find them.
    indent = 2 if len(content) < _INDENTED else None
    click.echo(json.dumps({"version": JSON_VERSION, kind: content, **beside}, indent=indent))


def in_time(
    read: Callable[[], Callable[[], None] | None], otherwise: Callable[[], None] = lambda: None, storage: str = ""
) -> None:
    """Runs a reading command's work in a child, given up when it has no answer in time (`answered`): a hung mount hangs
    whoever touches it.

    What `read` returns is done after that, and may take its time: it touches the shared directory no more.
    `otherwise` is what can be said without the shared directory, when that cannot be used. `storage`: what is read, if
    not the shared directory.
    """
    child = relay.fork()
    if isinstance(child, int):
        global _shown_at_once, _answers
        _answers = child
        _shown_at_once = sys.stdout.isatty()
        gc.disable()  # it reads, prints and ends: 10,000 rows are looked through a dozen times for nothing
        afterwards = read()
        gc.enable()
        _answers = None
        os.close(child)
        if afterwards is not None:
            afterwards()
        return
    code = child.until_over(READ_PATIENCE_S)
    if code is None:
        storage = storage or f"the shared directory{_its_path()}"
        text = f"vcsctl: {storage} did not answer within {READ_PATIENCE_S:g} s; see to its mount"
        click.echo(text, err=True)
        code = TRY_AGAIN
    if code < 0:
        read_of = storage or "the shared directory"
        text = f"vcsctl: what read {read_of} was ended by {signal.Signals(-code).name}; try again"
        click.echo(text, err=True)
        code = FAILED
    if code == TRY_AGAIN:
        otherwise()
        sys.stdout.flush()
    os._exit(code)


def answered() -> None:
    """What is read has answered once more: who reads ten thousand files one by one is not hanging."""
    global _answered_s
    if _answers is not None and time.monotonic() - _answered_s > _ANSWERED_EVERY_S:
        _answered_s = time.monotonic()
        os.write(_answers, b".")


def _its_path() -> str:
    current = click.get_current_context(silent=True)
    context = current.find_object(Context) if current else None
    return f" {context.config.shared_dir}" if context else ""
