"""What only the details of one service need: its last runs, how long they took, where its log lies. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from vcsctl.cli.daemons import Instance
from vcsctl.cli.overview import Line, Overview
from vcsctl.domain.history import Row
from vcsctl.runners.leftovers import log_path, log_path_of_daemon
from vcsctl.store import history

SLOTS, RUNS = 3, 5
_LOOK_BACK = 1000  # rows of history: days of a service that runs each minute


@dataclass(frozen=True, slots=True)
class Durations:
    """Of the newest runs, whatever became of them."""

    runs: int
    average_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Log:
    """Of one run. `path` is where it lies on its node, if that is set up as this machine is."""

    run_id: str
    node: str
    path: str

    @property
    def is_here(self) -> bool:
        return os.path.isfile(self.path)


def recent(overview: Overview, name: str) -> list[Row]:
    """What is on record of it, the newest first."""
    return list(islice(history.read(overview.paths, name), _LOOK_BACK))


def last_rows(rows: Sequence[Row]) -> list[Row]:
    """The newest runs and missed slots, the newest last."""
    found = islice((row for row in rows if row.is_run or row.outcome == "missed"), RUNS)
    return list(found)[::-1]


def durations(rows: Sequence[Row]) -> Durations | None:
    took = [row.duration_s for row in rows if row.is_run and row.duration_s is not None]
    return Durations(len(took), round(sum(took) / len(took), 3), max(took)) if took else None


def log_of(overview: Overview, line: Line) -> Log | None:
    """Of the run that goes on, this machine's own first; else of the newest that is over."""
    config = overview.context.config
    found = [(run.value.key, run.value.run_id, run.value.node) for run in line.runs]
    if not found and line.last_run is not None:
        found = [(line.last_run.key, line.last_run.id, line.last_run.node)]
    found.sort(key=lambda run: run[2] != config.node)
    for key, run_id, node in found:
        return Log(run_id, node, log_path(config.log_dir, key, run_id))
    return None


def log_here(overview: Overview, instance: Instance) -> str:
    """The path of a daemon's log on this machine; empty where it is another's."""
    config = overview.context.config
    return log_path_of_daemon(config.log_dir, instance.key) if instance.node == config.node else ""
