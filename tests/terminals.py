"""A command on a terminal of its own: what stands on its screen, by an emulator, and the keys that are typed there.

Screens are kept as golden text under `tests/screens/`; `VCS_SCREENS=write` keeps what a test sees as the new ones.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import pyte

SCREENS = Path(__file__).parent / "screens"
DEADLINE_S = 30.0
# What is another at each run, each replaced by a text of its own width, so that columns stay where they are.
_VARYING = (
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "YYYY-MM-DD hh:mm:ss"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b"), "YYYY-MM-DD hh:mm"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "YYYY-MM-DDThh:mm:ssZ"),
    (re.compile(r"(?<![\d:])\d\d:\d\d:\d\d(?![\d:])"), "hh:mm:ss"),
)


class Terminal:
    """Starts `command` on a new terminal of that size; a context manager that leaves no process behind."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], columns: int = 80, rows: int = 24, term: str = "xterm"
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.code: int | None = None
        environment = {**environment, "TERM": term, "COLUMNS": "", "LINES": ""}
        environment = {name: text for name, text in environment.items() if text}
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], command, environment)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    @property
    def text(self) -> str:
        """The screen, without the blanks that end its lines and the empty lines that end it."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n") + "\n"

    @property
    def modes(self) -> list[object]:
        """How the terminal treats keys, as termios has it."""
        return termios.tcgetattr(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, is_it: Callable[[str], object], what: str, deadline_s: float = DEADLINE_S) -> str:
        """The screen as soon as `is_it` says yes. Fails with what is there when it does not in time."""
        give_up = time.monotonic() + deadline_s
        while not is_it(self.text):
            if not self._read(give_up) and not is_it(self.text):
                raise AssertionError(f"no {what} within {deadline_s:g} s on this screen:\n{self.text}")
        return self.text

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        """Waits for the command's end; its exit code, 128 + the signal's number where one ended it."""
        give_up = time.monotonic() + deadline_s
        while self._read(give_up):
            pass
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code
            elif time.monotonic() > give_up:
                raise AssertionError(f"not over within {deadline_s:g} s; on its screen:\n{self.text}")
            else:
                time.sleep(0.01)
        return self.code

    def _read(self, give_up: float) -> bool:
        """Shows what has come; False when nothing more will, or the time is over."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, give_up - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def steady(text: str) -> str:
    """The text with instants replaced by their pattern."""
    for pattern, shape in _VARYING:
        text = pattern.sub(shape, text)
    return text


def assert_screen(name: str, text: str) -> None:
    """Compares with the golden text of that name."""
    path = SCREENS / f"{name}.txt"
    if os.environ.get("VCS_SCREENS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.exists(), (
        f"no golden text {path.name}; look at the screen, then keep it with VCS_SCREENS=write:\n{text}"
    )
    assert text == path.read_text(), f"not as in {path.name}; if that is right, keep it with VCS_SCREENS=write"
