"""A program for logrotate's scripts: `signal_process.py PID_FILE SIGNAL`. It trusts no PID file; stdlib only.

A shell's `kill $(cat FILE)` would signal every process for a file that says -1.
"""

from __future__ import annotations

import os
import signal
import sys


def main(pid_file: str, name: str) -> str | None:
    """Sends the signal; the reason when it cannot. A program that is not running needs none."""
    try:
        with open(pid_file, encoding="ascii") as file:
            text = file.read(32).strip()
            owner = os.fstat(file.fileno()).st_uid
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"cannot read {pid_file}: {error}"
    if not text.isdecimal() or int(text) <= 1:
        return f"cannot use {pid_file}: it says {text!r}, which is no process to signal"
    try:
        # Who may write the file must not be able to point it at somebody else's process.
        if owner != 0 and owner != _real_user(int(text)):
            return f"cannot use {pid_file}: process {text} does not belong to the file's owner"
        os.kill(int(text), signal.Signals[f"SIG{name}"])
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError as error:
        return f"cannot signal process {text} of {pid_file}: {error.strerror}"
    return None


def _real_user(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Uid:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
