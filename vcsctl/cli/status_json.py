"""Services as JSON. Gathers what only JSON and the details need; prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from vcsctl.cli import daemon_view
from vcsctl.cli.daemons import Instance
from vcsctl.cli.history import plain_row
from vcsctl.cli.overview import Line, Overview
from vcsctl.cli.status_facts import SLOTS, durations, last_rows, log_here, log_of, recent
from vcsctl.domain.run import to_text


def plain(overview: Overview, line: Line, instances: Sequence[Instance] | None, now: datetime) -> dict[str, Any]:
    of_a_daemon = {} if instances is None else {"instances": [daemon_view.plain(one) for one in instances]}
    next_slot = next(iter(overview.next_slots(line, now)), None)
    return {
        "status": line.status,
        "name": line.name,
        "title": line.title,
        "description": line.description,
        "provider": line.provider,
        "kind": line.kind,
        "schedule": line.schedule,
        "allowed_nodes": list(line.allowed_nodes),
        "run_groups": list(line.run_groups),
        "running": line.runs[0].value.run_id if line.runs else None,
        "runs": [{"id": run.value.run_id, "node": run.value.node, "since": to_text(run.at)} for run in line.runs],
        "last_run": plain_row(line.last_run) if line.last_run else None,
        "next_slot": to_text(next_slot) if next_slot else None,
        "queued_since": to_text(line.queued_since) if line.queued_since else None,
        "waits_for": line.waits_for or None,
        "overrides": {
            key: {"value": one.value, "by": one.by, "node": one.node, "at": to_text(one.at), "reason": one.reason}
            for key, one in line.overrides.items()
        },
        "notes": list(line.notes),
        **of_a_daemon,
    }


def plain_details(overview: Overview, line: Line, instances: Sequence[Instance]) -> dict[str, Any]:
    slots, rows = overview.next_slots(line, datetime.now(UTC), SLOTS), recent(overview, line.name)
    took = durations(rows)
    found: dict[str, Any] = {
        "keys": [_plain_key(overview, key) for key in overview.keys(line.name)],
        "next_slots": [to_text(slot) for slot in slots],
        "last_runs": [plain_row(row) for row in last_rows(rows)],
        "durations": {"runs": took.runs, "average_s": took.average_s, "longest_s": took.longest_s} if took else None,
    }
    if line.kind == "daemon":
        paths = {one.key: log_here(overview, one) for one in instances}
        return found | {"log_lines": {key: daemon_view.log_tail(path) if path else [] for key, path in paths.items()}}
    log = log_of(overview, line)
    tail = daemon_view.log_tail(log.path) if log and log.is_here else []
    return found | {"log": {"run": log.run_id, "node": log.node, "path": log.path, "lines": tail} if log else None}


def _plain_key(overview: Overview, key: str) -> dict[str, Any]:
    run, pending, last = overview.running.get(key), overview.pending.get(key), overview.last_of_key.get(key)
    return {
        "key": key,
        "running": run.value.run_id if run else None,
        "last_run": plain_row(last) if last else None,
        "queued_since": to_text(pending.place) if pending and pending.place else None,
        "waits_for": overview.waits_for(key) if pending else None,
    }
