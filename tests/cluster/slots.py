"""Slots that are due at once, so that no test waits for a minute to come."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from cell import Cell

HOURS_AGO_S = 3 * 3600


def hourly(text: str) -> str:
    """A unit whose last slot was half an hour ago, and whose next one is as far away."""
    return f"schedule: periodical\nperiod: 60\nalign: {(datetime.now(UTC).minute + 30) % 60}\n{text}"


def make_due(cell: Cell, node: str, *keys: str) -> None:
    """Starts the node as if its schedules were hours old: what was due meanwhile starts late, at once."""
    cell.start(node)
    cell[node].stop()
    for key in keys:
        for path in cell.shared.glob(f"state/{key}/since.*"):
            before = time.time() - HOURS_AGO_S
            os.utime(path, (before, before))
    cell.start(node)
