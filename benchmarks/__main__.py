"""`python -m benchmarks [NAME...]`: the benchmarks by name, and the one table of all."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import calendar, commands, daemons, dispatch, handover, idle, load, throughput
from benchmarks.figures import Line, Options, main

BENCHMARKS: dict[str, Callable[[Options], list[Line]]] = {
    "dispatch": dispatch.measure,
    "throughput": throughput.measure,
    "handover": handover.measure,
    "idle": idle.measure,
    "daemons": daemons.measure,
    "commands": commands.measure,
    "load": load.measure,
    "calendar": calendar.measure,
}

if __name__ == "__main__":
    main(BENCHMARKS)
