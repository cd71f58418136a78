"""The clocks of a node: the only place where vcsd's loop asks what time it is, and whether that can be trusted."""

from __future__ import annotations

import time
from datetime import UTC, datetime

# A clock that is being slewed moves far less than this between two looks; a step moves more.
STEP_S = 0.5
SETTLE_S = 10.0


class Clocks:
    """`now` is for slots and records; durations and patience are measured with clocks that nobody sets."""

    def __init__(self) -> None:
        self._offset_s = self._offset()
        self._moved_s: float | None = None

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        """Goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _offset(self) -> float:
        return self.now().timestamp() - self.boottime()

    def look(self) -> bool:
        """Notices a step; True when there was one since the last look."""
        offset_s = self._offset()
        stepped = abs(offset_s - self._offset_s) > STEP_S
        if stepped:
            self._moved_s = self.boottime()
        self._offset_s = offset_s
        return stepped

    def settled(self) -> bool:
        """Slots are claimed only when the clock has not been set for ten seconds."""
        return self._moved_s is None or self.boottime() - self._moved_s > SETTLE_S
