"""The two ways into a machine: its agent (commands) and QEMU's own monitor (cables, power). Decides nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any


class NoAnswerError(Exception):
    """A machine did not answer in time, or is off."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was run on a machine. `code` None: it took too long and was killed, or could not be run."""

    code: int | None
    output: str
    took_s: float

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        return self.output.strip()


def connect(path: Path, patience_s: float = 20.0) -> socket.socket:
    """QEMU makes its sockets a moment after it was started."""
    give_up_s = time.monotonic() + patience_s
    while True:
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(str(path))
            return one
        except OSError as error:
            one.close()
            if time.monotonic() > give_up_s:
                raise NoAnswerError(f"{path.name}: {error}") from None
            time.sleep(0.05)


class Lines:
    """JSON lines over a socket, read by a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._turn = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, content: dict[str, Any]) -> None:
        try:
            with self._turn:
                self._socket.sendall((json.dumps(content) + "\n").encode())
        except OSError as error:
            raise NoAnswerError(f"the machine is off: {error}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def received(self, content: dict[str, Any]) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        raise NotImplementedError

    def _read(self) -> None:
        pending = b""
        try:
            while chunk := self._socket.recv(65536):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    with contextlib.suppress(ValueError):  # half a line from before a reboot
                        self.received(json.loads(line))
        except OSError:
            pass
        self.ended()


class Agent(Lines):
    """Runs shell commands on the machine, several at once."""

    def __init__(self, path: Path) -> None:
        self.ready = threading.Event()
        self._waiting: dict[int, Queue[Done | None]] = {}
        self._numbers = itertools.count(1)
        super().__init__(path)

    def run(self, command: str, *, timeout_s: float, input: str = "") -> Done:  # noqa: A002 - as subprocess calls it
        if not self.ready.is_set():
            raise NoAnswerError(f"the agent has not come up, asked for: {command[:80]}")
        number, reply = next(self._numbers), Queue[Done | None](1)
        self._waiting[number] = reply
        self.send({"id": number, "command": command, "timeout_s": timeout_s, "input": input})
        try:
            done = reply.get(timeout=timeout_s + 30)  # the agent gives up first, and says what it saw
        except Empty:
            done = None
        finally:
            self._waiting.pop(number, None)
        if done is None:
            raise NoAnswerError(f"no answer to: {command[:80]}")
        return done

    def received(self, content: dict[str, Any]) -> None:
        if content["id"] == 0:
            self.ready.set()
        elif reply := self._waiting.get(content["id"]):
            reply.put(Done(content["code"], content["output"], content["took_s"]))

    def ended(self) -> None:
        self.ready.clear()
        for reply in list(self._waiting.values()):
            reply.put(None)


class Monitor(Lines):
    """QEMU's monitor protocol, one question at a time."""

    def __init__(self, path: Path) -> None:
        self._replies: Queue[dict[str, Any]] = Queue()
        super().__init__(path)
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> None:
        self.send({"execute": command, "arguments": arguments})
        try:
            reply = self._replies.get(timeout=20)
        except Empty:
            raise NoAnswerError(f"QEMU does not answer {command}") from None
        if "error" in reply:
            raise NoAnswerError(f"QEMU refuses {command}: {reply['error'].get('desc')}")

    def received(self, content: dict[str, Any]) -> None:
        if "return" in content or "error" in content:
            self._replies.put(content)

    def ended(self) -> None:
        self._replies.put({"error": {"desc": "it has ended"}})
