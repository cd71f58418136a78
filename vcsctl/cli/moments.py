"""Moments as an operator types them: ISO 8601, a time of day, or how long ago. Knows no service."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from vcsctl.domain.values import parse_duration
from vcsctl.errors import UsageError

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_DAYS = re.compile(r"([0-9]{1,4})d")


def past(option: str, text: str | None, now: datetime) -> datetime | None:
    """Without an offset in this machine's zone; of a time of day the last one."""
    if text is None:
        return None
    if match := _TIME_OF_DAY.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups())
        then = now.astimezone().replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0)
        return min(
            then.astimezone(UTC), (then - timedelta(days=1)).astimezone(UTC), key=lambda at: (at > now, now - at)
        )
    length = text.removesuffix("ago").strip()
    try:
        if match := _DAYS.fullmatch(length):
            return now - timedelta(days=int(match[1]))
        if length != text or not re.fullmatch(r"[0-9]{8}|.*[-:].*", text):
            return now - timedelta(seconds=parse_duration(length))
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        hint = "write for example 2026-03-29T01:00, 14:30, 2h, 3d or `15m ago`"
        raise UsageError(f"{option}: cannot read {text!r} as a moment; {hint}") from None
