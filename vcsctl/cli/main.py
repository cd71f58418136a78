"""The entry of vcsctl. Sees to Ctrl-C before anything is loaded; knows no command."""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    # Ctrl-C ends a command at once and in silence, while it is still being loaded too: every file it writes is
    # whole or absent, every lock is the kernel's. One who told us to ignore it (nohup) is obeyed.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vcsctl.cli.commands import execute  # after the line above, or loading would answer with a traceback

    code = execute()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)  # an interpreter takes a fifth of a short command's time to tidy up what is gone anyway


if __name__ == "__main__":
    main()
