"""All commands as they are, loaded: for the man pages, for what completion is given, for tests. Runs none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Found:
    """`name` as it is typed behind `vcsctl`; empty for that itself."""

    name: str
    context: click.Context

    @property
    def command(self) -> click.Command:
        return self.context.command

    @property
    def parameters(self) -> list[click.Parameter]:
        """Without those that are not to be seen, and --help, which every one has."""
        hidden = [one for one in self.command.params if isinstance(one, click.Option) and one.hidden]
        return [one for one in self.command.params if one not in hidden]


def tree() -> Iterator[Found]:
    """vcsctl, then its commands in the order of its help, each before its own subcommands."""
    from vcsctl.cli.commands import vcsctl

    yield from _below(click.Context(vcsctl, info_name="vcsctl"), "")


def _below(context: click.Context, name: str) -> Iterator[Found]:
    yield Found(name, context)
    if isinstance(context.command, click.Group):
        for part in context.command.list_commands(context):
            command = context.command.get_command(context, part)
            if command is not None and not command.hidden:
                below = click.Context(command, info_name=part, parent=context)
                yield from _below(below, f"{name} {part}".strip())
