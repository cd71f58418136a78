"""Moments as an operator types them, the same at every option that takes one. Knows no service and asks no clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal, assert_never

import click

from vcsctl.cli.tables import ago
from vcsctl.cli.waiting import tell
from vcsctl.domain.values import parse_duration
from vcsctl.errors import UsageError

_YEARS = range(1970, 3000)  # beyond, a typo is likelier than a wish, and the calendar's arithmetic ends at 9999
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
_LENGTH = re.compile(r"(?P<sign>[-+]?)(?P<length>[0-9][0-9.hms]*[hms]|[0-9]{1,4}d)(?P<ago> *ago)?")
_DAYS_FROM_TODAY = {"yesterday": -1, "today": 0, "tomorrow": 1}
_FORMS = (
    "write for example 14:30, 2026-03-29, `2026-03-29 14:30`, 2026-03-29T14:30+01:00, now, today, yesterday, tomorrow, "
    "2h, -2h or `2h ago`, or +2h"
)
Which = Literal["last", "next", "today's"]


@dataclass(frozen=True, slots=True)
class _Day:
    """Its midnight, so many days from today."""

    from_today: int


@dataclass(frozen=True, slots=True)
class Moment:
    """As it was typed: which instant that is depends on now, on a zone, and for HH:MM on which one is asked for."""

    typed: datetime | time | timedelta | _Day

    def at(self, now: datetime, zone: tzinfo | None, which: Which) -> datetime:
        """In UTC. `zone` None is this machine's.

        Of a time that comes twice the first; of one that the clocks leave out, what they show in its place: 02:30 is
        03:30 there. That is fold=0, and slots have it so too.
        """
        return _instant(self.shown(now, zone, which), zone)

    def shown(self, now: datetime, zone: tzinfo | None, which: Which) -> datetime:
        """What the clocks of the zone show, without an offset; with one where it was typed or follows from now."""
        today = now.astimezone(zone).date()
        match self.typed:
            case datetime():
                return self.typed
            case timedelta():
                return now + self.typed
            case _Day(from_today):
                return datetime.combine(_days_on(today, from_today), time())
            case time():
                days = {"last": (0, -1, -2), "next": (0, 1, 2), "today's": (0,)}[which]
                walls = [datetime.combine(_days_on(today, by), self.typed) for by in days]
                return next(wall for wall in walls if _fits(_instant(wall, zone), now, which))
            case _:
                assert_never(self.typed)


def _days_on(day: date, by: int) -> date:
    return day + timedelta(days=by)


def _instant(shown: datetime, zone: tzinfo | None) -> datetime:
    if shown.tzinfo is None and zone is None:
        return datetime.fromtimestamp(shown.timestamp(), UTC)  # astimezone() takes the left out 02:30 for 01:30
    return (shown if shown.tzinfo else shown.replace(tzinfo=zone)).astimezone(UTC)


def _fits(instant: datetime, now: datetime, which: Which) -> bool:
    return which == "today's" or (instant <= now if which == "last" else instant >= now)


def moment_option(name: str, *more: str, help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's own name for it
    """An option whose value is a Moment, or None where it is left out."""
    return click.option(name, *more, metavar="TIME", callback=_parsed, help=help)


def tell_if_past(begin: Moment | None, start: datetime, now: datetime) -> None:
    """Of a command about what is to come: a length without a sign is so long ago. Who writes a date knows."""
    if begin is not None and isinstance(begin.typed, timedelta) and start < now:
        tell(f"it begins in the past, {ago(start, now)}; `--from +2h` is to come")


def _parsed(_ctx: click.Context, option: click.Parameter, text: str | None) -> Moment | None:
    return parse(option.opts[0], text) if text is not None else None


def parse(option: str, text: str) -> Moment:
    try:
        return Moment(_read(text))
    except (ValueError, OverflowError):
        raise UsageError(f"{option}: cannot read {text!r} as a moment; {_FORMS}") from None


def _read(text: str) -> datetime | time | timedelta | _Day:
    if text == "now":
        return timedelta(0)
    if text in _DAYS_FROM_TODAY:
        return _Day(_DAYS_FROM_TODAY[text])
    if _TIME_OF_DAY.fullmatch(text):
        return time.fromisoformat(text)
    match = _LENGTH.fullmatch(text)
    if match:
        if match["sign"] and match["ago"]:
            raise ValueError
        length = _length(match["length"])
        return length if match["sign"] == "+" else -length
    instant = datetime.fromisoformat(text)
    if instant.year not in _YEARS:
        raise ValueError
    return instant


def _length(text: str) -> timedelta:
    return timedelta(days=int(text[:-1])) if text.endswith("d") else timedelta(seconds=parse_duration(text))
