"""The line before each log where several are shown, as tail has it: whose it is and what became of that run, by what is
on record. The logs can be read while the shared directory hangs: then the lines say no more than whose each is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from datetime import datetime

from vcsctl.cli.context import Context, answered
from vcsctl.cli.log_files import Log
from vcsctl.cli.lookout import Lookout, Message
from vcsctl.cli.tables import local
from vcsctl.cli.waiting import tell
from vcsctl.errors import VcsError
from vcsctl.store import history, running, state
from vcsctl.store.records import Faults

_PATIENCE_S = 10.0  # the logs are what is waited for
_LOOK_S = 0.5
_ROWS_A_SIGN = 1000


class Heads:
    def __init__(self, context: Context, service: str) -> None:
        self._context = context
        self._service = service
        self._known: dict[str, str] = {}
        self._answers = True

    def of(self, log: Log) -> str:
        if log.name not in self._known:
            self.learn([log])
        return f"==> {self._known[log.name]} <=="

    def learn(self, logs: Collection[Log]) -> None:
        """Of many at once, which takes as long as of one."""
        runs = {log.name for log in logs if log.number is not None}
        if runs and self._answers:
            self._answers = False  # unless all is told without a fault
            with contextlib.suppress(VcsError), Lookout(lambda: self._look(set(runs))) as lookout:
                give_up_s = time.monotonic() + _PATIENCE_S
                while not (lookout.is_over or lookout.is_deaf) and time.monotonic() < give_up_s:
                    answered()  # it is not the logs that are slow
                    for message in lookout.messages(_LOOK_S):
                        self._known |= message
                self._answers = lookout.is_over
                if not self._answers:
                    why = "does not answer" if lookout.is_deaf else f"was not read through in {_PATIENCE_S:g} s"
                    tell(f"the shared directory {why}: of logs without more it is said only which run's they are")
        for log in logs:
            self._known.setdefault(log.name, log.name)

    def _look(self, runs: set[str]) -> Iterator[Message]:
        """In a child."""
        paths = self._context.paths
        for stored in running.live(paths, Faults()).values():
            claim = stored.value
            if claim.run_id in runs:
                runs.discard(claim.run_id)
                started = state.read_started(paths, claim.key, claim.fence)
                yield {claim.run_id: _words(claim.run_id, started.at if started else stored.at, claim.node, "running")}
        for number, row in enumerate(history.read(paths, self._service) if runs else ()):
            if number % _ROWS_A_SIGN == 0:
                yield {}
            if row.id in runs:
                runs.discard(row.id)
                yield {row.id: _words(row.id, row.started_at or row.at, row.node, row.outcome)}
                if not runs:
                    return


def _words(run_id: str, at: datetime, node: str, outcome: str) -> str:
    return f"{run_id}, {local(at)}, {node}, {outcome}"
