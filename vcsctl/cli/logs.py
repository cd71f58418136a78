"""logs: what a run printed, read where it lies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import click

from vcsctl.cli.context import Context, in_time
from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import NotRunningError, UsageError
from vcsctl.runners.leftovers import log_path_of_daemon

_FOLLOW_PAUSE_S = 0.2


@click.command()
@click.argument("name")
@click.option("--run", "run_id", metavar="RUN", help="A run's id, as `history` shows it; default: the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
@click.pass_obj
def logs(context: Context, name: str, run_id: str | None, follow: bool) -> None:
    """Print the log of a run.

    Example: vcsctl logs calculator -f
    """
    if run_id is not None and (service_of(run_id.rpartition(".")[0]) != name or not parse_run_id(run_id)):
        raise UsageError(f"{run_id!r} is no run of {name}; take one from `vcsctl history {name}`")
    # The logs are on this node's own disk: they can be read while the shared directory does not answer.
    if run_id is not None and (whole := _log_of_daemon(context, name)):
        raise UsageError(f"{name} is a daemon: its log {whole} goes on over all its runs; leave --run out")
    path = _newest_log(context, name, run_id)
    if path is None:
        in_time(lambda: _no_log(context, name, run_id))
        return
    while path:
        _print_log(path, lambda: _newest_log(context, name, run_id) if follow else None)
        path = _newest_log(context, name, run_id) if follow else None


def _no_log(context: Context, name: str, run_id: str | None) -> None:
    context.row(name)
    raise NotRunningError(f"no log of {run_id or name} on this node; `vcsctl history {name}` says where it ran")


def _newest_log(context: Context, name: str, run_id: str | None) -> str | None:
    if run_id is None and (whole := _log_of_daemon(context, name)):
        return whole
    folder = f"{context.config.log_dir}/{name}"
    if not NAME_PATTERN.fullmatch(name) or not os.path.isdir(folder):
        return None
    names = [f"{run_id}.log"] if run_id else [entry for entry in os.listdir(folder) if entry.endswith(".log")]
    paths = [f"{folder}/{entry}" for entry in names if os.path.isfile(f"{folder}/{entry}")]
    return max(paths, key=_number_of_log, default=None)


def _log_of_daemon(context: Context, name: str) -> str:
    """The log of a daemon on this machine; empty where there is none."""
    config = context.config
    if not NAME_PATTERN.fullmatch(name):
        return ""
    paths = [log_path_of_daemon(config.log_dir, key) for key in (name, f"{name}@{config.node}")]
    found = [path for path in paths if os.path.isfile(path)]
    return max(found, key=os.path.getmtime, default="")


def _number_of_log(path: str) -> int:
    """By the run's number: a rotation gives an old log a new time."""
    run = parse_run_id(os.path.basename(path).removesuffix(".log"))
    return run[1] if run else 0


def _print_log(path: str, newest: Callable[[], str | None]) -> None:
    """Prints a log until `newest` names another one, or its name another file, and all of it."""
    with open(path, "rb") as file:
        over = False
        while True:
            if data := file.read(1 << 16):
                click.echo(data, nl=False)
            elif over:
                return
            elif os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)  # it was emptied: what it held is in an older part
            elif newest() == path and _is_still(path, file.fileno()):
                time.sleep(_FOLLOW_PAUSE_S)
            else:
                over = True  # one more look: what was written before the other log began


def _is_still(path: str, descriptor: int) -> bool:
    """Whether a name is that file's: a log that grew too large gets another name, and begins anew."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


COMMANDS: dict[str, click.Command] = {"logs": logs}
