"""vcsctl: its global options, its commands by name, and the one place where a fault becomes an exit code.

Commands are loaded when they are called: `vcsctl --help` need not pay for what `verify` imports.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

from vcsctl import __version__
from vcsctl.cli.helps import arrange, by_section
from vcsctl.cli.hints import likely
from vcsctl.errors import FAILED, OK, VcsError

# name → (module, first line of its help)
COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("status", "Show all services, or one."),
    "queue": ("queue", "Show what waits, since when and for what."),
    "history": ("history", "Show the recorded outcomes of a service."),
    "logs": ("logs", "Print the log of a run."),
    "why": ("why", "Explain what comes next, or became of a slot, and why."),
    "calendar": ("calendar", "Show the slots of services or of expressions."),
    "timeline": ("timeline", "Show the coming or past hours as a chart."),
    "simulate": ("simulate", "Foresee the waits of the coming hours."),
    "advise": ("advise", "Propose align values with which services wait less."),
    "run": ("run", "Request a run now."),
    "stop": ("act", "Stop the runs of services."),
    "restart": ("daemon_commands", "Restart daemons, node by node."),
    "reset-failed": ("daemon_commands", "Let failed daemons be started again."),
    "lock": ("lock", "Hold run groups while a command runs."),
    "cancel": ("act", "Cancel the waiting requests of a service."),
    "enable": ("change", "Enable services."),
    "disable": ("change", "Disable services: no slot starts any more."),
    "set": ("change", "Change the schedule or timeout of a service by hand."),
    "revert": ("change", "Take back what was changed by hand."),
    "nodes": ("nodes", "Show the nodes of the cell; forget one."),
    "drain": ("drain", "Let a node start nothing more."),
    "resume": ("drain", "Let a drained node start runs again."),
    "init": ("init", "Make the cell on the shared directory."),
    "reload": ("units", "Read the unit files again, or let a daemon read its configuration."),
    "cat": ("units", "Show the files that make up a unit."),
    "verify": ("verify", "Check unit files."),
    "schema": ("schema", "Print the JSON Schema of unit files, for editors."),
    "doctor": ("doctor", "Prove that the shared directory can be trusted."),
    "completion": ("completion", "Print the script that lets a shell complete."),
    "help": ("help", "Show the help of a command."),
}


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if ctx.resilient_parsing:  # a shell asks: what completion needs to know is there without loading a command
            from vcsctl.cli.completion import light

            return light(cmd_name)
        module = importlib.import_module(f"vcsctl.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.COMMANDS[cmd_name]
        return arrange(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            hint = likely(args[0], COMMANDS, "`vcsctl --help` lists the commands")
            ctx.fail(f"no such command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands first: they are what somebody looks for."""
        width = max(map(len, COMMANDS))
        for title, names in by_section(COMMANDS):
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), COMMANDS[name][1]) for name in names])
        click.Command.format_options(self, ctx, formatter)


def _folders(_ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, "dir")]


@click.group(cls=LazyGroup, epilog="`vcsctl COMMAND --help` tells more of one command, `man vcsctl` all of all.")
@click.option("--root", metavar="DIR", shell_complete=_folders, help="Move every path under DIR (also: VCS_ROOT).")
@click.version_option(__version__, prog_name="vcsctl")
@click.pass_context
def vcsctl(ctx: click.Context, root: str | None) -> None:
    """See and steer the services of this cell.

    Examples:
    vcsctl status
    vcsctl why backup-manager
    vcsctl run backup-manager --wait
    """
    from vcsctl.cli.context import Context  # here, so that --help and completion load nothing but click

    ctx.obj = Context(root)


arrange(vcsctl)


def execute() -> int:
    """Runs the command line; its exit code. No fault becomes a traceback, unless VCS_DEBUG asks for one."""
    _open_streams()
    if "_VCSCTL_COMPLETE" in os.environ:
        from vcsctl.cli.completion import answer

        answer(vcsctl)
    try:
        code = vcsctl(prog_name="vcsctl", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except VcsError as error:
        _tell(f"vcsctl: {error}" if "\n" not in str(error) else str(error))
        return error.exit_code
    except OSError as error:
        _close_output()
        if error.errno != errno.EPIPE:  # with EPIPE nobody wants to know more, as with `| head`
            _tell(f"vcsctl: {error.filename or 'cannot write the answer'}: {(error.strerror or str(error)).lower()}")
        return FAILED
    except Exception as error:
        if os.environ.get("VCS_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        _tell(f"vcsctl: a fault of vcsctl itself ({what}); run it with VCS_DEBUG=1 to see where, and report it")
        return FAILED


def _open_streams() -> None:
    """A closed standard stream becomes an empty one; a character the terminal cannot show becomes its escape."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process's life
        getattr(sys, name).reconfigure(errors="backslashreplace")


def _tell(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        return  # nobody left to tell


def _close_output() -> None:
    """What could not be written must not be tried again, and complained about, at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
