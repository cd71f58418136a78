"""A child that looks at the shared directory again and again and tells what it sees: one that hangs hangs the child
alone, and whoever waits still answers, says so, and ends on Ctrl-C. Judges and prints nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NoReturn

from vcsctl.errors import OK, StorageError, VcsError
from vcsctl.runners import linux

DEAF_AFTER_S = 4.0  # a storage that has not answered for so long is said to hang
_MOST_DESCRIPTORS = 1 << 20

Message = dict[str, Any]
Look = Callable[[], Iterator[Message]]


class Watch:
    """What `look` yields in a child, as it comes. An empty message is a sign of life, and is not passed on.

    A fault that the child raises is raised here, with its sentence and its exit code, after what it had said before.
    """

    def __init__(self, look: Look) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _look(look, writer, parent)
        os.close(writer)
        self._reader = reader
        self._buffer = b""
        self._raised: Message | None = None
        self._heard_s = time.monotonic()
        self.is_over = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        if not self.is_over:
            os.kill(self._pid, signal.SIGKILL)  # not waited for: a process that hangs in the kernel may stay
        os.close(self._reader)

    @property
    def is_deaf(self) -> bool:
        return not self.is_over and time.monotonic() - self._heard_s > DEAF_AFTER_S

    def messages(self, patience_s: float) -> list[Message]:
        """What has come, waiting no longer than that for the first of it."""
        if self._raised is not None:
            raise _fault(self._raised)
        if self.is_over:
            time.sleep(patience_s)
            return []
        if not select.select([self._reader], [], [], patience_s)[0]:
            return []
        self._heard_s = time.monotonic()
        data = os.read(self._reader, 1 << 16)
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
        _, status = os.waitpid(self._pid, 0)
        if os.WIFSIGNALED(status):
            how = linux.signal_name(os.WTERMSIG(status))
            raise VcsError(f"the process that looked at the shared directory was killed by {how}; try again")


def _fault(message: Message) -> Exception:
    if message["code"] is None:
        return RuntimeError(message["raised"])
    fault = VcsError(message["raised"])
    fault.exit_code = message["code"]
    return fault


def _look(look: Look, writer: int, parent: int) -> NoReturn:
    """In the child, which keeps nothing that others wait for the end of, and dies with its parent."""
    for of_the_terminal in (signal.SIGINT, signal.SIGHUP):  # they reach the parent too, and its end is ours
        signal.signal(of_the_terminal, signal.SIG_IGN)
    linux.die_with_parent()
    if os.getppid() != parent:  # it died before we asked to be told
        os._exit(0)
    pipe = os.dup2(writer, 3)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(4, _MOST_DESCRIPTORS)
    try:
        for message in look():
            _send(pipe, message)
    except VcsError as fault:
        _send(pipe, {"raised": str(fault), "code": fault.exit_code})
    except BrokenPipeError:
        pass
    except Exception as fault:  # noqa: BLE001 - the outermost frame of a process: the parent says it
        text = traceback.format_exc() if os.environ.get("VCS_DEBUG") else f"{type(fault).__name__}: {fault}"
        _send(pipe, {"raised": text, "code": None})
    os._exit(OK)


def _send(pipe: int, message: Message) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(pipe, data) :]


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
