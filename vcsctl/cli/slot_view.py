"""What became of one slot of a KEY, or will: the instant asked for, its slot, and the facts. Prints nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from vcsctl.cli.chain import KeyChain, Link, elsewhere
from vcsctl.cli.tables import local, when
from vcsctl.domain.calendar import EveryMinutes, Schedule, next_slot, previous_slot
from vcsctl.domain.clock_change import oddity
from vcsctl.domain.explain import fates
from vcsctl.domain.run import to_text
from vcsctl.errors import UsageError
from vcsctl.store import history

_MINUTE = timedelta(minutes=1)
_YEARS = range(1970, 3000)
# What is on record of a slot is on record after it, but for clocks that differ.
_CLOCKS_APART = timedelta(hours=1)


def parse_at(text: str) -> datetime | time:
    """An instant, without an offset one of the service's time zone; or a time of day, of its today."""
    try:
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            return time.fromisoformat(text)
        instant = datetime.fromisoformat(text)
        if ":" not in text or instant.year not in _YEARS:
            raise ValueError
        return instant
    except ValueError:
        raise UsageError(f"--at: cannot read {text!r}; write for example 14:05 or 2026-11-25T14:05") from None


def slot_links(chain: KeyChain, asked: datetime | time) -> Iterator[Link]:
    schedule, now = chain.view.schedule, chain.now
    assert schedule is not None, "a daemon has no slots"
    zone = ZoneInfo(schedule.timezone)
    if isinstance(asked, time):
        asked = datetime.combine(now.astimezone(zone).date(), asked)
    in_gap = False
    if asked.tzinfo is None:
        if note := oddity(schedule, asked):
            yield Link("clock", note)
        wall, asked = asked, asked.replace(tzinfo=zone)
        in_gap = asked.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall
    minute = asked.astimezone(UTC).replace(second=0, microsecond=0)
    slot = previous_slot(schedule, minute + _MINUTE - datetime.resolution)
    if slot < minute or (in_gap and isinstance(schedule, EveryMinutes)):
        yield Link("slot", _not_a_slot(schedule, minute), data={"slot": None})
        return
    yield Link("slot", f"{when(slot, now)}{elsewhere(slot, zone.key)}", data={"slot": to_text(slot)})
    rows = takewhile(lambda row: row.at > slot - _CLOCKS_APART, history.read(chain.context.paths, chain.name))
    for fate in fates(chain.view, slot, [row for row in rows if row.key == chain.key], now):
        fact = fate.why
        if fate.what == "waits" and fact.endswith(chain.decision.why):
            fact = fact.removesuffix(chain.decision.why) + chain.now_text
        yield Link("fate", fact, "  ", {"what": fate.what, "run": fate.run or None})


def _not_a_slot(schedule: Schedule, instant: datetime) -> str:
    then = f"{local(instant)}{elsewhere(instant, schedule.timezone)}"
    before, after = previous_slot(schedule, instant), next_slot(schedule, instant)
    return f"none is due at {then}; by the schedule in force the nearest are {local(before)} and {local(after)}"
