"""The local socket: wakes vcsd, asks it to reload, hurries a stop. One line of JSON in, one out, at once or when
what was asked for is done. Who may connect is a matter of the socket's mode."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from vcsctl.errors import UsageError

_LONGEST = 4096
_LONGEST_PATH = 107  # the kernel's sun_path, with its final NUL
_MOST_CLIENTS = 64
_PATIENCE_S = 2.0  # a command says what it wants at once: who has not by then gives way when the room is needed
_READING_PATIENCE_S = 5.0  # so long a command waits for its answer: who has not read it by then does not want it
Reply = Callable[[dict[str, Any]], None]
Handler = Callable[[dict[str, Any], Reply], None]  # replies once, now or later


class Control:
    def __init__(self, path: str, poller: select.epoll, handle: Handler) -> None:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise UsageError(f"{path} is too long for a socket (at most {_LONGEST_PATH} bytes); use a shorter --root")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # we hold the node's lock: whoever left it is gone
        self._poller = poller
        self._handle = handle
        self._clients: dict[int, socket.socket] = {}
        self._give_up_s: dict[int, float] = {}  # of both: until when they may keep their place
        self._unsent: dict[int, tuple[socket.socket, memoryview]] = {}  # the rest of answers that were long
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._server.bind(path)
        os.chmod(path, 0o660)
        self._server.listen(_MOST_CLIENTS)
        poller.register(self._server, select.EPOLLIN)

    def take(self, descriptors: list[int]) -> None:
        """Raises OSError when this machine has no descriptor to give; who was not heard is heard at the next call."""
        for descriptor in descriptors:
            if descriptor in self._clients:
                self._serve(descriptor)
            elif descriptor in self._unsent:
                self._send_on(descriptor)
        if self._server.fileno() in descriptors:
            self._accept()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            client, _ = self._server.accept()
            self._drop_the_slow()
            if len(self._clients) + len(self._unsent) >= _MOST_CLIENTS:
                client.close()
                return
            client.setblocking(False)
            self._clients[client.fileno()] = client
            self._give_up_s[client.fileno()] = time.monotonic() + _PATIENCE_S
            self._poller.register(client, select.EPOLLIN)

    def _drop_the_slow(self) -> None:
        now_s = time.monotonic()
        for descriptor in [one for one, give_up_s in self._give_up_s.items() if give_up_s < now_s]:
            del self._give_up_s[descriptor]
            client = self._clients.pop(descriptor, None) or self._unsent.pop(descriptor)[0]
            self._poller.unregister(client)
            client.close()

    def _serve(self, descriptor: int) -> None:
        """A request is one short line: what does not come in one piece is refused."""
        client = self._clients.pop(descriptor)
        del self._give_up_s[descriptor]
        self._poller.unregister(client)

        def reply(answer: dict[str, Any]) -> None:
            self._unsent[descriptor] = (client, memoryview(json.dumps(answer).encode() + b"\n"))
            self._give_up_s[descriptor] = time.monotonic() + _READING_PATIENCE_S
            self._poller.register(client, select.EPOLLOUT)
            self._send_on(descriptor)

        try:
            request = json.loads(client.recv(_LONGEST))
        except (OSError, ValueError, RecursionError):
            request = None
        if isinstance(request, dict):
            self._handle(request, reply)
        else:
            reply({"error": "not a request"})

    def _send_on(self, descriptor: int) -> None:
        """As much as the client's buffer takes; the rest when it has read that."""
        client, rest = self._unsent[descriptor]
        try:
            rest = rest[client.send(rest) :]
        except BlockingIOError:
            return
        except OSError:  # it has gone
            rest = rest[:0]
        self._unsent[descriptor] = (client, rest)
        if not rest:
            del self._unsent[descriptor], self._give_up_s[descriptor]
            self._poller.unregister(client)
            client.close()


def ask(path: str, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any] | None:
    """Asks the vcsd of this machine; None when none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, contextlib.suppress(OSError, ValueError):
        client.settimeout(timeout_s)
        client.connect(path)
        client.sendall(json.dumps(request).encode())
        answer: dict[str, Any] = json.loads(client.makefile().readline())
        return answer
    return None
