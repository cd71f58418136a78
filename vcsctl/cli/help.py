"""help: what --help of a command shows, for those whose fingers have it so."""

from __future__ import annotations

import click


@click.command(name="help")
@click.argument("command", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show the help of a command.

    Example: vcsctl help run
    """
    asked = ctx.find_root()
    left = list(command)
    while left and isinstance(asked.command, click.Group):
        name, found, left = asked.command.resolve_command(asked, left)
        if found is None:
            break
        asked = click.Context(found, info_name=name, parent=asked)
    click.echo(asked.get_help())


COMMANDS: dict[str, click.Command] = {"help": help_command}
