"""Who may write a unit file, a configuration file or their directories. Reads no content."""

from __future__ import annotations

import os
import stat

from vcsctl.errors import Problem


def check_permissions(path: str) -> Problem | None:
    """These files decide what root runs: one that others can write is refused."""
    try:
        return permission_fault(path, os.stat(path))
    except OSError:
        return None  # who reads it says why it cannot


def permission_fault(path: str, status: os.stat_result) -> Problem | None:
    if stat.S_ISCHR(status.st_mode):
        return None  # /dev/null, which masks and which everybody may write
    if status.st_uid not in (0, os.geteuid()):
        text = f"belongs to the user with the number {status.st_uid}; give it to root (chown root)"
        return Problem(path, 0, 0, "", text)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Problem(path, 0, 0, "", "can be written by others; take that right away (chmod go-w)")
    return None
