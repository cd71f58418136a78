"""How the daemons of the cell are, gathered: what their runners tell, beside what is declared and on record.
Prints nothing.

On this machine the runners' own files are read. Of other nodes counts what their vcsd published, for as long as it is
not silent: nothing is said to be up of which nobody has said so for three heartbeats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vcsctl.cli.tables import local
from vcsctl.domain.daemon import DaemonState
from vcsctl.domain.history import Row
from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.errors import StorageError
from vcsctl.runners import alive
from vcsctl.store import daemons, files
from vcsctl.store.paths import RESET, Paths

if TYPE_CHECKING:
    from vcsctl.cli.context import Context
    from vcsctl.cli.overview import Line, Overview

UP = ("up", "reloading")
# What a run ended with after which it is not started again by itself, and how its daemon is called then.
_RESTING = {
    "start-limit": "failed",
    "stop-requested": "stopped",
    "stopped-before-start": "stopped",
    "exited": "exited",
    "cannot-start": "failed",
    "timeout": "failed",
    "exit-code": "failed",
    "signal": "failed",
    "not-ready": "failed",
    "unhealthy": "failed",
}
# The state words, beside the phases that a runner tells: `disabled`, `masked`, `drained`, `program missing`, `waits`,
# `stands by`, `not running`, `unknown` (its node is silent), and those of _RESTING.


@dataclass(frozen=True, slots=True)
class Instance:
    """One daemon on one node: its state in a word, and why where that word is not enough.

    `told` is what its runner last said; of a silent node that is no longer true, and `state` is `unknown`.
    """

    key: str
    node: str
    state: str
    since: datetime | None = None
    why: str = ""
    told: DaemonState | None = None
    last: Row | None = None

    @property
    def is_up(self) -> bool:
        return self.state in UP


def own_daemons(context: Context) -> dict[str, DaemonState]:
    """Run id → what the living runners of this machine tell. Needs no shared directory."""
    found = {}
    for run_id, stored in daemons.told_here(context.where.daemons).items():
        if alive.lives(stored.value):  # one that was killed leaves its file behind
            found[run_id] = stored.value
    return found


class Daemons:
    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._context = overview.context

    @cached_property
    def own(self) -> dict[str, DaemonState]:
        return own_daemons(self._context)

    @cached_property
    def _told(self) -> dict[str, DaemonState]:
        """KEY → what is told of its newest run."""
        own_node, found = self._context.config.node, dict[str, DaemonState]()
        for node, stored in daemons.published(self._context.paths).items():
            if node not in self._context.nodes:
                continue
            for told in stored.value.daemons:
                if node != own_node:
                    _keep_newer(found, told)
                elif fresher := self.own.get(told.run_id):
                    _keep_newer(found, replace(fresher, cpu_s=told.cpu_s, memory_kib=told.memory_kib))
        for told in self.own.values():
            _keep_newer(found, told)
        return found

    def of(self, line: Line) -> list[Instance]:
        """A daemon on each node that may run it, by node; on those that still run it too."""
        places = self._context.catalogs.rows(line.name)
        keys = {key for key in self._told if service_of(key) == line.name} | set(self._overview.keys(line.name))
        if any("@" in key for key in keys):
            known = {row["key"]: (node, row) for node, row in places.items() if row["key"]}
            keys.discard(line.name)  # of a former declaration with `run_on: any`, unless it still runs
            keys |= {line.name} & (self._told.keys() | self._overview.running.keys())
            return [self._instance(line, key, *known.get(key, (key.partition("@")[2], {}))) for key in sorted(keys)]
        return list(self._of_any(line, line.name, places))

    def _of_any(self, line: Line, key: str, places: dict[str, dict[str, Any]]) -> Iterator[Instance]:
        """One of its nodes has it, the others stand by."""
        allowed = {node: row for node, row in sorted(places.items()) if row["key"] == key}
        told, run = self._told.get(key), self._overview.running.get(key)
        active = told.node if told else run.value.node if run else ""
        given_up = run.value.failed_on if run else ()
        if active:
            yield self._instance(line, key, active, places.get(active, {}))
        for node, row in allowed.items():
            if node == active:
                continue
            instance = self._at_rest(line, key, node, row)
            if active and instance.state in ("not running", "waits", *_RESTING.values()):
                instance = Instance(key, node, "stands by", why=f"active on {active}")
                if node in given_up:
                    instance = Instance(key, node, "failed", why="at its start limit there")
            yield instance

    def _instance(self, line: Line, key: str, node: str, row: dict[str, Any]) -> Instance:
        told, run = self._told.get(key), self._overview.running.get(key)
        last = self._overview.last_of_key.get(key)
        silence = self._silence(node)
        if told is not None and (not silence or told.run_id in self.own):
            return Instance(key, told.node, told.phase, told.since, "", told, last)
        if told is not None:
            why = f"{silence}; it was {told.phase} then, since {local(told.since)}"
            return Instance(key, told.node, "unknown", None, why, told, last)
        if run is not None and not silence:
            return Instance(key, node, "starting", run.at, f"as {run.value.run_id}", None, last)
        if run is not None:
            return Instance(key, node, "unknown", None, f"{silence}; {run.value.run_id} is on record there", None, last)
        return self._at_rest(line, key, node, row)

    def _at_rest(self, line: Line, key: str, node: str, row: dict[str, Any]) -> Instance:
        """Of one that has no run, as far as known."""
        last = self._overview.last_of_key.get(key)
        known, silence = self._context.nodes.get(node), self._silence(node)
        if line.status != "enabled":
            return Instance(key, node, line.status, last=last)
        if silence and node != self._context.config.node:
            return Instance(key, node, "unknown", None, silence, last=last)
        if not row.get("key"):
            return Instance(key, node, "not running", None, f"node {node} may not run it any more", last=last)
        if row.get("missing"):
            return Instance(key, node, "program missing", None, row["missing"], last=last)
        if known is not None and (known.asked_to_drain or known.is_drained):
            return Instance(key, node, "drained", None, f"node {node} is drained{known.drain_words}", last=last)
        if last is not None and last.cause in _RESTING and not self._is_reset(line, last):
            return Instance(key, node, _RESTING[last.cause], last.at, last.why, last=last)
        if known is not None and known.hindrance:
            return Instance(key, node, "not running", None, f"node {node}: {known.hindrance}", last=last)
        waits = self._overview.waits_for(key)
        state = "waits" if waits.startswith("waits for") else "not running"
        return Instance(key, node, state, None, waits, last=last)

    def _silence(self, node: str) -> str:
        known = self._context.nodes.get(node)
        if known is None:
            return f"node {node} is not known"
        if not known.is_silent:
            return ""
        return f"node {node} is silent since {local(known.beat.at)}" if known.beat else f"node {node} has no heartbeat"

    def _is_reset(self, line: Line, last: Row) -> bool:
        """Whether an operator has reset it since. Of a daemon that needs no share only its own node knows."""
        run = parse_run_id(last.id)
        roots = [self._context.paths.root]
        if last.node == self._context.config.node:
            roots.append(self._context.where.local_cell)
        try:
            return run is not None and any(
                f"{run[1]}{RESET}" in files.names(Paths(root).state(run[0])) for root in roots
            )
        except StorageError:
            return False


def _keep_newer(found: dict[str, DaemonState], told: DaemonState) -> None:
    before, run = found.get(told.key), parse_run_id(told.run_id)
    known = parse_run_id(before.run_id) if before else None
    if run is not None and run[0] == told.key and (known is None or run[1] > known[1]):
        found[told.key] = told
