"""vcsd's own log: a line when something changes, none when it only looks. Never raises."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """One line with the time in UTC on standard error; a closed pipe silences it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{now} {text}\n")
        sys.stderr.flush()
