"""How many next slots a second are computed; beside croniter where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from benchmarks.figures import Line, Options, main
from vcsctl.domain.calendar import AtTimes, EveryMinutes, Schedule, next_slot

ZONE = "Europe/Berlin"
ENOUGH_S = 1.0
START = datetime(2026, 3, 1, tzinfo=UTC)


def measure(options: Options) -> list[Line]:
    cases: dict[str, tuple[Schedule, str]] = {
        "every 5 minutes": (EveryMinutes(5, 2, ZONE), "2-59/5 * * * *"),
        "three times a day": (AtTimes(("04:05", "12:30", "23:00"), (), ZONE), ""),
    }
    lines = []
    for what, (schedule, expression) in cases.items():
        ours = per_second(lambda at, schedule=schedule: next_slot(schedule, at), START)  # type: ignore[misc]
        peer = _croniter(expression) if expression else None
        name = "croniter" if peer else "croniter: not installed" if expression else ""
        lines.append(Line("-", f"next slots, {what}", ours, "/s", None, True, name, peer))
    return lines


def per_second(following: Callable[[datetime], datetime], start: datetime) -> float:
    count, at, began_s = 0, start, time.perf_counter()
    while (passed_s := time.perf_counter() - began_s) < ENOUGH_S:
        for _ in range(100):
            at = following(at)
        count += 100
    return count / passed_s


def _croniter(expression: str) -> float | None:
    if importlib.util.find_spec("croniter") is None:
        return None
    croniter = importlib.import_module("croniter").croniter
    walk = croniter(expression, START.astimezone(ZoneInfo(ZONE)))
    return per_second(lambda _: walk.get_next(datetime), START)


if __name__ == "__main__":
    main({"calendar": measure})
