"""Asks systemd whether the machine goes down. Decides nothing."""

from __future__ import annotations

import os
import subprocess

_ANSWERS_WITHIN_S = 5.0


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
