"""Waits for what was requested, in the foreground: shows its place in the queue, its log, its outcome.

All that touches the shared directory is done by a child, and all that touches a log by another, since nodes may share
their directory too: here nothing hangs, and Ctrl-C ends the waiting alone.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import click

from vcsctl.cli.context import Context, show
from vcsctl.cli.fate import Fates
from vcsctl.cli.log_follow import follow_one
from vcsctl.cli.lookout import Lookout, Message, again, wait_for
from vcsctl.cli.tables import age, readable
from vcsctl.cli.terminal import Shown
from vcsctl.cli.waiting import LOOK_S, Progress, Sentence, on_interrupt, tell
from vcsctl.cli.whereabouts import sentence
from vcsctl.domain.run import Request
from vcsctl.errors import OK, VcsError
from vcsctl.runners.leftovers import log_path

_TELL_AFTER_S = 2.0  # of what starts at once and is over soon only the outcome is told
Entering = Callable[[], Iterator[Request | str]]


def attend(context: Context, entering: Entering, *, with_logs: bool) -> int:
    """Enters requests and waits for all of them; the exit code."""
    storage = f"the shared directory {context.config.shared_dir}"
    with contextlib.ExitStack() as stack:
        attending = _Attending(context.config.log_dir, with_logs, stack)
        lookout = stack.enter_context(Lookout(lambda: _looks(context, entering)))
        while not attending.is_over:
            wait_for([lookout, *attending.readings], LOOK_S)
            for message in lookout.messages(0.0):
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
    """One request: the last that was seen of it, and its run's log, read by a child."""

    key: str
    service: str
    seen: Message
    seen_s: float = 0.0
    reading: Lookout | None = None
    is_read: bool = False  # as far as it can be
    has_log: bool = False
    is_told: bool = False
    is_over: bool = False  # and all of it was said
    fault: str = ""  # what its storage answers instead
    rest: bytes = b""
    shown: Shown = field(default_factory=Shown)

    def see(self, message: Message) -> None:
        self.seen, self.seen_s = message, time.monotonic()

    @property
    def has_ended(self) -> bool:
        return bool(self.seen["state"] == "over")


def _goes_on(one: _Awaited) -> str:
    name = one.service
    if run := one.seen.get("run", ""):
        on = one.seen["node"]
        return f"{run} goes on; `vcsctl logs {name} -f` on {on} follows it, `vcsctl stop {name}` ends it"
    return f"{one.key} waits on; `vcsctl logs {name} -f` follows its run, `vcsctl cancel {name}` takes it back"


class _Attending:
    def __init__(self, log_dir: str, with_logs: bool, stack: contextlib.ExitStack) -> None:
        self._log_dir = log_dir
        self._with_logs = with_logs
        self._stack = stack
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
    def readings(self) -> list[Lookout]:
        return [one.reading for one in self._awaited.values() if one.reading is not None and not one.is_read]

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
            case {"request": str(request)}:
                self._awaited[request].see(message)

    def go_on(self) -> None:
        for request, one in self._awaited.items():
            if one.is_over:
                continue
            has_log = self._with_logs and bool(one.seen.get("run"))
            if has_log and not one.is_read:
                self._read_log(one)
            if one.has_ended and (one.is_read or not has_log):
                self._end(request, one)
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
            if one.reading is not None and one.reading.is_deaf and not one.is_read:
                found.append((f"{self._log_storage(one)} does not answer; waiting goes on", ""))
                continue
            if one.fault and not one.is_read:
                found.append((f"{one.fault}; waiting goes on", ""))
                continue
            since = f", {age(now - one.seen['at'])}" if one.seen.get("at") else ""
            match one.seen:
                case {"state": "waits", "place": place, "of": of, "why": why}:
                    if why != "starts next" or time.monotonic() - self._began_s > _TELL_AFTER_S:
                        found.append((f"{one.key}: {place} of {of} in the queue, {why}", since))
                case {"state": "runs", "run": run, "node": node, "at": at} if (
                    not one.has_log and now - at > _TELL_AFTER_S
                ):
                    found.append((f"{run} runs on {node}", since))
        return found

    def _farewell(self) -> str:
        self._progress.interrupt()
        return "\nvcsctl: ".join(_goes_on(one) for one in self._awaited.values() if not one.is_over)

    # The logs.

    def _log_storage(self, one: _Awaited) -> str:
        return f"the log directory {self._log_dir}/{one.service}"

    def _read_log(self, one: _Awaited) -> None:
        run = one.seen["run"]
        if one.reading is None:
            path = log_path(self._log_dir, one.key, run)
            reading = Lookout(lambda: follow_one(path, LOOK_S), storage=self._log_storage(one))
            one.reading = self._stack.enter_context(reading)
        until_s = time.monotonic() + LOOK_S / len(self._awaited)  # then what else there is to hear
        is_first = True
        try:
            while is_first or (not one.is_read and one.reading.is_ready and time.monotonic() < until_s):
                is_first = False
                for message in one.reading.messages(0.0):
                    if "data" in message:
                        self._print(one, message["data"].encode("latin-1"))
                    elif "fault" in message:
                        one.fault = message["fault"]
                    else:
                        self._heed_look(one, message)
        except VcsError as error:
            one.is_read = True
            self._say(str(error))
        if one.has_ended and one.fault and not one.is_read:
            one.is_read = True
            self._say(one.fault)
        if one.has_ended and one.reading.is_deaf and not one.is_read:
            one.is_read = True
            self._say(f"{run}: what it wrote since is not shown: {self._log_storage(one)} does not answer")

    def _heed_look(self, one: _Awaited, look: Message) -> None:
        """After all that was there at that look. One that began before what we know says nothing of it."""
        one.has_log = look["here"]
        if look["read_s"] < one.seen_s:
            return
        one.is_read = one.has_ended
        if not one.has_log and one.seen["log"] and not one.is_told:
            one.is_told = True
            self._say(sentence(one.seen["run"], one.seen["node"], one.seen["log"], is_over=one.has_ended))

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

    def _end(self, request: str, one: _Awaited) -> None:
        one.is_over, message = True, one.seen
        if self._with_logs and message["run"]:
            self._print(one, b"", is_last=True)
            if len(self._awaited) > 1 and one.rest:
                click.echo(self._prefix(one) + one.rest)
            elif one.rest not in (b"", b"\n") and sys.stdout.isatty():
                click.echo()  # what is said next is not to stand behind it
        self._answer(f"{message['run'] or request}: {message['outcome']}: {readable(message['why'])}")
