"""reload, cat: the unit files themselves."""

from __future__ import annotations

import os

import click

from vcsctl.catalog.scan import Layers, scan
from vcsctl.cli.context import Context, show
from vcsctl.cli.daemon_commands import reload_daemons
from vcsctl.cli.hints import likely
from vcsctl.cli.targets import node_option
from vcsctl.errors import USAGE, NotRunningError, UnknownUnitError, UsageError, VcsError
from vcsctl.vcsd.control import ask

_PATIENCE_S = 60.0


@click.command()
@click.argument("names", nargs=-1)
@node_option
@click.pass_obj
def reload(context: Context, names: tuple[str, ...], node: str | None) -> None:
    """Read the unit files again; a bad unit keeps its last good version.

    Example: vcsctl reload

    With names: let these daemons read their own configuration again, each as its unit says.
    """
    if names:
        reload_daemons(context, names, node)
        return
    if node is not None:
        raise UsageError("--node goes with the name of a daemon; the unit files are read again on this machine")
    answer = ask(context.where.socket, {"do": "reload"}, _PATIENCE_S)
    if answer is None:
        raise NotRunningError("no vcsd answers on this machine; start it, it reads the units then")
    if "error" in answer:
        raise VcsError(answer["error"])
    for text in answer.get("texts", ()):
        click.echo(text, err=True)
    changed, removed = answer.get("changed", []), answer.get("removed", [])
    show(f"changed: {', '.join(changed) or 'nothing'}" + (f"; removed: {', '.join(removed)}" if removed else ""))
    if any(": warning: " not in text for text in answer.get("texts", ())):
        raise click.exceptions.Exit(USAGE)


@click.command()
@click.argument("name")
@click.pass_obj
def cat(context: Context, name: str) -> None:
    """Show the files that make up a unit, each under its path.

    Example: vcsctl cat backup-manager
    """
    found, _ = scan(Layers(context.where.vendor_units, context.where.site_units))
    if name not in found:
        hint = likely(name, found, "`vcsctl status` lists the services")
        raise UnknownUnitError(f"there is no unit file for {name} on this machine; {hint}")
    for path in found[name].paths:
        if not os.path.isfile(path):  # reading a pipe would wait for its writer
            show(f"# {path} (not a regular file)")
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            show(f"# {path}\n{file.read()}")


COMMANDS: dict[str, click.Command] = {"reload": reload, "cat": cat}
