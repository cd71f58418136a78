"""What the jobs of `job.py` saw, and what the cell has on record, as a history for the checker. Judges nothing itself."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from checker import Asked, Claimed, Execution, Forbidden, History, Recorded, violations

JOB = Path(__file__).with_name("job.py")


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that has said that it begins; the pids are its own and its runner's."""

    execution: Execution
    pid: int
    runner: int
    overlaps: tuple[str, ...]


class Witness:
    """Keeps its records in `folder`, outside of every shared directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.events = folder / "events"

    def command(self, groups: str = "", seconds: float = 0.0, manner: str = "") -> str:
        """For `exec:` of a unit."""
        words = [
            sys.executable,
            "-I",
            "-S",
            str(JOB),
            str(self.folder),
            groups,
            f"{seconds:g}",
            *([manner] if manner else []),
        ]
        return json.dumps(words)

    def begun(self) -> dict[str, Begun]:
        """Run → the job, in the order of beginning; `ended_at` where it has said so."""
        found: dict[str, Begun] = {}
        for line in self._lines():
            match line:
                case ["begin", run, node, groups, slot, attempt, fences, pid, runner, overlaps, moment]:
                    execution = Execution(
                        *(run, run.rpartition(".")[0], node, frozenset(_words(groups)), slot if slot != "-" else None),
                        *(int(attempt), int(moment) / 1e9, None),
                        fences={group: int(number) for group, _, number in map(_pair, _words(fences))},
                    )
                    # A second beginning of one run must not hide the first: the checker is to see both.
                    name = run if run not in found else f"{run} again at {moment}"
                    found[name] = Begun(execution, int(pid), int(runner), tuple(_words(overlaps)))
                case ["end", run, moment]:
                    name = next(name for name in reversed(found) if found[name].execution.run == run)
                    ended = replace(found[name].execution, ended_at=int(moment) / 1e9)
                    found[name] = replace(found[name], execution=ended)
        return found

    def told_at(self, run: str) -> float | None:
        """When a deaf job was told to stop."""
        return next((int(line[2]) / 1e9 for line in self._lines() if line[:2] == ["told", run]), None)

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self.events.read_text().splitlines()] if self.events.exists() else []

    def executions(self, now: float) -> list[Execution]:
        """Who was killed said no end: it is known to be gone when another has got what it had locked."""
        begun = self.begun().values()
        users: dict[str, list[float]] = defaultdict(list)
        for one in (one.execution for one in begun if not one.overlaps):
            for name in (f"KEY {one.key}", *one.groups):
                users[name].append(one.began_at)
        found = []
        for one in (one.execution for one in begun):
            if one.ended_at is None:
                later = [at for name in (f"KEY {one.key}", *one.groups) for at in users[name] if at > one.began_at]
                one = replace(one, ended_at=min(later, default=now))
            found.append(one)
        return found

    def overlaps(self) -> list[str]:
        return [
            f"together, by the kernel's lock: {name.replace('_', ' ')} was another's when {run} began"
            for run, begun in self.begun().items()
            for name in begun.overlaps
        ]


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word and word != "-"]


def _pair(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def recorded(shared: Path) -> list[Recorded]:
    """Every row of every node's history, as readers merge them: two nodes may have written one and the same row."""
    rows: dict[str, Recorded] = {}
    for path in sorted(shared.glob("history/*/*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[json.dumps(row, sort_keys=True)] = Recorded(
                *(row["id"], row["key"], row["outcome"], row["cause"], row.get("slot"), row.get("attempt", 1)),
                tuple(row.get("requests", ())),
                last=row.get("last"),
            )
    return list(rows.values())


def claimed(shared: Path) -> list[Claimed]:
    """The runs whose claims are there still."""
    found, true_clock = [], time.monotonic() - time.time()
    for path in shared.glob("state/*/[0-9]*.json"):
        if path.name.endswith(".end.json"):
            continue
        with contextlib.suppress(FileNotFoundError):  # pruned meanwhile, since the history has it
            claim, at = json.loads(path.read_text()), path.stat().st_mtime + true_clock
            if claim.get("unit"):
                found.append(Claimed(f"{claim['key']}.{claim['fence']}", at))
    return found


def broken_promises(
    witness: Witness, shared: Path, now: float, asked: list[Asked], forbidden: list[Forbidden]
) -> list[str]:
    history = History(
        witness.executions(now), recorded(shared), claimed(shared), asked, forbidden=forbidden, seen_until=now
    )
    return witness.overlaps() + violations(history)
