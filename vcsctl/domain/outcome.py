"""What is on record of a run that was to start: its start, the wish that it end, its outcome. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from vcsctl.domain.run import CAUSES, Outcome


@dataclass(frozen=True, slots=True)
class Started:
    """Written before the command is executed; names the runner so that a new vcsd can find it."""

    pid: int
    pid_started: int
    boot_id: str
    at: datetime
    log: str
    fences: dict[str, int] = field(default_factory=dict)
    cgroup: str | None = None  # another vcsd, started otherwise, would look for it elsewhere
    node: str = ""  # where it runs: not where it was claimed, if that node died in between


@dataclass(frozen=True, slots=True)
class End:
    """The one outcome of a run; `state/KEY/FENCE.end.json`. Durations in seconds."""

    cause: str
    why: str
    node: str
    at: datetime
    started_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    peak_memory_kib: int | None = None
    queue_wait_s: float | None = None

    @property
    def outcome(self) -> Outcome:
        # A later version may know more causes; what it wrote must not end this one.
        return CAUSES[self.cause].outcome if self.cause in CAUSES else "failed"


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The wish that a run end, of an operator or of vcsd itself; `state/KEY/FENCE.stop`."""

    by: str
    node: str
    reason: str = ""
    cause: str = "stop-requested"

    @property
    def why(self) -> str:
        return f"stopped by {self.by} on {self.node}" + (f": {self.reason}" if self.reason else "")
