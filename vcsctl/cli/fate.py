"""What becomes of requests, seen on the shared directory: their place in the queue, their run, their outcome.

Works in the child of a `Lookout`: yields messages, prints nothing, and may hang.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from vcsctl.cli.context import Context
from vcsctl.cli.lookout import Message
from vcsctl.cli.overview import Overview
from vcsctl.cli.whereabouts import log_of
from vcsctl.domain.history import Row, rows
from vcsctl.domain.nodes import CLOCK_LIMIT_S
from vcsctl.domain.run import CANCELLED, CAUSES, Dropped, Request, parse_run_id, too_late
from vcsctl.errors import CANNOT_START, EXPIRED, FAILED, LOST, OK, SKIPPED, TIMED_OUT
from vcsctl.store import files, history
from vcsctl.store.queue import QueueReader
from vcsctl.store.records import Faults
from vcsctl.store.state import StateReader

_LOOK_BACK_ROWS = 200  # a command waits for what it asked for, which is among the newest
_PLACE_EVERY_S = 1.0
_QUEUE_EVERY_S = 1.0


def exit_code(outcome: str, cause: str, code: int | None, signal: int | None) -> int:
    """What a command ends with that waited for a run. Where the outcome is not ok it is never 0."""
    if outcome == "ok":
        return OK
    if outcome in ("missed", "skipped", "lost", "timeout"):
        return {"missed": EXPIRED, "skipped": SKIPPED, "lost": LOST, "timeout": TIMED_OUT}[outcome]
    if cause == "cannot-start":
        return CANNOT_START
    if cause == "stopped-before-start":
        return SKIPPED
    return 128 + signal if signal else code or FAILED


class Fates:
    """Of some requests, until each has its outcome."""

    def __init__(self, context: Context, requests: list[Request]) -> None:
        self._context = context
        self._left = requests
        self._reader = StateReader(context.paths, Faults())
        self._seen: dict[str, Any] = {}
        self._told: dict[str, Message] = {}
        self._began_s = time.monotonic()  # later than any of them was entered
        self._next_place_s = 0.0
        self._queued: set[str] = set()
        self._queue_again_s = 0.0

    def look(self) -> Iterator[Message]:
        """What is new since the last look."""
        if time.monotonic() >= self._queue_again_s:
            self._list_queue()
        waiting = []
        for request in list(self._left):
            message = self._of(request) or self._too_late(request)
            if message is None:
                waiting.append(request)
            elif message != self._told.get(request.id):
                self._told[request.id] = message
                yield message
            if message and message["state"] == "over":
                self._left.remove(request)
        if waiting and time.monotonic() >= self._next_place_s:
            began_s = time.monotonic()
            yield from self._places(waiting)
            took_s = time.monotonic() - began_s  # of many units: a command is not to use a processor up by waiting
            self._next_place_s = began_s + max(_PLACE_EVERY_S, 10 * took_s)
        if not self._left:
            yield {"state": "all over"}

    def _list_queue(self) -> None:
        """Of many entries it is long, and others list it too."""
        self._queued = set(files.names(self._context.paths.queue)) if self._left else set()
        self._queue_again_s = time.monotonic() + _QUEUE_EVERY_S

    def _of(self, request: Request) -> Message | None:
        """None while it waits in the queue. Nothing is read where no name has come or gone."""
        paths = self._context.paths
        queued_as = os.path.basename(paths.request(request.key, request.id))
        names = files.entries(paths.state(request.key))
        seen = self._seen.get(request.id)
        if seen == (queued_as in self._queued, names):
            return self._told.get(request.id)
        if seen is None or seen[1] != names:
            self._list_queue()
            names = files.entries(paths.state(request.key))  # after it: what takes a request out says so there first
        is_queued = queued_as in self._queued
        self._seen[request.id] = is_queued, names
        found = self._reader.read(request.key)
        for claim in found.closes:
            for dropped in claim.dropped:
                if dropped.request == request.id:
                    return _dropped(request, dropped)
        if found.run is not None and request.id in found.run.value.requests:
            claim, end = found.run.value, found.end
            if end is not None:
                row = next(row for row in rows(claim, found.run.at, end.value) if row.is_run)
                return self._over(request, row)
            return {
                "state": "runs" if found.started else "starts",
                "request": request.id,
                "run": claim.run_id,
                "node": found.runs_on,
                "log": found.started.value.log if found.started else "",
                "at": found.started.value.at.timestamp() if found.started else 0.0,
            }
        return None if is_queued else self._recorded(request)

    def _too_late(self, request: Request) -> Message | None:
        """Its time is over, and no node starts it any more: on record that comes with the next claim of its KEY, which
        may be long in coming, while its own run goes on or no vcsd is there."""
        if request.within_s is None or time.monotonic() < self._began_s + request.within_s + CLOCK_LIMIT_S:
            return None
        pending = QueueReader(self._context.paths, Faults()).read_key(request.key)
        for queued in pending.requests if pending else ():
            if queued.request.id == request.id and queued.expires_at:
                cause, why = "too-late", too_late(queued.expires_at)
                if queued.cancelled:
                    cause, why = "cancelled", CANCELLED
                return _dropped(request, Dropped(cause, why, request=request.id))
        return None  # it has left the queue by now

    def _recorded(self, request: Request) -> Message | None:
        """By the history: later runs may have followed, and the records of this one may be pruned."""
        for row in islice(history.read(self._context.paths, request.service), _LOOK_BACK_ROWS):
            if request.id in row.requests and (row.is_run or row.cause != "coalesced"):
                return self._over(request, row)
        return None

    def _over(self, request: Request, row: Row) -> Message:
        key, fence = parse_run_id(row.id) or ("", 0)
        return {
            "state": "over",
            "request": request.id,
            "run": row.id if row.is_run else "",
            "node": row.node,
            "log": log_of(self._context, key, fence, row.id) if row.is_run else "",
            "outcome": row.outcome,
            "why": row.why,
            "code": exit_code(row.outcome, row.cause, row.exit_code, row.signal),
        }

    def _places(self, waiting: list[Request]) -> Iterator[Message]:
        for stale in ("nodes", "catalogs"):
            self._context.__dict__.pop(stale, None)
        overview = Overview(self._context)
        keys = [pending.key for pending in overview.queue]
        for request in waiting:
            run = overview.running.get(request.key)
            if run is not None and request.id in run.value.requests:
                continue  # it was taken up since: its entry is only on its way out
            if request.key in overview.pending:
                place = overview.pending[request.key].place
                yield {
                    "state": "waits",
                    "request": request.id,
                    "place": keys.index(request.key) + 1,
                    "of": len(keys),
                    "at": place.timestamp() if place else 0.0,
                    "why": overview.waits_for(request.key),
                }


def _dropped(request: Request, dropped: Dropped) -> Message:
    outcome = CAUSES[dropped.cause].outcome if dropped.cause in CAUSES else "skipped"
    code = exit_code(outcome, dropped.cause, None, None)
    return {"state": "over", "request": request.id, "run": "", "outcome": outcome, "why": dropped.why, "code": code}
