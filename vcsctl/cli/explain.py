"""why, calendar: what a service does next and the facts behind it, by the same functions that vcsd decides with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import click

from vcsctl.cli.context import Context, in_time, show, show_json
from vcsctl.cli.overview import Overview
from vcsctl.cli.show import output_option
from vcsctl.cli.tables import local
from vcsctl.domain import values
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, next_slot
from vcsctl.domain.override import effective, in_force
from vcsctl.domain.reconcile import Start, Wait, decide
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, schedule_of, schedule_text
from vcsctl.errors import UsageError
from vcsctl.store import state
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.services import Service, schedule_digest


@click.command()
@click.argument("name")
@click.pass_obj
def why(context: Context, name: str) -> None:
    """Explain what a service does next, and why."""
    in_time(lambda: _why(context, name))


def _why(context: Context, name: str) -> None:
    overview = Overview(context)
    row, unit, key = context.row(name), context.unit(name), context.key(name)
    override = overview.overrides.get(name)
    current = effective(unit, override)
    show(f"declared: {'enabled' if unit.enabled else 'disabled'}, {schedule_text(unit)}")
    for field, changed in in_force(override, unit).items():
        reason = f" ({changed.reason})" if changed.reason else ""
        show(f"override: {field}={changed.value} by {changed.by} at {local(changed.at)}{reason}")
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
    view = observer.view(service, found, overview.pending.get(key), live=key in overview.running)
    decision = decide(view, datetime.now(UTC))
    if isinstance(decision, Start | Wait):
        place = overview.pending[key].place if key in overview.pending else None
        show(f"in queue since {local(place)}" if place else "not in the queue yet")
        show(f"now: {decision.why}; {overview.waits_for(key, current.groups)}")
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
    schedule = _schedule(context, what)
    slots = list(islice(_slots(schedule, _instant(start)), count))
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
    if match := re.fullmatch(r"(\d+)(?:/(\d+))?", what):
        period, align = int(match[1]), int(match[2] or 0)
        if not 1 <= period <= 60 or align >= period:
            raise UsageError(
                f"{what}: the period is from 1 to 60 minutes and align less than it; write for example 5/2"
            )
        return EveryMinutes(period, align, context.published.timezone)
    if ":" in what:
        try:
            times = tuple(values.parse_time_of_day(part) for part in what.split(","))
        except ValueError as error:
            raise UsageError(f"{what}: {error}") from None
        return AtTimes(times, (), context.published.timezone)
    unit = effective(context.unit(what), Overview(context).overrides.get(what))
    if isinstance(unit, Daemon):
        raise UsageError(f"{what} is a daemon: it has no slots")
    return schedule_of(unit, context.published.timezone)


def _instant(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone() if text else datetime.now(UTC)
    except ValueError:
        raise UsageError(f"--from: cannot read {text!r}; write for example 2026-03-29T01:00") from None


COMMANDS: dict[str, click.Command] = {"why": why, "calendar": calendar}
