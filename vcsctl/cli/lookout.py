"""A child that looks at a storage again and again and tells what it sees: one that hangs hangs the child
alone, and whoever waits still answers, says so, and ends on Ctrl-C. Judges and prints nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any

from vcsctl.cli.child import begin, write_all
from vcsctl.errors import OK, StorageError, VcsError
from vcsctl.runners import linux

DEAF_AFTER_S = 4.0  # a storage that has not answered for so long is said to hang
_LATE_S = 1.0  # who listens again so much later than agreed was stopped, or busy: that is no silence of the storage

Message = dict[str, Any]
Look = Callable[[], Iterator[Message]]


class Lookout:
    """What `look` yields in a child, as it comes. An empty message is a sign of life, and is not passed on.

    A fault that the child raises is raised here, with its sentence and its exit code, after what it had said before.
    `dies_by` is the signal that ends it before it is over. `storage`: what it looks at, if not the shared directory.
    """

    def __init__(self, look: Look, *, dies_by: int = signal.SIGKILL, storage: str = "") -> None:
        self._child = begin(lambda pipe: _tell(look, pipe), dies_by=dies_by)
        self._dies_by = dies_by
        self._storage = storage or "the shared directory"
        self._buffer = b""
        self._raised: Message | None = None
        self._heard_s = self._listened_s = time.monotonic()
        self.is_over = False

    def __enter__(self) -> Lookout:
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        if self.is_over:
            return
        if not self._child.given_up:
            self._child.give_up(self._dies_by)
        self._child.leave()

    def give_up(self) -> None:
        self._child.give_up()

    @property
    def is_ready(self) -> bool:
        return wait_for([self], 0.0)

    @property
    def silent_s(self) -> float:
        """For how long nothing has come while somebody listened."""
        return self._listened_s - self._heard_s

    @property
    def is_deaf(self) -> bool:
        return not self.is_over and self.silent_s > DEAF_AFTER_S

    def messages(self, patience_s: float) -> list[Message]:
        """What has come, waiting no longer than that for the first of it."""
        if self._raised is not None:
            raise _fault(self._raised)
        if self.is_over:
            time.sleep(patience_s)
            return []
        has_come = wait_for([self], patience_s)
        now_s = time.monotonic()
        if now_s - self._listened_s > patience_s + _LATE_S:
            self._heard_s += now_s - self._listened_s
        self._listened_s = now_s
        if not has_come:
            return []
        self._heard_s = now_s
        data = self._child.take()
        if not data:
            self._see_end()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        found = [message for message in map(json.loads, lines) if message]
        if found and "raised" in found[-1]:  # it says nothing after that
            self._raised = found.pop()
            return found or self.messages(patience_s)
        return found

    def _see_end(self) -> None:
        self.is_over = True
        if (code := self._child.end()) < 0:
            raise VcsError(f"what looked at {self._storage} was killed by {linux.signal_name(-code)}; try again")


def wait_for(lookouts: Sequence[Lookout], patience_s: float) -> bool:
    """Until one of them has something to tell, be it a part of a message, and no longer than that."""
    pipes = [one._child.pipe for one in lookouts if not one.is_over]
    return bool(select.select(pipes, [], [], patience_s)[0])


def _fault(message: Message) -> Exception:
    if message["code"] is None:
        return RuntimeError(message["raised"])
    fault = VcsError(message["raised"])
    fault.exit_code = message["code"]
    return fault


def _tell(look: Look, pipe: int) -> int:
    """In the child."""
    messages = look()
    try:
        for message in messages:
            _send(pipe, message)
    except VcsError as fault:
        _send(pipe, {"raised": str(fault), "code": fault.exit_code})
    except BrokenPipeError:
        pass
    except Exception as fault:  # noqa: BLE001 - the outermost frame of a process: the parent says it
        text = traceback.format_exc() if os.environ.get("VCS_DEBUG") else f"{type(fault).__name__}: {fault}"
        _send(pipe, {"raised": text, "code": None})
    finally:
        if isinstance(messages, Generator):
            messages.close()  # so that it removes what it made, also when a signal ends us between two messages
    return OK


def _send(pipe: int, message: Message) -> None:
    text = json.dumps(message, ensure_ascii=False)  # else most bytes of a log would take six
    write_all(pipe, text.encode(errors="surrogatepass") + b"\n")


def again(look: Look, pause_s: float) -> Iterator[Message]:
    """`look` for ever, with a sign of life each time; what the storage answers instead is told, and waited for."""
    told = ""
    while True:
        try:
            yield from look()
            fault = ""
        except (StorageError, OSError) as error:
            fault = str(error)
        if fault != told:
            yield {"fault": fault}
            told = fault
        yield {}
        time.sleep(pause_s)
