"""calendar: the slots of services or of expressions, by the function that vcsd decides with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.layout import Column, Row, shown_table, too_narrow, wrapped
from vcsctl.cli.moments import Moment, moment_option, tell_if_past
from vcsctl.cli.overview import Overview, outdated_notes
from vcsctl.cli.tables import ago, value_text
from vcsctl.cli.terminal import columns, paint
from vcsctl.domain import values
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, in_words, next_slot, previous_slot
from vcsctl.domain.clock_change import outlook
from vcsctl.domain.effective import fitting, in_force
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, schedule_of
from vcsctl.errors import UsageError
from vcsctl.store.cell import read_cell, system_timezone
from vcsctl.store.paths import Paths

_INSTANT = len("Sun 2026-03-29 01:00:00 +0100")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says but for the names: how many slots, from when, which way, in which zone, which days."""

    count: int
    start: datetime
    past: bool
    zone: str | None
    days: tuple[str, ...]

    @property
    def tz(self) -> tzinfo | None:
        return ZoneInfo(self.zone) if self.zone else None  # None is this machine's


@dataclass(frozen=True, slots=True)
class _Found:
    """One service or expression with its slots, the oldest first."""

    what: str
    schedule: Schedule
    notes: tuple[str, ...]
    slots: tuple[datetime, ...]
    outlook: str


@click.command()
@click.argument("what", metavar="NAME|EXPR...", nargs=-1, required=True)
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many slots.")
@moment_option("--from", "start", help="From this moment on, or with --past before it: 2026-03-29, +2h.")
@click.option("-p", "--past", is_flag=True, help="The slots before now, or before --from.")
@click.option("--timezone", "zone", metavar="ZONE", help="Read expressions and --from, and show times, in this zone.")
@click.option("--days", metavar="DAYS", help="Of times of day: on these days alone, for example mon,last.")
@output_option
@click.pass_obj
def calendar(
    context: Context,
    what: tuple[str, ...],
    count: int,
    start: Moment | None,
    past: bool,
    zone: str | None,
    days: str | None,
    output: str,
) -> None:
    """Show the slots of services or of expressions.

    Example: vcsctl calendar calculator 04:05,16:05 -n 3

    5/2 is every 5 minutes, 2 minutes after the full ones. At the end stands what the next clock change does to them.
    """
    zone = _zone(zone) if zone is not None else None
    begin = now = datetime.now(UTC)
    if start is not None:
        begin = start.at(now, ZoneInfo(zone) if zone else None, "last" if past else "next")
    if not past:
        tell_if_past(start, begin, now)
    asked = _Asked(count, begin, past, zone, _days(days) if days is not None else ())
    in_time(lambda: _calendar(context, what, asked, output))


def _calendar(context: Context, what: tuple[str, ...], asked: _Asked, output: str) -> None:
    found = [_find(context, one, asked) for one in dict.fromkeys(what)]
    if output == "json":
        show_json("calendar", [_plain(one) for one in found])
        return
    now = datetime.now(UTC)
    for number, one in enumerate(found):
        if number:
            show("")
        for line in _lines(one, asked, now):
            show(line)


def _find(context: Context, what: str, asked: _Asked) -> _Found:
    schedule, notes = _expression(context, what, asked), list[str]()
    if schedule is None:
        schedule, notes = _of_service(context, what, asked)
    slots = list(islice(_slots(schedule, asked), asked.count))
    slots = slots[::-1] if asked.past else slots
    return _Found(what, schedule, tuple(notes), tuple(slots), outlook(schedule, min(asked.start, slots[0])))


def _slots(schedule: Schedule, asked: _Asked) -> Iterator[datetime]:
    at = asked.start
    while True:
        at = previous_slot(schedule, at) if asked.past else next_slot(schedule, at)
        yield at
        if asked.past:
            at -= datetime.resolution


