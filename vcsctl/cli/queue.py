"""queue: what waits, since when and for what."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json, tell_of_nothing
from vcsctl.cli.layout import Column, Row, shown_table, too_narrow
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import ago, local, readable, short
from vcsctl.cli.terminal import columns
from vcsctl.domain.run import to_text

_COLUMNS = (
    Column("KEY", 30),
    Column("SINCE", 8),
    Column("ENTRIES", 11, leaves=1),
    Column("WAITS FOR", 40, below=""),
)


@click.command()
@output_option
@click.pass_obj
def queue(context: Context, output: str) -> None:
    """Show what waits, since when and for what.

    Example: vcsctl queue
    """
    in_time(lambda: _queue(context, output))


def _queue(context: Context, output: str) -> None:
    overview = Overview(context)
    entries = []
    for pending in overview.queue:
        what = [queued.request.id for queued in pending.requests]
        what += [f"slot {to_text(pending.slots_first)}"] if pending.slots_first else []
        entries.append((pending.key, pending.place, what, overview.waits_for(pending.key)))
    if output == "json":
        fields = ("key", "since", "entries", "waits_for")
        rows = [(key, to_text(place) if place else None, what, why) for key, place, what, why in entries]
        show_json("queue", [dict(zip(fields, row, strict=True)) for row in rows])
        return
    if entries:
        cells = [
            Row((key, _since(place), readable(", ".join(what)), readable(why))) for key, place, what, why in entries
        ]
        found = shown_table(_COLUMNS, cells)
        for text in (*found.lines, *too_narrow(found.left_out)):
            show(text)
    else:
        tell_of_nothing("nothing waits")


def _since(place: datetime | None) -> str:
    if place is None or columns() is None:
        return local(place)
    now = datetime.now(UTC)
    return f"{short(place, now)} ({ago(place, now)})"


COMMANDS: dict[str, click.Command] = {"queue": queue}
