"""What really ran, told by the jobs over a serial line and stamped here on arrival. Asks no machine for the time.

One thread reads all the lines, so that their order is the order in which they came.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.channel import connect
from tests.checker import Execution


@dataclass(slots=True)
class Seen:
    """One execution so far. `last_at`: when it was last heard; it may have lived a little longer."""

    run: str
    unit: str
    machine: str
    slot: str | None
    attempt: int
    fences: dict[str, int]
    began_at: float
    last_at: float
    ended: bool = False
    termed_at: float | None = None


class Oracle:
    def __init__(self, groups: Callable[[str], Iterable[str]]) -> None:
        self._groups = groups
        self._seen: list[Seen] = []
        self._turn = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._pending: dict[str, bytes] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def listen(self, machine: str, path: Path) -> None:
        self._pending[machine] = b""
        self._selector.register(connect(path), selectors.EVENT_READ, machine)

    def forget(self, machine: str) -> None:
        """The machine is off; its line says nothing any more."""
        self._pending.pop(machine, None)

    def seen(self, unit: str | None = None, machine: str | None = None) -> list[Seen]:
        with self._turn:
            found = list(self._seen)
        return [one for one in found if unit in (None, one.unit) and machine in (None, one.machine)]

    def executions(self) -> list[Execution]:
        """For the checker. One that was killed ended when it was last heard: an overlap that is told is a real one."""
        return [
            Execution(
                one.run,
                one.unit,
                one.machine,
                frozenset(self._groups(one.unit)),
                one.slot,
                one.attempt,
                one.began_at,
                one.last_at,
                one.fences,
            )
            for one in self.seen()
        ]

    def _read(self) -> None:
        while True:
            if not self._selector.get_map():
                time.sleep(0.1)  # no machine is on yet
                continue
            for key, _ in self._selector.select(timeout=0.5):
                try:
                    chunk = key.fileobj.recv(65536)  # type: ignore[union-attr]
                except OSError:
                    chunk = b""
                if not chunk:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    continue
                now = time.monotonic()
                *lines, rest = (self._pending.get(key.data, b"") + chunk).split(b"\n")
                self._pending[key.data] = rest
                for line in lines:
                    self._take(key.data, line.decode(errors="replace").split(), now)

    def _take(self, machine: str, words: list[str], now: float) -> None:
        if len(words) < 3 or words[0] != "vcs":
            return
        said = dict(word.split("=", 1) for word in words[2:] if "=" in word)
        with self._turn:
            if words[1] == "begin":
                fences = {name[6:]: int(number) for name, number in said.items() if name.startswith("fence.")}
                slot = None if said["slot"] == "-" else said["slot"]
                run, unit, attempt = said["run"], said["unit"], int(said["attempt"])
                self._seen.append(Seen(run, unit, machine, slot, attempt, fences, now, now))
                return
            for one in reversed(self._seen):
                if (one.run, one.machine) == (said.get("run"), machine):
                    one.last_at = now
                    one.ended = one.ended or words[1] == "end"
                    if words[1] == "term" and one.termed_at is None:
                        one.termed_at = now
                    return
