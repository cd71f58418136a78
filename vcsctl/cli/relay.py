"""A reading command as a child process whose output its parent passes on, and which can be given up.

Other than in child.py the command itself goes on in the child and prints as before. It gets pipes of its own in the
place of its streams and holds nothing else, for the same reason.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from dataclasses import dataclass
from typing import TextIO

from vcsctl.cli.child import close_all_but
from vcsctl.cli.terminal import size

_CHUNK = 1 << 16


@dataclass(slots=True)
class Relayed:
    """The child as its parent sees it. By `_asking` the child says that it was answered; when that ends, it may take
    its time from here on."""

    pid: int
    _process: int
    _asking: int
    _pipes: dict[int, TextIO]

    def until_over(self, patience_s: float) -> int | None:
        """Passes on what it says; its exit code, or None when it says nothing, is not answered and does not end for
        so long.

        While nobody takes what it said, as with `| less`, no time goes by.
        """
        left_s: float | None = patience_s
        heard = {self._process, self._asking, *self._pipes}
        try:
            while ready := select.select(heard, [], [], left_s)[0]:
                if ready == [self._process]:
                    return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                if self._asking in ready and not os.read(self._asking, _CHUNK):
                    left_s = None
                    heard.remove(self._asking)
                heard -= {pipe for pipe in self._pipes.keys() & ready if not self._pass_on(pipe)}
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)  # nothing is to be printed after this

    def _pass_on(self, pipe: int) -> bool:
        """False when that was all."""
        data, stream = os.read(pipe, _CHUNK), self._pipes[pipe]
        stream.buffer.write(data)
        stream.flush()
        return bool(data)


def fork() -> Relayed | int:
    """In the child, which prints as before: where it writes that it was answered, and what it closes when it touches
    nothing more that may hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    asking, has_asked = os.pipe()
    pipes = {os.pipe(): stream for stream in (sys.stdout, sys.stderr)}
    pid = os.fork()
    if pid == 0:
        _let_go({stream: written for (_, written), stream in pipes.items()}, has_asked)
        return has_asked
    for written in (has_asked, *(written for _, written in pipes)):
        os.close(written)
    return Relayed(pid, os.pidfd_open(pid), asking, {read: stream for (read, _), stream in pipes.items()})


def _let_go(pipes: dict[TextIO, int], has_asked: int) -> None:
    """Puts the pipes in the place of the streams, and closes all else. To a terminal it prints as to a terminal."""
    for stream, pipe in pipes.items():
        if stream.isatty():
            os.environ["COLUMNS"], os.environ["LINES"] = map(str, size())
            stream.isatty = lambda: True  # type: ignore[method-assign]
        os.dup2(pipe, stream.fileno())
    close_all_but((has_asked, *(stream.fileno() for stream in pipes)))
    with contextlib.suppress(OSError):
        os.open(os.devnull, os.O_RDWR)  # in the place of the standard input, where nothing comes any more
