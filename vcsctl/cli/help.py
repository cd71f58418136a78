"""help: what --help of a command shows, for those whose fingers have it so."""

from __future__ import annotations

import click

from vcsctl.cli.hints import likely
from vcsctl.errors import UsageError


@click.command(name="help")
@click.argument("command", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of a command.

    Example: vcsctl help run
    """
    asked = ctx.find_root()
    for name in command:
        asked = click.Context(_below(asked, name), info_name=name, parent=asked)
    click.echo(asked.get_help())


def _below(asked: click.Context, name: str) -> click.Command:
    """The command of that name. Raises UsageError where there is none."""
    group, path = asked.command, asked.command_path
    if not isinstance(group, click.Group):
        raise UsageError(f"{path} has no command below it; `vcsctl help{path.removeprefix('vcsctl')}` shows its help")
    found = group.get_command(asked, name)
    if found is None:
        hint = likely(name, group.list_commands(asked), f"`{path} --help` lists the commands")
        raise UsageError(f"no such command {name!r}; {hint}")
    return found


COMMANDS: dict[str, click.Command] = {"help": help_command}
