"""A cell as vcsd and runners leave it on a disk, for tests of what commands show; no vcsd runs here."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sites import Site

from vcsctl.domain.daemon import DaemonState
from vcsctl.domain.history import Row
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.run import Claim, Request
from vcsctl.domain.unit import Unit, allowed_on, key_of, to_plain
from vcsctl.store import cell, daemons, files, history, last_runs, nodes, override_change, queue, records, running
from vcsctl.store.nodes import NodeState, NodeUnits
from vcsctl.store.paths import Paths

NOW = datetime.now(UTC)
SINCE = NOW - timedelta(hours=2)


class Files:
    """Nodes a and b are up, c is silent for an hour. Commands are given on node a."""

    def __init__(self, root: Path, *units: Unit, environment: Mapping[str, str] | None = None) -> None:
        self.site = Site(root, environment=environment)
        self.site.configure("node: a\n")
        self.site.shared.mkdir(parents=True)
        self.paths = Paths(str(self.site.shared))
        cell.make_cell(self.paths)
        (self.site.root / "run/vcs/daemons").mkdir(parents=True)
        for node in "abc":
            self.beat(node)
        self.declare(*units)
        silent = time.time() - 3600
        os.utime(self.paths.node("c"), (silent, silent))

    # What nodes and their daemons say.

    def beat(self, node: str, **changed: Any) -> None:
        nodes.publish_state(self.paths, replace(NodeState(node, 1, f"boot {node}", 1, SINCE, 600.0), **changed))

    def declare(self, *units: Unit, missing: str | None = None, on: str = "abc") -> None:
        for node in on:
            rows = {
                unit.name: {
                    "plain": to_plain(unit),
                    **dict.fromkeys(("masked", "stale", "broken"), False),
                    "key": key_of(unit, node) if allowed_on(unit, node, ()) else "",
                    "schedule_digest": "",
                    "missing": missing,
                }
                for unit in units
            }
            nodes.publish_units(self.paths, NodeUnits(node, "UTC", rows))

    def publish(self, node: str, *told: DaemonState) -> None:
        daemons.publish(self.paths, daemons.NodeDaemons(node, told))

    def told(self, key: str, node: str, fence: int = 1, **changed: Any) -> DaemonState:
        state = DaemonState(f"{key}.{fence}", key, node, "up", SINCE, os.getpid(), 4711, SINCE)
        return replace(state, **changed)

    def tell_here(self, state: DaemonState) -> None:
        daemons.tell(str(self.site.root / "run/vcs/daemons"), state)

    # What ran, runs, waits, and was changed by hand.

    def ended(
        self, key: str, node: str, cause: str, outcome: Any, why: str, fence: int = 1, at: datetime = SINCE, **more: Any
    ) -> None:
        row = Row(f"{key}.{fence}", key, key.partition("@")[0], outcome, cause, why, at, node, "daemon")
        row = replace(row, **more)
        history.append(self.paths, node, [row], check=False)
        last_runs.append(self.paths, node, [row])

    def runs(
        self,
        key: str,
        node: str,
        fence: int = 1,
        groups: tuple[str, ...] = (),
        at: datetime = SINCE,
        requests: tuple[str, ...] = (),
    ) -> None:
        name = key.partition("@")[0]
        claim = Claim(key, fence, name, node, "manual", "requested", requests=requests, groups=groups, unit={})
        running.enter(self.paths, claim)
        _date(self.paths.running_index(claim.run_id), at)

    def claimed(self, claim: Claim, at: datetime) -> None:
        files.make_folder(self.paths.state(claim.key))
        records.publish(self.paths.claim(claim.key, claim.fence), claim)
        _date(self.paths.claim(claim.key, claim.fence), at)

    def waits(self, key: str, at: datetime = SINCE, request: str = "r0000000001") -> None:
        queue.enter_request(self.paths, Request(request, key, key.partition("@")[0], "eve", "a"))
        _date(f"{self.paths.queue}/{key}.{request}.json", at)

    def overridden(self, name: str, key: str, value: Any, declared: Any, reason: str = "") -> None:
        field = FieldOverride(value, declared, "eve", "a", SINCE, reason)
        files.make_folder(self.paths.overrides)
        override_change.change_override(self.paths, name, lambda _before, moment: Override({key: field}, moment))

    # What commands say.

    def shown(self, *arguments: str) -> str:
        done = self.site.vcsctl(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", done.stdout)

    def line(self, name: str) -> str:
        """Its line of the table, from the sixth column on."""
        line = next(line for line in self.shown("status").splitlines() if f" {name} " in line)
        return re.split(r"\s{2,}", line.strip())[5]

    def instances(self, name: str) -> dict[str, dict[str, Any]]:
        answer = json.loads(self.site.vcsctl("status", name, "--output", "json").stdout)
        return {one["node"]: one for one in answer["services"][0]["instances"]}


def _date(path: str, at: datetime) -> None:
    """By the file server's clock it was there since then."""
    os.utime(path, (at.timestamp(), at.timestamp()))
