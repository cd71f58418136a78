"""What a daemon says of itself, by the protocol of sd_notify(3), on a socket of its run. Decides nothing.

Only root and the daemon's own user may write to the socket, lest others fill it; with a daemon that is root, which may
become anybody, everybody may. The kernel tells whose message it is, and only those of the run's own processes count.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from dataclasses import dataclass

from vcsctl.runners import proc

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_LONGEST = 4096
_MOST_AT_ONCE = 256  # a daemon that never stops talking does not keep its runner from everything else
_LONGEST_PATH = 107
SUFFIX = ".notify"
_LONGEST_PID = 10  # digits


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram: its NAME=VALUE lines. `is_own`: of a process that the asking runner has started."""

    pid: int
    is_own: bool
    fields: dict[str, str]

    def main_pid(self) -> int | None:
        text = self.fields.get("MAINPID", "")
        return int(text) if text.isdecimal() and len(text) <= _LONGEST_PID else None

    def seconds(self, name: str) -> float | None:
        """The value of a field in microseconds."""
        text = self.fields.get(name, "")
        return int(text) / 1e6 if text.isdecimal() and len(text) < 18 else None


class Listener:
    """`address` is for NOTIFY_SOCKET: a path, or an abstract name (@...) where no path can be had."""

    def __init__(self, folder: str | None, run_id: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._path = f"{folder}/{run_id}{SUFFIX}" if folder else None
        self.address = self._bind_path() or self._bind_abstract(run_id)

    def fileno(self) -> int:
        return self._socket.fileno()

    def _bind_path(self) -> str | None:
        if self._path is None or len(os.fsencode(self._path)) > _LONGEST_PATH:
            return None
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # we hold the run's lock: whoever left it is gone
            former = os.umask(0o177)
            try:
                self._socket.bind(self._path)
            finally:
                os.umask(former)
        except OSError:
            return None
        return self._path

    def _bind_abstract(self, run_id: str) -> str:
        self._path = None
        name = f"vcs/{run_id[:60]}/{os.urandom(6).hex()}"
        self._socket.bind(f"\0{name}")
        return f"@{name}"

    def is_there(self) -> bool:
        """Whether its name still leads to a socket."""
        with contextlib.suppress(OSError):
            return self._path is None or stat.S_ISSOCK(os.lstat(self._path).st_mode)
        return False

    def admit(self, user: int) -> None:
        """Before a process of that user is started. Of an abstract name the kernel keeps no owner."""
        if self._path is not None:
            os.chown(self._path, user, -1)
            os.chmod(self._path, 0o600 if user else 0o666)

    def take(self) -> list[Message]:
        """What has come since. To be asked before the dead are collected: they are no longer known then."""
        messages: list[Message] = []
        own: dict[int, bool] = {}  # asked once of each process: to ask is what a flood would cost
        for _ in range(_MOST_AT_ONCE):
            try:
                # No room for descriptors: the kernel drops them, which is the answer to BARRIER=1. To close one that a
                # stranger sent could wait for his file system.
                space = socket.CMSG_SPACE(_CREDENTIALS.size)
                data, ancillary, _, _ = self._socket.recvmsg(_LONGEST, space, socket.MSG_CMSG_CLOEXEC)
            except OSError:  # nothing more
                break
            pid = 0
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
            if pid not in own:
                own[pid] = proc.descends_from(pid, os.getpid())
            messages.append(Message(pid, own[pid], parse(data)))
        return messages

    def close(self) -> None:
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def parse(data: bytes) -> dict[str, str]:
    """The lines `NAME=VALUE`; of a name that comes twice the last."""
    fields = {}
    for line in data.decode(errors="replace").split("\n"):
        name, equals, value = line.partition("=")
        if equals:
            fields[name] = value
    return fields