def _of_service(context: Context, name: str, asked: _Asked) -> tuple[Schedule, list[str]]:
    declared, override = context.unit(name), Overview(context).overrides.get(name)
    unit, fault = fitting(declared, override)
    if isinstance(unit, Daemon):
        raise UsageError(f"{name} is a daemon: it has no slots")
    if asked.days:
        raise UsageError(f"--days is for times of day; {name} has days of its own, leave it out")
    changed = in_force(override, declared)
    notes = [] if unit.enabled else ["disabled: no slot starts"]
    notes += [fault] if fault else [f"override: {key}={value_text(one.value)}" for key, one in changed.items()]
    notes += outdated_notes(name, override.fields.keys() - changed.keys()) if override else []
    return schedule_of(unit, context.published.timezone), notes


def _expression(context: Context, what: str, asked: _Asked) -> Schedule | None:
    if match := re.fullmatch(r"([0-9]{1,4})(?:/([0-9]{1,4}))?", what):
        period, align = int(match[1]), int(match[2] or 0)
        if not 1 <= period <= 60 or align >= period:
            raise UsageError(
                f"{what}: the period is from 1 to 60 minutes and align less than it; write for example 5/2"
            )
        if asked.days:
            raise UsageError(f"--days is for times of day such as 04:05, not for {what}; leave it out")
        return EveryMinutes(period, align, asked.zone or _cells_zone(context))
    if ":" not in what:
        return None
    try:
        times = tuple(sorted({values.parse_time_of_day(part) for part in what.split(",")}))
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None
    return AtTimes(times, asked.days, asked.zone or _cells_zone(context))


def _cells_zone(context: Context) -> str:
    """The cell's zone; where there is no cell yet, the one that it would get."""
    cell = read_cell(Paths(context.config.shared_dir))
    return cell.timezone if cell else system_timezone()


def _zone(text: str) -> str:
    try:
        return values.parse_timezone(text)
    except ValueError as error:
        raise UsageError(f"--timezone: {error}") from None


def _days(text: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(values.parse_day(part) for part in text.split(",")))
    except ValueError as error:
        raise UsageError(f"--days: {error}") from None


def _lines(found: _Found, asked: _Asked, now: datetime) -> Iterator[str]:
    zone = found.schedule.timezone
    words = in_words(found.schedule)
    title = f"{words}, {zone}" if words == found.what else f"{found.what}: {words}, {zone}"
    yield from (paint("strong", line) for line in wrapped(title, columns()))
    for note in found.notes:
        yield from (paint("waits", line) for line in wrapped(note, columns(), 2))
    here = [slot.astimezone(asked.tz) for slot in found.slots]
    there = [slot.astimezone(ZoneInfo(zone)) for slot in found.slots]
    cells = [[f"{slot:%a %Y-%m-%d %H:%M:%S %z}" for slot in here]]
    header = [Column("SLOT", _INSTANT)]
    if [slot.utcoffset() for slot in here] != [slot.utcoffset() for slot in there]:
        header.append(Column(f"IN {zone}", _INSTANT, leaves=1))
        cells.append([f"{slot:%a %Y-%m-%d %H:%M:%S %z}" for slot in there])
    header.append(Column("WHEN", leaves=2))
    cells.append([ago(slot, now) for slot in found.slots])
    table = shown_table(header, [Row(row) for row in zip(*cells, strict=True)], indent=2)
    yield from (*table.lines, *too_narrow(table.left_out))
    yield from wrapped(found.outlook, columns(), 2, 0)


def _plain(found: _Found) -> dict[str, Any]:
    zone = ZoneInfo(found.schedule.timezone)
    return {
        "what": found.what,
        "schedule": in_words(found.schedule),
        "timezone": found.schedule.timezone,
        "notes": list(found.notes),
        "slots": [{"at": to_text(slot), "in_zone": slot.astimezone(zone).isoformat()} for slot in found.slots],
        "clock_change": found.outlook,
    }


COMMANDS: dict[str, click.Command] = {"calendar": calendar}
