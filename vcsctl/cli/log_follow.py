"""Which logs are wanted, and reading them on as they grow: for a child, since the directory of the logs may hang too.
Prints nothing; asks no shared directory.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from vcsctl.cli import log_files
from vcsctl.cli.log_files import Log, Tail
from vcsctl.cli.lookout import Look, Message, again
from vcsctl.cli.whereabouts import is_here
from vcsctl.errors import StorageError, UsageError, VcsError

_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """The last `lines` of what a service wrote: of the newest run, of one, or of all that wrote `since_s`."""

    log_dir: str
    name: str
    run_id: str | None
    since_s: float | None
    lines: int | None

    @property
    def storage(self) -> str:
        return f"the log directory {self._folder}"

    @property
    def _folder(self) -> str:
        return f"{self.log_dir}/{self.name}"

    def of(self, there: Sequence[Log], answered: Callable[[], None] = lambda: None) -> list[Log]:
        if self.run_id is not None:
            found = [log for log in there if log.number is not None and log.name == self.run_id]
            if not found and (whole := [log for log in there if log.number is None]):
                raise UsageError(
                    f"{self.name} is a daemon: its log {whole[0].path} goes on over all its runs; leave --run out"
                )
            return found
        if self.since_s is None:
            return log_files.newest_of_each(there)[-1:]
        aside, moments = log_files.put_aside(self._folder), dict[str, float]()
        for log in there:
            answered()
            moments[log.path] = log_files.written_at_s(log.path, aside)
        recent = [log for log in there if moments[log.path] >= self.since_s]
        return sorted(recent, key=lambda log: moments[log.path])

    def parts(self, logs: Sequence[Log], answered: Callable[[], None] = lambda: None) -> list[tuple[Log, str, int]]:
        """The files that hold these lines of these logs, and from which byte on."""
        found: list[list[tuple[Log, str, int]]] = []
        aside, left = log_files.put_aside(self._folder), self.lines
        for log in reversed(logs):  # each by itself: the last line of one may have no end
            if left == 0 and found:
                break
            answered()
            paths = log_files.parts_of(log.path, aside)
            if self.since_s is not None and log.number is None:
                paths = log_files.parts_since(log.path, self.since_s, aside)
            number, at, left = log_files.start_of(paths, left, answered)
            found.append([(log, path, at if place == 0 else 0) for place, path in enumerate(paths[number:])])
        return [part for of_log in reversed(found) for part in of_log]


def follow(wanted: Wanted) -> Iterator[Message]:
    """First what there is, then what is added; after each look since when that has all been read."""
    try:
        there = log_files.logs_of(wanted.log_dir, wanted.name)
        chosen = wanted.of(there)
        yield {"there": bool(there), "chosen": [_plain(log) for log in chosen]}
        notes = list[str]()
        following = _Following(wanted, there, notes.append)
        yield from _with_notes(following.begin(chosen), notes)
    except OSError as error:
        raise VcsError(_cannot_read(wanted.log_dir, error)) from None

    def look() -> Iterator[Message]:
        began_s = time.monotonic()
        yield from _with_notes(following.go_on(), notes)
        yield {"read_s": began_s}

    yield from again(_told(look, f"{wanted.log_dir}/{wanted.name}"), _PAUSE_S)


def _with_notes(messages: Iterator[Message], notes: list[str]) -> Iterator[Message]:
    for message in chain(messages, ({},)):
        while notes:
            yield {"note": notes.pop(0)}
        yield message


def follow_one(log: str, pause_s: float) -> Iterator[Message]:
    """The same of one log, which may not be here or not yet."""
    tail = None

    def look() -> Iterator[Message]:
        nonlocal tail
        began_s = time.monotonic()
        if tail is None and is_here(log):
            for data in log_files.text_of(log_files.parts_of(log)[:-1]):  # of one that has grown large already
                yield {"data": data.decode("latin-1")}
            tail = Tail(log)
        for data in tail.new() if tail else ():
            yield {"data": data.decode("latin-1")}
        yield {"read_s": began_s, "here": tail is not None}

    yield from again(_told(look, log), pause_s)


def _told(look: Look, where: str) -> Look:
    """With a sentence for what the system says: a shared log directory may answer again, and a log that was just
    removed is listed no more."""

    def looks() -> Iterator[Message]:
        try:
            yield from look()
        except OSError as error:
            raise StorageError(_cannot_read(where, error)) from None

    return looks


def _cannot_read(where: str, error: OSError) -> str:
    return f"cannot read {error.filename or where}: {(error.strerror or str(error)).lower()}"


class _Following:
    """The newest log of each KEY, and the next one when its run begins."""

    def __init__(self, wanted: Wanted, there: Sequence[Log], damaged: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._damaged = damaged
        self._there = there
        self._seen = {log.path for log in there}
        self._tails: dict[str, tuple[Log, Tail]] = {}

    def begin(self, chosen: Sequence[Log]) -> Iterator[Message]:
        """What is there; and follows the newest log of each KEY from then on."""
        followed = {log.path: log for log in log_files.newest_of_each(chosen)}
        for log, path, at in self._wanted.parts(chosen):
            if path in followed:
                self._tails[log.key] = (log, Tail(path, at, self._damaged))
                yield from self._read_on(log.key)
                continue
            for data in log_files.text_of([path], at, self._damaged):
                yield _message(log, data)
        for log in log_files.newest_of_each(self._there) if self._wanted.run_id is None else ():
            if log.key not in self._tails:
                self._tails[log.key] = (log, Tail(log.path, os.path.getsize(log.path), self._damaged))

    def go_on(self) -> Iterator[Message]:
        there = log_files.logs_of(self._wanted.log_dir, self._wanted.name)
        begun = [log for log in there if log.path not in self._seen]
        gone = dict[str, OSError]()
        for key in self._tails:
            try:
                yield from self._read_on(key)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                gone[key] = error  # removed on another node: the log of the next run takes its place
        for log in begun if self._wanted.run_id is None else ():
            tail = Tail(log.path, 0, self._damaged)
            self._seen.add(log.path)
            if log.key in self._tails:
                self._tails.pop(log.key)[1].close()  # all of it was read after the next one had begun
            self._tails[log.key] = (log, tail)
            gone.pop(log.key, None)
            yield from self._read_on(log.key)
        for fault in gone.values():
            raise fault

    def _read_on(self, key: str) -> Iterator[Message]:
        log, tail = self._tails[key]
        for data in tail.new():
            yield _message(log, data)


def _message(log: Log, data: bytes) -> Message:
    return {"log": _plain(log), "data": data.decode("latin-1")}


def _plain(log: Log) -> tuple[str, str, int | None]:
    return log.path, log.key, log.number
