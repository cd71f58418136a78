"""The command vcs-utility: a built-in utility by its name. The one place where their faults become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from vcsctl import __version__
from vcsctl.errors import FAILED, VcsError
from vcsctl.utilities import cleaner, log_rotator, notificator
from vcsctl.utilities.places import Directories, directories

Run = Callable[[Directories, str | None, bool], int]
# name → (what it does: directories, configuration file, dry run → exit code; its help)
UTILITIES: dict[str, tuple[Run, str]] = {
    "log-rotator": (log_rotator.run, log_rotator.HELP),
    "cleaner": (cleaner.run, cleaner.HELP),
    "notificator": (notificator.run, notificator.HELP),
}


@click.group()
@click.version_option(__version__, prog_name="vcs-utility")
def vcs_utility() -> None:
    """Run one of the utilities that come with vcsctl."""


def _command(name: str, run: Run, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.option("--config", metavar="FILE", help=f"Settings; default /etc/vcs/utilities/{name}.yaml.")
    @click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
    @click.option("--root", metavar="DIR", help="Move every path under DIR (also: VCS_ROOT).")
    @click.pass_context
    def command(ctx: click.Context, config: str | None, dry_run: bool, root: str | None) -> None:
        ctx.exit(run(directories(root), config, dry_run))

    return command


for _name, (_run, _text) in UTILITIES.items():
    vcs_utility.add_command(_command(_name, _run, _text))


def main() -> None:
    try:
        vcs_utility(prog_name="vcs-utility")
    except VcsError as error:
        click.echo(error if "\n" in str(error) else f"vcs-utility: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # What no utility could foresee by name, such as a full disk under its standard output.
        click.echo(f"vcs-utility: cannot go on: {error}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
