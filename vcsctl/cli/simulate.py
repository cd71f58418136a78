"""simulate: the forecast of the coming hours in numbers. Renders what the domain foresees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.hours import hours_option
from vcsctl.cli.layout import Column, Row, shown_table, too_narrow, wrapped
from vcsctl.cli.moments import Moment, moment_option, tell_if_past
from vcsctl.cli.outset import (
    ASSUMED_S,
    Gathered,
    all_option,
    as_now,
    durations_option,
    gather,
)
from vcsctl.cli.overview import Overview
from vcsctl.cli.progress import progress
from vcsctl.cli.tables import listed, local, seconds
from vcsctl.cli.terminal import columns
from vcsctl.domain import figures
from vcsctl.domain.forecast import Forecast, Outset, forecast
from vcsctl.domain.run import to_text

_SERVICES = (
    Column("SERVICE", 12),
    Column("RUNS"),
    Column("WAIT"),
    Column("P95", leaves=4),
    Column("MAX", leaves=7),
    Column("COALESCED", leaves=6),
    Column("MISSED", leaves=5),
    Column("LEFT", leaves=3),
    Column("LASTS", leaves=2),
    Column("BY", leaves=1),
)
_GROUPS = (
    Column("GROUP", 8),
    Column("HELD"),
    Column("LONGEST QUEUE", leaves=1),
    Column("SERVICES", 16, below="services"),
)


@click.command()
@hours_option(24.0)
@moment_option("--from", "begin", help="From this moment on, with nothing running or waiting then.")
@durations_option
@all_option
@output_option
@click.pass_obj
def simulate(
    context: Context, hours: float, begin: Moment | None, given: tuple[str, ...], everything: bool, output: str
) -> None:
    """Foresee the waits of the coming hours.

    Example: vcsctl simulate --hours 8 --duration calculator=90s

    It begins with what runs and waits now and goes on as vcsd would decide. The runs of a service last as long as its
    last 100 that went well, in their order, or as --duration says.
    """
    now = datetime.now(UTC)
    start = begin.at(now, None, "next") if begin is not None else None
    tell_if_past(begin, start or now, now)

    def read() -> Callable[[], None]:
        overview = Overview(context)
        found = gather(context, overview, start or datetime.now(UTC), hours, given, everything=everything)
        outset = found.outset() if start else as_now(context, overview, found)
        return lambda: _simulate(found, outset, output)

    in_time(read)


def _simulate(found: Gathered, outset: Outset, output: str) -> None:
    with progress("simulating") as tell:
        foreseen = forecast(outset, found.start, found.until, tell)
    never = {**found.never, **_never_started(foreseen)}
    if output == "json":
        show_json("simulation", _plain(found, foreseen, never))
        return
    for line in _lines(found, foreseen, never):
        show(line)


def _never_started(foreseen: Forecast) -> dict[str, str]:
    """Services that have slots and start none of them, with what is in their way."""
    started = {run.service for run in foreseen.runs}
    found = {row.service: row.why for row in foreseen.unstarted if row.last >= foreseen.start}
    found |= {entry.service: entry.why for entry in foreseen.waiting}
    return {name: why for name, why in sorted(found.items()) if name not in started}


def _lines(found: Gathered, foreseen: Forecast, never: dict[str, str]) -> Iterator[str]:
    width = columns()
    yield from wrapped(f"{local(found.start)} to {local(found.until)}", width)
    rows = []
    for one in figures.of_services(foreseen, found.units):
        waits = (seconds(one.wait_mean_s), seconds(one.wait_p95_s), seconds(one.wait_max_s))
        counts = (str(one.coalesced), str(one.missed), str(one.waiting))
        lasting = found.lasting[one.name]
        rows.append((one.name, str(one.runs), *waits, *counts, seconds(lasting.usual_s), lasting.source))
    if rows:
        yield from _fitted(_SERVICES, rows)
    else:
        yield from wrapped("no timed service is enabled; --all counts the others in", width)
    if groups := figures.of_groups(foreseen, _members(found)):
        yield ""
        cells = [(one.name, f"{one.share:.1%}", str(one.peak_queue), ", ".join(one.services)) for one in groups]
        yield from _fitted(_GROUPS, cells)
    yield ""
    most, minute = figures.peak_starts(foreseen)
    peak = f"most starts in one minute: {most}" + (f", first at {local(minute)}" if minute else "")
    for text in (peak, *(f"never starts: {name}: {why}" for name, why in never.items()), *notes(found)):
        yield from wrapped(text, width)


def _fitted(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    found = shown_table(columns, [Row(cells) for cells in rows])
    yield from (*found.lines, *too_narrow(found.left_out))


def notes(found: Gathered, of: Callable[[str], bool] = lambda name: True) -> list[str]:
    """What was taken for granted, of the services that somebody asked for."""
    failed = list(filter(of, found.never_well))
    unknown = sorted(set(filter(of, found.assumed)) - set(failed))
    texts = []
    for why, names in (("without history", unknown), ("no successful run", failed)):
        if names:
            texts.append(f"{why}, assumed to last {ASSUMED_S:g} s (see --duration): {listed(names)}")
    if found.silent:
        texts.append(f"taken for up: {listed(found.silent)}, without a heartbeat now")
    return texts


def _members(found: Gathered) -> list[tuple[str, str]]:
    return [(group, name) for name in found.units for group in found.groups[name]]


def _plain(found: Gathered, foreseen: Forecast, never: dict[str, str]) -> dict[str, Any]:
    services = []
    for one in figures.of_services(foreseen, found.units):
        lasting = found.lasting[one.name]
        services.append({**asdict(one), "usual_s": lasting.usual_s, "duration_from": lasting.source})
    most, minute = figures.peak_starts(foreseen)
    return {
        "from": to_text(found.start),
        "until": to_text(found.until),
        "services": services,
        "groups": [asdict(one) for one in figures.of_groups(foreseen, _members(found))],
        "peak_starts": {"count": most, "minute": to_text(minute) if minute else None},
        "never": never,
        "assumed_s": ASSUMED_S,
        "taken_for_up": found.silent,
    }


COMMANDS: dict[str, click.Command] = {"simulate": simulate}
