"""history: the recorded outcomes of a service."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.tables import local, seconds, table
from vcsctl.domain.history import Row
from vcsctl.domain.run import LOCK, to_text
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.store import history


@click.command(name="history")
@click.argument("name")
@click.option("-n", "--lines", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many rows.")
@output_option
@click.pass_obj
def history_command(context: Context, name: str, lines: int, output: str) -> None:
    """Show the recorded outcomes of a service, the newest last.

    Example: vcsctl history backup-manager -n 5
    """
    in_time(lambda: _history(context, name, lines, output))


def _history(context: Context, name: str, lines: int, output: str) -> None:
    # A service whose unit is gone keeps its history.
    known = bool(NAME_PATTERN.fullmatch(name))
    rows = list(reversed(list(islice(history.read(context.paths, name), lines)))) if known else []
    if not rows and name != LOCK:
        context.row(name)
    if output == "json":
        show_json("history", [plain_row(row) for row in rows])
        return
    header = ("AT", "RUN", "NODE", "OUTCOME", "TRIGGER", "DURATION", "WHY")
    cells = [
        (
            local(r.at),
            r.id,
            r.node,
            r.outcome,
            r.trigger,
            seconds(r.duration_s),
            r.why + (f" ({r.count} slots)" if r.count > 1 else ""),
        )
        for r in rows
    ]
    for text in table(header, cells) if cells else ():
        show(text)


def plain_row(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {key: to_text(value) if isinstance(value, datetime) else value for key, value in asdict(row).items()}


COMMANDS: dict[str, click.Command] = {"history": history_command}
