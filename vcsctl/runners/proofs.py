"""Proves a run's locks again and again and looks for a stop request, in a thread of its own. Stops nothing itself.

The thread exists because a hung mount hangs the calls: the runner's main thread, which touches no shared
storage while the command runs, sees from `began_s` how old the last good proof is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from vcsctl.domain.run import StopRequest
from vcsctl.errors import NoSpaceError, StorageError
from vcsctl.store.locks import Grant


def clock() -> float:
    """Seconds by the boot-time clock: it goes on while the machine sleeps, as a lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Proofs:
    def __init__(self, grant: Grant, look_for_stop: Callable[[], StopRequest | None], wake: Callable[[], None]) -> None:
        self.began_s = clock()
        self.failed: str | None = None
        self.stop: StopRequest | None = None
        self._grant = grant
        self._look_for_stop = look_for_stop
        self._wake = wake
        self._hurry = threading.Event()
        self._running = False

    def prove(self) -> None:
        """One proof now, in the caller's thread. Raises StorageError when the locks may be another's."""
        began_s = clock()
        with contextlib.suppress(NoSpaceError):  # a full disk proves nothing, neither that we hold nor that we lost
            self._grant.prove()
            self.began_s = began_s

    def watch(self, period_s: float) -> None:
        """Starts the thread, once. After the command has been started, since a fork copies no thread."""
        if not self._running:
            self._running = True
            threading.Thread(target=self._watch, args=(period_s,), daemon=True).start()

    def hurry(self) -> None:
        """Look now instead of at the next turn."""
        self._hurry.set()

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
                self._wake()
            self._hurry.wait(period_s)
            self._hurry.clear()
