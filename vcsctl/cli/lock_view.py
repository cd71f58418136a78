"""What `status` says of `vcsctl lock`: who holds groups by hand, and who waits to. Gathers; prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vcsctl.cli.layout import Column, Row, shown_table
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import local
from vcsctl.cli.terminal import paint
from vcsctl.domain.run import is_lock, to_text

_COLUMNS = (
    Column("LOCK", 12),
    Column("RUN GROUPS", 10),
    Column("NODE", 4, leaves=2),
    Column("SINCE", 19, leaves=1),
    Column("WHAT", 20),
)


def lock_lines(overview: Overview) -> Iterator[str]:
    """A section of its own, where there is anything to say."""
    waits = {one.key: overview.waits_for(one.key) for one in overview.queue if is_lock(one.key)}
    rows = [
        Row((run.value.run_id, ", ".join(run.value.groups), run.value.node, local(run.at), run.value.why))
        for run in overview.locks
    ]
    rows += [
        Row((one.key, ", ".join(one.groups), queued.request.node, local(queued.entered_at), waits[one.key]))
        for one in overview.queue
        for queued in (one.requests if is_lock(one.key) else ())
    ]
    if rows:
        yield paint("strong", "Locks")
        yield from shown_table(_COLUMNS, rows, 2).lines
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
