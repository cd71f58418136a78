"""Asks a daemon whether it is well: over TCP, over HTTP, or by a command. Never waits in the runner's main thread.

An answer is a text: empty when all is well, else what is wrong.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable

from vcsctl.domain.unit import Health, Probe
from vcsctl.runners import linux
from vcsctl.runners.daemon_machine import DaemonMachine, Helper
from vcsctl.runners.spawn import Command

_URL = re.compile(r"http://(\[[^\]]+\]|[^/:?#]+)(?::([0-9]+))?([/?][^#]*)?(?:#.*)?")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_LONGEST_STATUS_LINE = 1024


class Question:
    """One asking, under way. `command` is the probe's, if it has one; a text instead says why there is none."""

    def __init__(
        self, machine: DaemonMachine, probe: Probe | Health, command: Command | str | None, by_s: float
    ) -> None:
        self.by_s = by_s
        self._machine = machine
        self._answer: str | None = None
        self._helper: Helper | None = None
        self._ask: tuple[Callable[[str, float], str], str] | None = None  # not begun yet
        if isinstance(command, str):
            self._answer = command
        elif command is not None:
            try:
                self._helper = machine.start_helper(command)
            except OSError as error:
                self._answer = f"cannot start a process: {(error.strerror or str(error)).lower()}"
        elif probe.tcp is not None:
            self._ask = tcp, probe.tcp
        elif probe.http is not None:
            self._ask = http, probe.http

    def _begin(self) -> None:
        """Unless an older one of its kind, already given up, is not over: nothing ends a thread that waits for a
        name server, and there must not be more and more of them."""
        if self._ask is None:
            return
        ask, where = self._ask

        def work() -> None:
            self._answer = ask(where, max(0.001, self.by_s - self._machine.monotonic()))

        try:
            if self._machine.ask_beside(ask.__name__, work):
                self._ask = None
        except RuntimeError as error:  # as many threads as there may be
            self._answer = f"cannot ask: {error}"

    def answer(self) -> str | None:
        """None while there is none. What a command left behind is ended with it."""
        self._begin()
        if self._answer is not None:
            return self._answer
        if self._helper is not None and self._helper.status is not None:
            self._machine.end_helper(self._helper)
            self._answer = self._helper.fault or _exit_text(self._helper.status)
        elif self._machine.monotonic() >= self.by_s:
            if self._helper is not None:
                self._machine.end_helper(self._helper)
            older = ": an older probe hangs still, as when a name server does" if self._ask is not None else ""
            self._answer = f"no answer in time{older}"
        return self._answer


def _exit_text(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"killed by signal {linux.signal_name(-code)}"
    return f"exited with code {code}" if code else ""


def describe(probe: Probe | Health) -> str:
    if probe.tcp is not None:
        return f"tcp {probe.tcp}"
    return f"http {probe.http}" if probe.http is not None else f"exec {' '.join(probe.exec)}"


def tcp(address: str, timeout_s: float) -> str:
    try:
        _connect(address, timeout_s).close()
    except OSError as error:
        return _sentence(error)
    return ""


def http(url: str, timeout_s: float) -> str:
    """Whether a plain GET is answered by 2xx or 3xx. Only the status line is read."""
    match = _URL.fullmatch(url)
    if match is None:
        return f"cannot read the URL {url}"
    host, port, path = match[1], match[2] or "80", match[3] or "/"
    path = path if path.startswith("/") else f"/{path}"
    end_s = time.monotonic() + timeout_s
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: vcs\r\nConnection: close\r\n\r\n"
    line = b""
    try:
        with _connect(f"{host}:{port}", timeout_s) as connection:
            connection.sendall(request.encode())
            while b"\n" not in line and len(line) < _LONGEST_STATUS_LINE:
                connection.settimeout(max(0.001, end_s - time.monotonic()))
                if not (part := connection.recv(_LONGEST_STATUS_LINE)):
                    break
                line += part
    except OSError as error:
        return _sentence(error)
    status = _STATUS.match(line)
    if status is None:
        return "the answer is not HTTP"
    return "" if status[1][:1] in b"23" else f"status {status[1].decode()}"


def _connect(address: str, timeout_s: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    # As bytes: a text would be encoded by a codec that is not loaded yet, and a runner loads nothing.
    name = (host.strip("[]") or "localhost").encode()
    return socket.create_connection((name, int(port)), timeout=timeout_s)  # type: ignore[arg-type]


def _sentence(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
