"""Figures and how they are told: percentiles, one line per measure, the table. Measures nothing."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure; every benchmark takes what concerns it."""

    samples: int  # minutes with one slot due, at each number of units
    repetitions: int  # of what takes milliseconds
    idle_s: float  # how long to watch vcsd idle


@dataclass(frozen=True, slots=True)
class Line:
    """One measure: ours, the goal, and a peer from the same run."""

    number: str  # of the goal
    measure: str
    ours: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    peer: str = ""
    peer_value: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ours >= self.goal if self.more_is_better else self.ours <= self.goal

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer_value if self.peer_value else None


HEADER = ("GOAL", "MEASURE", "OURS", "LIMIT", "", "PEER", "OURS/PEER", "NOTE")


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured, not one in between."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 4
    return f"{value:,.{digits}f} {unit}"


def cells(line: Line) -> tuple[str, ...]:
    bound = (">= " if line.more_is_better else "<= ") + number(line.goal, line.unit) if line.goal is not None else "-"
    verdict = {True: "met", False: "MISSED", None: ""}[line.met]
    peer = f"{line.peer} {number(line.peer_value, line.unit) if line.peer_value is not None else ''}".strip()
    ratio = f"{line.ratio:.2f}" if line.ratio is not None else "-"
    return (
        line.number,
        line.measure,
        number(line.ours, line.unit),
        bound,
        verdict,
        peer or "-",
        ratio,
        line.note,
    )


def table(lines: Sequence[Line]) -> str:
    rows = [HEADER, *(cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(benchmarks: dict[str, Callable[[Options], list[Line]]]) -> None:
    """The command line of one benchmark, or of all of them."""
    parser = argparse.ArgumentParser(description="Measures vcsctl, with peers beside it where they are installed.")
    if len(benchmarks) > 1:
        parser.add_argument("only", nargs="*", help=f"some of: {', '.join(benchmarks)}; default: all")
    parser.add_argument("--samples", type=int, default=1, help="minutes with one slot due")
    parser.add_argument("--repetitions", type=int, default=20, help="of what takes milliseconds")
    parser.add_argument("--idle", type=float, default=30.0, metavar="SECONDS", help="how long to watch vcsd idle")
    parser.add_argument("--json", metavar="FILE", help="keep the results")
    arguments = parser.parse_args()
    chosen = getattr(arguments, "only", None) or list(benchmarks)
    if unknown := set(chosen) - set(benchmarks):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    options = Options(arguments.samples, arguments.repetitions, arguments.idle)
    lines: list[Line] = []
    for name in chosen:
        print(f"\n{name}", flush=True)
        found = benchmarks[name](options)
        print(table(found), flush=True)
        lines += found
        if arguments.json:
            kept = [{**asdict(line), "met": line.met, "ratio": line.ratio} for line in lines]
            Path(arguments.json).write_text(json.dumps(kept, indent=2) + "\n")
    if len(chosen) > 1:
        print(f"\nall\n{table(lines)}")
