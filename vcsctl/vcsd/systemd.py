"""What systemd is told of vcsd, and asked: two small protocols, and silence where no systemd started us."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

_ANSWERS_WITHIN_S = 5.0


def notify(*lines: str) -> None:
    """As sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)


def notify_reloading() -> None:
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def machine_goes_down() -> bool:
    """Whether we are told to stop since the machine is: then its file systems go next, and the runs with them.

    systemd says so from the moment at which its shutdown is queued; before it stops any unit.
    """
    if "INVOCATION_ID" not in os.environ:
        return False
    command = ["systemctl", *(["--user"] if "MANAGERPID" in os.environ else []), "is-system-running"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWERS_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "stopping"
