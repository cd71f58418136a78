"""How the loop sleeps. Nothing else."""

from __future__ import annotations

import select
import time


def wait_for_events(poller: select.epoll, pause_s: float) -> list[int]:
    """Sleeps until something happens, or to the instant itself: epoll rounds up to milliseconds."""
    coarse_s = max(0.0, pause_s - 0.0015)
    events = [descriptor for descriptor, _ in poller.poll(coarse_s)]
    if not events and pause_s > 0:
        time.sleep(min(pause_s, 0.0015))
    return events
