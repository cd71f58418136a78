"""Proves a run's locks again and again and looks for a stop request, beside the runner. Stops nothing itself.

Beside it because a hung mount hangs the calls: the runner's main thread, which touches no shared storage while
the command runs, sees from `began_s` how old the last good proof is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from vcsctl.domain.outcome import StopRequest
from vcsctl.errors import NoSpaceError, StorageError
from vcsctl.runners.machine import Machine
from vcsctl.store.locks import Grant


class Proofs:
    def __init__(self, grant: Grant, look_for_stop: Callable[[], StopRequest | None], machine: Machine) -> None:
        self.began_s = machine.boottime()
        self.failed: str | None = None
        self.stop: StopRequest | None = None
        self._grant = grant
        self._look_for_stop = look_for_stop
        self._machine = machine
        self._hurry = machine.hurry()
        self._running = False

    def age_s(self) -> float:
        """Seconds since the last good proof began."""
        return self._machine.boottime() - self.began_s

    def prove(self) -> None:
        """One proof now, in the caller's thread. Raises StorageError when the locks may be another's."""
        began_s = self._machine.boottime()
        with contextlib.suppress(NoSpaceError):  # a full disk proves nothing, neither that we hold nor that we lost
            self._grant.prove()
            self.began_s = max(self.began_s, began_s)  # the other thread's may have begun later and be back already

    def watch(self, period_s: float) -> None:
        """Begins to prove them again and again, once."""
        if not self._running:
            self._running = True
            self._machine.run_beside(lambda: self._watch(period_s))

    def hurry(self) -> None:
        """Look now instead of at the next turn."""
        self._hurry.now()

    def _watch(self, period_s: float) -> None:
        while True:
            try:
                self.prove()
            except StorageError as error:
                self.failed = self.failed or str(error)
            # A listing that fails says nothing of the locks; a run that goes on without them can still be stopped.
            with contextlib.suppress(StorageError):
                self.stop = self.stop or self._look_for_stop()
            if self.failed or self.stop:
                self._machine.wake()
            self._hurry.wait(period_s)
