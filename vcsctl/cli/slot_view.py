"""What became of one slot of a KEY, or will: the instant asked for, its slot, and the facts. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from vcsctl.cli.chain import KeyChain, Link
from vcsctl.cli.context import answered
from vcsctl.cli.moments import Moment
from vcsctl.cli.tables import elsewhere, local, when
from vcsctl.domain.calendar import EveryMinutes, Schedule, next_slot, previous_slot
from vcsctl.domain.clock_change import oddity
from vcsctl.domain.explain import fates
from vcsctl.domain.run import to_text
from vcsctl.store import history

_MINUTE = timedelta(minutes=1)
# What is on record of a slot is on record after it, but for clocks that differ.
_CLOCKS_APART = timedelta(hours=1)


def slot_links(chain: KeyChain, moment: Moment) -> Iterator[Link]:
    schedule, now = chain.view.schedule, chain.now
    assert schedule is not None, "a daemon has no slots"
    zone = ZoneInfo(schedule.timezone)
    asked = moment.shown(now, zone, "today's")
    in_gap = False
    if asked.tzinfo is None:
        if note := oddity(schedule, asked):
            yield Link("clock", note)
        wall, asked = asked, asked.replace(tzinfo=zone)
        in_gap = asked.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall
    minute = asked.astimezone(UTC).replace(second=0, microsecond=0)
    slot = previous_slot(schedule, minute + _MINUTE - datetime.resolution)
    if slot < minute or (in_gap and isinstance(schedule, EveryMinutes)):
        yield Link("slot", _not_a_slot(schedule, minute, zone), data={"slot": None})
        return
    yield Link("slot", f"{when(slot, now)}{elsewhere(slot, zone.key)}", data={"slot": to_text(slot)})
    recorded = history.read(chain.context.paths, chain.name, answered)
    rows = takewhile(lambda row: row.at > slot - _CLOCKS_APART, recorded)
    for fate in fates(chain.view, slot, [row for row in rows if row.key == chain.key], now):
        fact = fate.why
        if fate.what == "waits" and fact.endswith(chain.decision.why):
            fact = fact.removesuffix(chain.decision.why) + chain.now_text
        yield Link("fate", fact, "  ", {"what": fate.what, "run": fate.run or None})


def _not_a_slot(schedule: Schedule, instant: datetime, zone: ZoneInfo) -> str:
    """In the service's zone first, in which it was asked."""
    before, after = (
        f"{local(slot)}{elsewhere(slot, zone.key)}"
        for slot in (previous_slot(schedule, instant), next_slot(schedule, instant))
    )
    asked = local(instant)
    if elsewhere(instant, zone.key):
        asked = f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S %z} in {zone.key} ({asked} here)"
    return f"none is due at {asked}; by the schedule in force the nearest are {before} and {after}"
