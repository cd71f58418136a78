"""What `status` says of `vcsctl lock`: who holds groups by hand, and who waits to. Gathers; prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import local, table
from vcsctl.domain.run import is_lock, to_text

_HEADER = ("LOCK", "RUN GROUPS", "NODE", "SINCE", "WHAT")


def lock_lines(overview: Overview) -> Iterator[str]:
    """A section of its own, where there is anything to say."""
    rows = [
        (run.value.run_id, ", ".join(run.value.groups), run.value.node, local(run.at), run.value.why)
        for run in overview.locks
    ]
    rows += [
        (one.key, ", ".join(one.groups), queued.request.node, local(queued.entered_at), overview.waits_for(one.key))
        for one in overview.queue
        for queued in (one.requests if is_lock(one.key) else ())
    ]
    if rows:
        yield "Locks"
        yield from (f"  {text}" for text in table(_HEADER, rows))
        yield ""


def plain_locks(overview: Overview) -> list[dict[str, Any]]:
    """Those that are held; the `queue` has those that wait."""
    return [
        {
            "id": run.value.run_id,
            "run_groups": list(run.value.groups),
            "node": run.value.node,
            "since": to_text(run.at),
            "why": run.value.why,
        }
        for run in overview.locks
    ]
