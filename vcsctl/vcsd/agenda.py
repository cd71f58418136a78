"""Which KEY is to be looked at when. Memory only: whatever is missing here costs one poll, never a run."""

from __future__ import annotations

import heapq


class Agenda:
    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._moment: dict[str, float] = {}

    def put(self, key: str, moment_s: float) -> None:
        """At that instant (seconds since 1970) the KEY is due; what was planned for it before falls away."""
        if self._moment.get(key) != moment_s:
            self._moment[key] = moment_s
            heapq.heappush(self._heap, (moment_s, key))

    def take_due(self, now_s: float) -> set[str]:
        due = set()
        while self._heap and self._heap[0][0] <= now_s:
            moment_s, key = heapq.heappop(self._heap)
            if self._moment.get(key) == moment_s:
                del self._moment[key]
                due.add(key)
        return due

    @property
    def next_s(self) -> float | None:
        return self._heap[0][0] if self._heap else None
