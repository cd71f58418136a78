"""status: services as tables, or one of them in all detail; what is wrong comes first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from vcsctl.cli.context import Context, in_time, show, show_json
from vcsctl.cli.lock_view import lock_lines, plain_locks
from vcsctl.cli.overview import Line, Overview
from vcsctl.cli.problems import overrides, problems
from vcsctl.cli.selection import Selection, chosen_names, is_chosen
from vcsctl.cli.status_table import first_lines, summary, table_lines
from vcsctl.cli.terminal import columns
from vcsctl.errors import UsageError

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Instance


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--failed", is_flag=True, help="Those that ended badly or are not well.")
@click.option("--queued", is_flag=True, help="Those that wait.")
@click.option("--running", is_flag=True, help="Those that run.")
@click.option("--group", metavar="GROUP", help="Those in this run group.")
@click.option("--node", metavar="NODE", help="Those that may run on this node; with the above, what is so there.")
@click.option("-w", "--watch", is_flag=True, help="Show it again and again; q or Ctrl-C ends it.")
@click.option("--interval", metavar="TIME", help="How often to look with --watch; default 2s.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json"]), default="table", help="Form of the answer."
)
@click.pass_obj
def status(context: Context, /, watch: bool, interval: str | None, output: str, **wanted: Any) -> None:
    """Show all services, those that are chosen, or all that is known of one.

    Example: vcsctl status 'rates-*' --failed
    """
    selection = Selection(**wanted)
    if interval is not None and not watch:
        raise UsageError("--interval is how often --watch looks; add --watch or leave it out")
    if output == "wide" and selection.only is not None:
        raise UsageError(f"--output wide is for a table; `vcsctl status {selection.only}` shows all of one service")
    if not watch:
        in_time(
            lambda: _status(context, selection, output, frame=False),
            lambda: _of_this_machine(context, selection, output),
        )
        return
    from vcsctl.cli.watch import seconds_between, watch_it  # here, since most calls look once

    if output == "json":
        raise UsageError("--watch is for people; leave out --output json, or ask again and again")
    every_s = seconds_between("2s" if interval is None else interval)
    watch_it("vcsctl status", lambda: _status(context, selection, output, frame=True), every_s)


def _status(context: Context, selection: Selection, output: str, *, frame: bool) -> None:
    """`frame`: one of many, of which only the first lines may fit the screen."""
    overview = Overview(context)
    lines = [overview.line(name, context.row(name)) for name in chosen_names(selection, overview)]
    daemons = {line.name: overview.daemons.of(line) for line in lines if line.kind == "daemon"}
    if selection.is_filter:
        lines = [line for line in lines if is_chosen(selection, overview, line, daemons.get(line.name, ()))]
        daemons = {line.name: daemons[line.name] for line in lines if line.name in daemons}
    names = {line.name for line in lines} if selection.names or selection.is_filter else None
    wrong = problems(overview, names, daemons, lines, in_detail=selection.only is not None)
    if output == "json":
        _show_json(overview, lines, daemons, wrong, selection)
        return
    if selection.only:
        from vcsctl.cli.status_detail import detail_lines  # here, since what it loads would delay the tables

        for text in (*first_lines(wrong, ()), *detail_lines(overview, lines[0], daemons.get(lines[0].name, ()))):
            show(text)
        return
    total = list(summary(lines, daemons, len(wrong))) if columns() is not None else []
    texts = [
        *(total if frame else ()),
        *first_lines(wrong, overrides(lines)),
        *table_lines(overview, lines, daemons, wide=output == "wide"),
        *(lock_lines(overview) if names is None else ()),
        *(() if frame else total),
    ]
    if texts:
        show("\n".join(texts))  # at once: each call writes


def _of_this_machine(context: Context, selection: Selection, output: str) -> None:
    from vcsctl.cli.this_machine import show_daemons  # here, since most calls get their answer

    show_daemons(context, selection, output)


def _show_json(
    overview: Overview,
    lines: Sequence[Line],
    daemons: dict[str, list[Instance]],
    wrong: list[str],
    selection: Selection,
) -> None:
    from vcsctl.cli import status_json  # here, since the tables need none of it

    now = datetime.now(UTC)
    services = [status_json.plain(overview, line, daemons.get(line.name), now) for line in lines]
    if selection.only:
        beside = status_json.plain_details(overview, lines[0], daemons.get(lines[0].name, ()))
    else:
        beside = {"locks": plain_locks(overview)}
    show_json("services", services, problems=wrong, **beside)


COMMANDS: dict[str, click.Command] = {"status": status}
