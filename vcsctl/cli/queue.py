"""queue: what waits, since when and for what."""

from __future__ import annotations

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import local, table
from vcsctl.domain.run import to_text


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
        cells = [(key, local(place), ", ".join(what), why) for key, place, what, why in entries]
        for text in table(("KEY", "SINCE", "ENTRIES", "WAITS FOR"), cells):
            show(text)


COMMANDS: dict[str, click.Command] = {"queue": queue}
