"""Plain tables on a terminal or a pipe: columns as wide as they need to be. Knows no service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from vcsctl.domain.run import from_text

_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z\b")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rows = [row if "".join(row).isprintable() else [printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, *rows]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def printable(text: str) -> str:
    """What files and strangers say reaches no terminal as a command."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def local(instant: datetime | None) -> str:
    """An instant in this machine's local time, as people read it."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S") if instant else "-"


def readable(text: str) -> str:
    """A sentence of the records and of vcsd's log for people: its instants in local time, as all others on a screen."""
    return _INSTANT.sub(_local_instant, text) if "Z" in text else text


def _local_instant(match: re.Match[str]) -> str:
    try:
        return local(from_text(match[0]))
    except (ValueError, OverflowError):  # a job may print what it likes
        return match[0]


def short(instant: datetime, now: datetime) -> str:
    """The same as short as `now` allows: today's time alone."""
    then, today = instant.astimezone(), now.astimezone()
    if then.date() == today.date():
        return then.strftime("%H:%M:%S")
    return then.strftime("%m-%d %H:%M" if then.year == today.year else "%Y-%m-%d")


def ago(instant: datetime, now: datetime) -> str:
    """How long ago, or in how long."""
    lasts_s = (now - instant).total_seconds()
    return f"{age(lasts_s)} ago" if lasts_s >= 0 else f"in {age(-lasts_s)}"


def when(instant: datetime, now: datetime) -> str:
    """In local time, and how far away."""
    return f"{local(instant)} ({ago(instant, now)})"


def elsewhere(instant: datetime, zone: str) -> str:
    """The same instant in a service's zone, where that is another than the reader's; else nothing."""
    from zoneinfo import ZoneInfo  # here, since the tables of `status` need no zones

    here, there = instant.astimezone(), instant.astimezone(ZoneInfo(zone))
    if there.utcoffset() == here.utcoffset():
        return ""
    day = f"{there:%Y-%m-%d} " if there.date() != here.date() else ""
    return f", {day}{there:%H:%M %z} in {zone}"


def seconds(duration_s: float | None) -> str:
    if duration_s is None:
        return ""
    if duration_s < 60:
        return f"{duration_s:.1f}s"
    minutes, rest = divmod(int(duration_s), 60)
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s"


def age(duration_s: float) -> str:
    """How long something has lasted, as roughly as one would say it."""
    minutes, second = divmod(int(max(0.0, duration_s)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second} s"


def listed(texts: Iterable[str], most: int = 5) -> str:
    """Some of many: what does not fit is counted."""
    found = list(texts)
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return ", ".join((*found[:most], *more))


def value_text(value: object) -> str:
    """The value of a unit's key as `set` takes it."""
    if isinstance(value, list | tuple):
        return ",".join(map(value_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return _span(value) if isinstance(value, float) else str(value)


def _span(duration_s: float) -> str:
    """A duration as a unit file spells it: 1h30m."""
    whole, milli = divmod(round(duration_s * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    parts = ((hours, "h"), (minute, "m"), (second, "s"), (milli, "ms"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
