"""why, calendar: what a service does next and the facts behind it, by the same functions that vcsd decides with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import click

from vcsctl.cli.context import Context, in_time, show, show_json
from vcsctl.cli.overview import Overview, outdated_notes
from vcsctl.cli.show import output_option
from vcsctl.cli.tables import local, value_text
from vcsctl.domain import values
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, next_slot
from vcsctl.domain.effective import fitting, in_force
from vcsctl.domain.reconcile import Start, Wait, decide
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, schedule_of, schedule_text
from vcsctl.errors import UsageError
from vcsctl.store import state
from vcsctl.store.cell import read_cell, system_timezone
from vcsctl.store.paths import Paths
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.services import Service, schedule_digest

_YEARS = range(1970, 3000)  # beyond, a typo is likelier than a wish, and the calendar's arithmetic ends at 9999


@click.command()
@click.argument("name")
@click.pass_obj
def why(context: Context, name: str) -> None:
    """Explain what a service does next, and why."""
    in_time(lambda: _why(context, name))


def _why(context: Context, name: str) -> None:
    overview = Overview(context)
    row = context.row(name)
    if row["plain"] is None:
        what = "an empty file masks it" if row["masked"] else "its unit file is broken and was never good"
        show(f"nothing starts it: {what}; see `vcsctl cat {name}` and `vcsctl status {name}`")
        return
    unit, key = context.unit(name), context.key(name)
    override = overview.overrides.get(name)
    current, unfit = fitting(unit, override)
    if unfit:
        show(unfit)
    show(f"declared: {'enabled' if unit.enabled else 'disabled'}, {schedule_text(unit)}")
    counting = in_force(override, unit)
    for field, changed in counting.items():
        reason = f" ({changed.reason})" if changed.reason else ""
        show(f"override: {field}={value_text(changed.value)} by {changed.by} at {local(changed.at)}{reason}")
    for note in outdated_notes(name, (override.fields.keys() if override else set()) - counting.keys()):
        show(note)
    if row["stale"]:
        show("unit file: broken; the last good version is in force")
    if row["missing"]:
        show(f"program missing: {row['missing']}")
    schedule = None if isinstance(current, Daemon) else schedule_of(current, context.published.timezone)
    moment = override.moment if override else None
    service = Service(name, key, unit, current, schedule, schedule_digest(current, schedule), moment)
    observer = Observer(context.paths, state.StateReader(context.paths, overview.faults))
    found = observer.state(key)
    if found.run is not None:
        end = f"{found.end.value.outcome}: {found.end.value.why}" if found.end else "no outcome yet"
        show(f"last claim: {found.run.value.run_id} on {found.run.value.node}, {found.run.value.why}; {end}")
    if found.watermark:
        show(f"slots up to {to_text(found.watermark)} are claimed")
    view = observer.view(service, found, overview.pending.get(key), current.groups, live=key in overview.running)
    decision = decide(view, datetime.now(UTC))
    if isinstance(decision, Start | Wait):
        place = overview.pending[key].place if key in overview.pending else None
        show(f"in queue since {local(place)}" if place else "not in the queue yet")
        reasons = dict.fromkeys((decision.why, overview.waits_for(key, current.groups)))
        show(f"now: {'; '.join(reasons)}")
    else:
        show(f"now: {decision.why}")


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


COMMANDS: dict[str, click.Command] = {"why": why, "calendar": calendar}
