"""What runners of daemons of this machine left behind where they tell how they are, when they were killed.

Starts and ends no process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from vcsctl.runners import notify
from vcsctl.store.paths import TEMPORARY_PREFIX


class Sweep:
    """Of the folder where runners tell: takes away the sockets and unfinished files of killed ones.

    What is being made looks for a moment like what was left, so only what a former look saw too goes.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen: set[tuple[str, int]] = set()

    def look(self) -> None:
        seen = set()
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                if _looks_left(entry):
                    seen.add((entry.path, entry.inode()))
        for path, _ in seen & self._seen:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._seen = seen


def _looks_left(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(TEMPORARY_PREFIX):
        return True
    is_socket = entry.name.endswith(notify.SUFFIX) and stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    return is_socket and not _is_listened_to(entry.path)


def _is_listened_to(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        try:
            line.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:  # who may not ask does not know
            return True
    return True
