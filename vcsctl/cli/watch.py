"""--watch: the same answer again and again on one screen, redrawn in place. Knows no service and reads nothing itself.

Each look is a child's: storage that hangs hangs whoever touches it, and the screen goes on and says so.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import click

from vcsctl.cli.child import Child, begin
from vcsctl.cli.layout import cut, width_of, wrapped
from vcsctl.cli.terminal import paint, size
from vcsctl.domain.values import parse_duration
from vcsctl.errors import FAILED, OK, TRY_AGAIN, UsageError, VcsError

_LATE_S = 2.5  # a look that takes longer is told of; with the usual interval that is within 5 s of the hang
_GIVEN_UP_S = 5.0
_SHORTEST_S = 0.1
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # a screen of our own, no cursor, no wrapping
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _TO_THE_LINES_END, _TO_THE_SCREENS_END = "\x1b[H", "\x1b[K", "\x1b[J"
_HANDLED = (signal.SIGTERM, signal.SIGWINCH, signal.SIGTSTP)
_HEARD = (signal.SIGINT, signal.SIGHUP, *_HANDLED)


def seconds_between(text: str) -> float:
    try:
        return max(_SHORTEST_S, parse_duration(text))
    except ValueError as error:
        raise UsageError(f"--interval {error}") from None


def watch_it(title: str, read: Callable[[], None], every_s: float) -> None:
    """Until q or Ctrl-C, which is how one ends it and no failure."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("--watch needs a terminal that can be redrawn; leave it out, and ask again and again")
    with _Screen() as screen:
        watch = _Watch(screen, title, read, every_s)
        watch.run()
    if watch.failure:
        click.echo(f"vcsctl: {watch.failure}", err=True)
    raise click.exceptions.Exit(watch.code)


class _Frame(io.TextIOWrapper):
    """What a child prints into: shown on a terminal in the end, so it has the width and the looks of one."""

    def isatty(self) -> bool:
        return True


@dataclass
class _Look:
    """One child that reads and renders."""

    child: Child
    began_s: float
    data: bytearray = field(default_factory=bytearray)

    @classmethod
    def begin(cls, read: Callable[[], None]) -> _Look:
        columns, rows = size()
        return cls(begin(lambda pipe: _render(read, pipe, columns, rows)), time.monotonic())

    @property
    def lasts_s(self) -> float:
        return time.monotonic() - self.began_s

    def take(self) -> bool:
        """Takes what has come; whether that was all."""
        part = self.child.take()
        self.data += part
        return not part


def _render(read: Callable[[], None], pipe: int, columns: int, rows: int) -> int:
    """In the child: the answer into the pipe, and the code that the command would have ended with."""
    gc.disable()  # it reads, prints and ends, as the child of any reading command
    for heard in _HANDLED:
        signal.signal(heard, signal.SIG_DFL)
    os.environ["COLUMNS"], os.environ["LINES"] = str(columns), str(rows)
    sys.stdout = _Frame(open(pipe, "wb"), sys.stdout.encoding, "backslashreplace")  # noqa: SIM115 - for the child's life
    code = OK
    try:
        read()
    except VcsError as error:
        click.echo(str(error))
        code = error.exit_code
    sys.stdout.flush()
    return code


