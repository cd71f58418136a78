"""calendar: the slots of a service or of an expression, by the function that vcsd decides with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.overview import Overview
from vcsctl.domain import values
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, next_slot
from vcsctl.domain.effective import fitting
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, schedule_of
from vcsctl.errors import UsageError
from vcsctl.store.cell import read_cell, system_timezone
from vcsctl.store.paths import Paths

_YEARS = range(1970, 3000)  # beyond, a typo is likelier than a wish, and the calendar's arithmetic ends at 9999


@click.command()
@click.argument("what", metavar="NAME|EXPR")
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many slots.")
@click.option("--from", "start", metavar="TIME", help="From this instant on, for example 2026-03-29T01:00.")
@output_option
@click.pass_obj
def calendar(context: Context, what: str, count: int, start: str | None, output: str) -> None:
    """Show the next slots of a service, or of an expression such as 5/2 or 04:05.

    Example: vcsctl calendar 5/2 -n 3
    """
    after = _instant(start)
    in_time(lambda: _calendar(context, what, count, after, output))


def _calendar(context: Context, what: str, count: int, after: datetime, output: str) -> None:
    slots = list(islice(_slots(_schedule(context, what), after), count))
    if output == "json":
        show_json("slots", [to_text(slot) for slot in slots])
        return
    for slot in slots:
        show(slot.astimezone().strftime("%a %Y-%m-%d %H:%M:%S %z"))


def _slots(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    while True:
        after = next_slot(schedule, after)
        yield after


def _schedule(context: Context, what: str) -> Schedule:
    if match := re.fullmatch(r"([0-9]{1,4})(?:/([0-9]{1,4}))?", what):
        period, align = int(match[1]), int(match[2] or 0)
        if not 1 <= period <= 60 or align >= period:
            raise UsageError(
                f"{what}: the period is from 1 to 60 minutes and align less than it; write for example 5/2"
            )
        return EveryMinutes(period, align, _timezone(context))
    if ":" in what:
        try:
            times = tuple(values.parse_time_of_day(part) for part in what.split(","))
        except ValueError as error:
            raise UsageError(f"{what}: {error}") from None
        return AtTimes(times, (), _timezone(context))
    unit, _ = fitting(context.unit(what), Overview(context).overrides.get(what))
    if isinstance(unit, Daemon):
        raise UsageError(f"{what} is a daemon: it has no slots")
    return schedule_of(unit, context.published.timezone)


def _timezone(context: Context) -> str:
    """The cell's zone; where there is no cell yet, the one that it would get."""
    cell = read_cell(Paths(context.config.shared_dir))
    return cell.timezone if cell else system_timezone()


def _instant(text: str | None) -> datetime:
    try:
        instant = datetime.fromisoformat(text).astimezone() if text else datetime.now(UTC)
        if instant.year not in _YEARS:
            raise ValueError
        return instant
    except (ValueError, OverflowError):
        raise UsageError(f"--from: cannot read {text!r}; write for example 2026-03-29T01:00") from None


COMMANDS: dict[str, click.Command] = {"calendar": calendar}
