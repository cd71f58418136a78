"""Whether the wall clock can be trusted right now: it is compared with the clock that nobody sets."""

from __future__ import annotations

import time

# A clock that is being slewed moves far less than this between two looks; a step moves more.
STEP_S = 0.5
SETTLE_S = 10.0


class Clocks:
    def __init__(self) -> None:
        self._offset_s = self._offset()
        self._moved_s: float | None = None

    def _offset(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def look(self) -> bool:
        """Notices a step; True when there was one since the last look."""
        offset_s = self._offset()
        stepped = abs(offset_s - self._offset_s) > STEP_S
        if stepped:
            self._moved_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._offset_s = offset_s
        return stepped

    def settled(self) -> bool:
        """Slots are claimed only when the clock has not been set for ten seconds."""
        return self._moved_s is None or time.clock_gettime(time.CLOCK_BOOTTIME) - self._moved_s > SETTLE_S