class _Screen:
    """The terminal while it is ours: no echo, and what happens to it is heard through `wakened`."""

    def __enter__(self) -> _Screen:
        self.wakened, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._handlers = {heard: signal.signal(heard, _heard) for heard in _HEARD}
        signal.set_wakeup_fd(self._waker)
        self._modes = termios.tcgetattr(0)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        signal.set_wakeup_fd(-1)
        for heard, handler in self._handlers.items():
            signal.signal(heard, handler)

    def _take(self) -> None:
        modes = termios.tcgetattr(0)
        modes[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(0, termios.TCSANOW, modes)
        self.write(_ENTER)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # a terminal that is gone needs nothing
            self.write(_LEAVE)
            termios.tcsetattr(0, termios.TCSANOW, self._modes)

    def suspend(self) -> None:
        """Ctrl-Z gives the terminal back, `fg` takes it again."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def signals(self) -> list[int]:
        return list(os.read(self.wakened, 4096))

    def write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding, "backslashreplace")
        while data:
            data = data[os.write(1, data) :]


def _heard(_number: int, _frame: FrameType | None) -> None:
    """The wakeup descriptor tells; a handler of ours is what makes it."""


class _Watch:
    def __init__(self, screen: _Screen, title: str, read: Callable[[], None], every_s: float) -> None:
        self._screen, self._title, self._read, self._every_s = screen, title, read, every_s
        self._look: _Look | None = None
        self._next_s = time.monotonic()
        self._body: list[str] = []
        self._of = ""  # when the body was so
        self._silent_since_s: float | None = None
        self._trouble = ""
        self._is_old = False  # what the look under way will show was asked for by another size
        self.code, self.failure = OK, ""

    def run(self) -> None:
        try:
            while self._go_on():
                pass
        finally:
            if self._look is not None and not self._look.child.given_up:
                self._look.child.give_up()

    def _go_on(self) -> bool:
        """One round: waits for whatever comes first. False when the user has had enough."""
        if self._look is None and time.monotonic() >= self._next_s:
            self._look = _Look.begin(self._read)
        heard: list[Any] = [0, self._screen.wakened, *([self._look.child.pipe] if self._look else [])]
        ready, _, _ = select.select(heard, [], [], self._patience_s())
        if self._screen.wakened in ready and not self._hear():
            return False
        if 0 in ready and (not (keys := os.read(0, 1024)) or b"q" in keys.lower()):
            return False
        if self._look and self._look.child.pipe in ready:
            return not self._look.take() or self._finish(self._look)
        if self._look and self._look.lasts_s >= _LATE_S:
            self._wait_on(self._look)
        return True

    def _patience_s(self) -> float:
        if self._look is None:
            return max(0.0, self._next_s - time.monotonic())
        late_s = _LATE_S - self._look.lasts_s
        return late_s if late_s > 0 else 1.0 - self._look.lasts_s % 1.0

    def _hear(self) -> bool:
        for number in self._screen.signals():
            if number == signal.SIGINT:
                return False
            if number in (signal.SIGTERM, signal.SIGHUP):
                self.code = 128 + number
                return False
            if number == signal.SIGTSTP:
                self._screen.suspend()
                if self._look is not None:
                    self._look.child.give_up()  # the time that it stood still is not its own
            self._next_s, self._is_old = time.monotonic(), self._look is not None
            self._draw()
        return True

    def _finish(self, look: _Look) -> bool:
        """Shows what came of it. False where there never was anything to show: a mistake is not watched."""
        code, text = look.child.end(), look.data.decode(sys.stdout.encoding, "replace")
        self._look = None
        self._next_s = time.monotonic() if self._is_old else max(time.monotonic(), look.began_s + self._every_s)
        self._is_old = False
        if look.child.given_up:
            return True
        said = "".join(text.splitlines()[-1:]) or "it cannot be shown; leave --watch out to see why"
        if code == OK:
            self._silent_since_s, self._trouble = None, ""
            self._body, self._of = text.splitlines(), time.strftime("%H:%M:%S")
        elif code == TRY_AGAIN or self._body:
            self._silent_since_s, self._trouble = None, said
        else:
            self.code, self.failure = (code if code > 0 else FAILED), said
            return False
        self._draw()
        return True

    def _wait_on(self, look: _Look) -> None:
        self._silent_since_s = self._silent_since_s or look.began_s
        if look.lasts_s >= _GIVEN_UP_S and not look.child.given_up:
            look.child.give_up()
        self._draw()

    def _head(self) -> str:
        then = f"; below: {self._of}" if self._of else ""
        if self._silent_since_s is not None:
            silent_s = time.monotonic() - self._silent_since_s
            return f"the shared directory has not answered for {silent_s:.0f} s; see to its mount{then}"
        if self._trouble:
            return f"{self._trouble}{then}"
        return f"{self._title}, {self._of}, every {self._every_s:g} s; q ends it"

    def _draw(self) -> None:
        """In place, each line over the old one, so that nothing flickers."""
        columns, rows = size()
        is_well = self._silent_since_s is None and not self._trouble
        head = [paint("faint" if is_well else "bad", line) for line in wrapped(self._head(), columns)]
        lines = [*head, *self._body]
        if len(lines) > rows:
            hidden = len(lines) - rows + 1
            more = cut(f"{hidden} more lines; names and filters narrow it", columns)
            lines = [*lines[: rows - 1], paint("faint", more)]
        drawn = "\n".join(_cleared(line, columns) for line in lines)
        self._screen.write(f"{_HOME}{drawn}{_TO_THE_SCREENS_END if len(lines) < rows else ''}")


def _cleared(line: str, columns: int) -> str:
    """With nothing left behind it of the old one. A full line has its cursor on its last character still."""
    return line if width_of(click.unstyle(line)) >= columns else line + _TO_THE_LINES_END
