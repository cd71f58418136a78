"""vcsd's own log: a line when something changes, none when it only looks. Never raises."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime

_of = ""  # which of vcsd's processes speaks


def speak_as(name: str) -> None:
    """From now on each line of this process says whose it is."""
    global _of
    _of = f"{name}: "


def say(text: str) -> None:
    """One line with the time in UTC on standard error; a closed pipe silences it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{now} {_of}{text}\n")
        sys.stderr.flush()
