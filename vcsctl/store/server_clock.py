"""This machine's clock beside the file server's, which judges slots. Sets no clock, remembers nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from vcsctl.store.files import named_faults
from vcsctl.store.paths import TEMPORARY_PREFIX

_TICK_S = 0.01  # kernels stamp files by a clock that moves a hundred times a second at the slowest


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """This machine's clock less the file server's, known to plus or minus `doubt_s`."""

    offset_s: float
    doubt_s: float

    @property
    def at_least_s(self) -> float:
        """How far off the clock is for certain."""
        return max(0.0, abs(self.offset_s) - self.doubt_s)


def measure_offset(
    folder: str,
    samples: int = 3,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> ClockOffset:
    """Some calls and nothing left behind. The quickest of a few answers is the surest one.

    A directory is made for it and not a file: a server may let the client stamp a file that it writes, and the
    client's own clock would be found right.
    """
    path = f"{folder}/{TEMPORARY_PREFIX}clock.{os.urandom(6).hex()}"
    best: ClockOffset | None = None
    with named_faults("read the file server's clock in", folder):
        for _ in range(samples):
            began_s, before_s = monotonic(), wall()
            os.mkdir(path, 0o700)
            half_s = (monotonic() - began_s) / 2
            try:
                server_s = os.stat(path).st_mtime_ns / 1e9
            finally:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            if best is None or half_s + _TICK_S < best.doubt_s:
                best = ClockOffset(before_s + half_s - server_s, half_s + _TICK_S)
    assert best is not None
    return best
