"""The command vcsctl: its global options, its commands by name, and the one place where a fault becomes an exit code.

Commands are loaded when they are called: `vcsctl --help` need not pay for what `verify` imports.
"""

from __future__ import annotations

import importlib
import sys

import click

from vcsctl import __version__
from vcsctl.cli.context import Context
from vcsctl.errors import VcsError

# name → (module, first line of its help)
COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("show", "Show all services, or one."),
    "queue": ("show", "Show what waits, since when and for what."),
    "history": ("show", "Show the recorded outcomes of a service."),
    "logs": ("show", "Print the log of a run."),
    "why": ("explain", "Explain what a service does next, and why."),
    "calendar": ("explain", "Show the next slots of a service or an expression."),
    "run": ("act", "Request a run now."),
    "stop": ("act", "Stop the run of a service."),
    "cancel": ("act", "Cancel the waiting requests of a service."),
    "enable": ("change", "Enable services."),
    "disable": ("change", "Disable services: no slot starts any more."),
    "set": ("change", "Change the schedule or timeout of a service by hand."),
    "revert": ("change", "Take back what was changed by hand."),
    "reload": ("units", "Read the unit files again."),
    "cat": ("units", "Show the files that make up a unit."),
    "verify": ("units", "Check unit files."),
}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"vcsctl.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.option("--root", metavar="DIR", help="Move every path under DIR (also: VCS_ROOT).")
@click.version_option(__version__, prog_name="vcsctl")
@click.pass_context
def vcsctl(ctx: click.Context, root: str | None) -> None:
    """See and steer the services of this cell."""
    ctx.obj = Context(root)


def main() -> None:
    try:
        vcsctl(prog_name="vcsctl")
    except VcsError as error:
        click.echo(f"vcsctl: {error}" if "\n" not in str(error) else str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
