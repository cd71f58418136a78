"""Whether the runner that told something lives. Apart, since `status` asks it and should load no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcsctl.runners import proc

if TYPE_CHECKING:
    from vcsctl.domain.daemon import DaemonState


def lives(state: DaemonState) -> bool:
    """Whether the runner that told this does: its pid alone may have become another's."""
    started = proc.process_started(state.runner)
    return started is not None and state.runner_started in (0, started)  # 0: as runners of a former version told
