"""Waits for what was requested, in the foreground: shows its place in the queue, its log, its outcome.

All that touches the shared directory is done by a child: here nothing hangs, and Ctrl-C ends the waiting alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import click

from vcsctl.cli.context import Context, show
from vcsctl.cli.fate import Fates
from vcsctl.cli.log_files import Tail, parts_of, text_of
from vcsctl.cli.lookout import Lookout, Message, again
from vcsctl.cli.tables import age
from vcsctl.cli.terminal import Shown
from vcsctl.cli.waiting import LOOK_S, Progress, Sentence, on_interrupt, tell
from vcsctl.cli.whereabouts import is_here, sentence
from vcsctl.domain.run import Request
from vcsctl.errors import OK
from vcsctl.runners.leftovers import log_path

_TELL_AFTER_S = 2.0  # of what starts at once and is over soon only the outcome is told
Entering = Callable[[], Iterator[Request | str]]


def attend(context: Context, entering: Entering, *, with_logs: bool) -> int:
    """Enters requests and waits for all of them; the exit code."""
    attending = _Attending(context.config.log_dir, with_logs)
    storage = f"the shared directory {context.config.shared_dir}"
    with Lookout(lambda: _looks(context, entering)) as lookout:
        while not attending.is_over:
            for message in lookout.messages(LOOK_S):
                attending.heed(message)
            attending.deaf = f"{storage} does not answer; waiting goes on" if lookout.is_deaf else ""
            attending.go_on()
    return attending.code


def _looks(context: Context, entering: Entering) -> Iterator[Message]:
    """In the child."""
    requests = []
    for said in entering():
        if isinstance(said, Request):
            requests.append(said)
            yield {"state": "requested", "request": said.id, "key": said.key, "service": said.service}
        else:
            yield {"state": "said", "text": said}
    yield {"state": "all requested"}
    yield from again(Fates(context, requests).look, LOOK_S)


@dataclass(slots=True)
class _Awaited:
    """One request: the last that was seen of it, and its run's log once that is there."""

    key: str
    service: str
    seen: Message
    tail: Tail | None = None
    is_told: bool = False
    rest: bytes = b""
    shown: Shown = field(default_factory=Shown)

    @property
    def is_over(self) -> bool:
        return bool(self.seen["state"] == "over")


def _goes_on(one: _Awaited) -> str:
    name = one.service
    if run := one.seen.get("run", ""):
        on = one.seen["node"]
        return f"{run} goes on; `vcsctl logs {name} -f` on {on} follows it, `vcsctl stop {name}` ends it"
    return f"{one.key} waits on; `vcsctl logs {name} -f` follows its run, `vcsctl cancel {name}` takes it back"


class _Attending:
    def __init__(self, log_dir: str, with_logs: bool) -> None:
        self._log_dir = log_dir
        self._with_logs = with_logs
        self._awaited: dict[str, _Awaited] = {}
        self._progress = Progress()
        self._began_s = time.monotonic()
        self._all_requested = False
        self._fault = ""
        self.deaf = ""

    @property
    def is_over(self) -> bool:
        return self._all_requested and all(one.is_over for one in self._awaited.values())

    @property
    def code(self) -> int:
        codes = [one.seen["code"] for one in self._awaited.values()]
        return next(filter(None, codes), OK)

    def heed(self, message: Message) -> None:
        match message:
            case {"fault": str(fault)}:
                self._fault = f"{fault}; waiting goes on" if fault else ""
            case {"state": "said", "text": str(text)}:
                self._say(text)
            case {"state": "requested", "request": str(request), "key": str(key), "service": str(service)}:
                self._awaited[request] = _Awaited(key, service, message)
                self._answer(f"{key}: requested ({request})")
                on_interrupt(self._farewell)
            case {"state": "all requested"}:
                self._all_requested = True
            case {"state": "over", "request": str(request)}:
                self._end(request, self._awaited[request], message)
            case {"request": str(request)}:
                self._awaited[request].seen = message

    def go_on(self) -> None:
        for one in self._awaited.values():
            if self._with_logs and not one.is_over and one.seen.get("run"):
                self._print_log(one)
        self._progress.show(self._sentences())

    # What is said.

    def _answer(self, text: str) -> None:
        """The answer itself; beside a log it is no part of that."""
        if self._with_logs:
            self._say(text)
        else:
            self._progress.clear()
            show(text)

    def _say(self, text: str) -> None:
        self._progress.clear()
        tell(text)

    def _sentences(self) -> list[Sentence]:
        now, found = time.time(), list[Sentence]()
        if self.deaf or self._fault:
            return [(self.deaf or self._fault, "")]
        for one in self._awaited.values():
            since = f", {age(now - one.seen['at'])}" if one.seen.get("at") else ""
            match one.seen:
                case {"state": "waits", "place": place, "of": of, "why": why}:
                    if why != "starts next" or time.monotonic() - self._began_s > _TELL_AFTER_S:
                        found.append((f"{one.key}: {place} of {of} in the queue, {why}", since))
                case {"state": "runs", "run": run, "node": node, "at": at} if (
                    one.tail is None and now - at > _TELL_AFTER_S
                ):
                    found.append((f"{run} runs on {node}", since))
        return found

    def _farewell(self) -> str:
        self._progress.interrupt()
        return "\nvcsctl: ".join(_goes_on(one) for one in self._awaited.values() if not one.is_over)

    # The logs.

    def _print_log(self, one: _Awaited) -> None:
        if one.tail is None:
            one.tail = self._open(one)
        for data in one.tail.new() if one.tail else ():
            self._print(one, data)

    def _open(self, one: _Awaited) -> Tail | None:
        run, log = one.seen["run"], one.seen["log"]
        if is_here(path := log_path(self._log_dir, one.key, run)):
            for data in text_of(parts_of(path)[:-1]):  # of a log that has grown large already
                self._print(one, data)
            return Tail(path)
        if log and not one.is_told:
            one.is_told = True
            self._say(sentence(run, one.seen["node"], log, is_over=one.is_over))
        return None

    def _print(self, one: _Awaited, data: bytes, *, is_last: bool = False) -> None:
        data = one.shown.of(data, is_last=is_last)
        if not data:
            return
        self._progress.clear()
        if len(self._awaited) == 1:
            one.rest = data[-1:]
            click.echo(data, nl=False)
            return
        *lines, one.rest = (one.rest + data).split(b"\n")
        for line in lines:
            click.echo(self._prefix(one) + line)

    def _prefix(self, one: _Awaited) -> bytes:
        width = max(len(other.key) for other in self._awaited.values())
        return f"{one.key:<{width}} | ".encode()

    def _end(self, request: str, one: _Awaited, message: Message) -> None:
        one.seen = message
        if self._with_logs and message["run"]:
            self._print_log(one)
            self._print(one, b"", is_last=True)
            if len(self._awaited) > 1 and one.rest:
                click.echo(self._prefix(one) + one.rest)
            elif one.rest not in (b"", b"\n") and sys.stdout.isatty():
                click.echo()  # what is said next is not to stand behind it
        self._answer(f"{message['run'] or request}: {message['outcome']}: {message['why']}")
