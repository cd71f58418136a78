"""Messages between two processes on two nodes, through one folder of the shared directory alone. Judges nothing.

The peer makes the folder, a server that finds it takes it: the first one that links its name into it. Each message
is a file of its own, whole before it has its name, and is waited for by listing the folder anew: over NFS a name
that is asked for before it is there stays missing for half a minute.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import Any, Literal

from vcsctl.errors import ForeignFileError, StorageError
from vcsctl.store import files
from vcsctl.store.paths import (
    SESSION_PREFIX,
    Paths,
    session_left,
    session_message,
    session_taken,
    session_trial,
)
from vcsctl.store.selftest import make_folder, remove_folder, tidy

PATIENCE_S = 30.0  # a partner that says nothing for so long is dead, or does not see this directory
_CONFIRM_PATIENCE_S = 5.0
_PAUSE_S = 0.01
_LOOK_PAUSE_S = 0.2
_LEAVE_PATIENCE_S = 10.0  # longer than a trial
_ENDED = "the other side has ended and removed the session's files; start both again"
Role = Literal["server", "peer"]


class PartnerGoneError(StorageError):
    """The other side ended, was killed, or cannot be seen any more."""


class Exchange:
    """One side of a session. Both send and receive in the same order; what is sent stays until the session ends."""

    def __init__(self, folder: str, role: Role) -> None:
        self.folder = folder
        self.role = role
        self._other: Role = "peer" if role == "server" else "server"
        self._sent = 0
        self._received = 0

    def send(self, content: dict[str, Any]) -> None:
        path = session_message(self.folder, self.role, self._sent + 1)
        try:
            files.replace(path, json.dumps(content).encode())
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise PartnerGoneError(_ENDED) from None
            raise
        self._sent += 1

    def receive(self, patience_s: float | None = None, pause_s: float = _PAUSE_S) -> dict[str, Any]:
        """The other side's next message. `pause_s` 0: look without a pause, where the time to see it counts."""
        path = session_message(self.folder, self._other, self._received + 1)
        name, left = os.path.basename(path), os.path.basename(session_left(self.folder, self._other))
        give_up_s = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
        while name not in (found := self._names()):
            if left in found:
                raise PartnerGoneError("the other side was stopped; start both again")
            if time.monotonic() > give_up_s:
                raise PartnerGoneError("the other side does not answer any more: it died, or sees nothing written here")
            time.sleep(pause_s)
        message = files.read(path)
        if message is None:
            raise PartnerGoneError(_ENDED)
        self._received += 1
        try:
            content = json.loads(message[0])
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ForeignFileError(f"{path} is no message of the other side; see whether both are of one version")
        return content

    def meet(self, content: dict[str, Any], pause_s: float = _PAUSE_S) -> dict[str, Any]:
        """Says this side's part and waits for the other's: afterwards both have come this far."""
        self.send(content)
        return self.receive(pause_s=pause_s)

    def leave(self) -> None:
        """Tells the other side that nothing more comes, and lets it remove the session; a dead one does not."""
        self._mark_as_left()
        give_up_s = time.monotonic() + _LEAVE_PATIENCE_S
        while os.path.isdir(self.folder) and time.monotonic() < give_up_s:
            time.sleep(_PAUSE_S)
        remove_folder(self.folder)
        if os.path.isdir(self.folder):  # the other side is still at work in it: it must find why nobody answers
            self._mark_as_left()

    def _mark_as_left(self) -> None:
        with contextlib.suppress(StorageError):
            files.replace(session_left(self.folder, self.role), b"")

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESTALE):
                raise PartnerGoneError(_ENDED) from None
            raise StorageError(f"cannot list {self.folder}: {(error.strerror or str(error)).lower()}") from error


def ask_for_server(paths: Paths, hello: dict[str, Any], patience_s: float) -> tuple[Exchange, dict[str, Any]]:
    """The peer's beginning: a session, and what the server says of itself."""
    folder = paths.session(os.urandom(6).hex())
    exchange = Exchange(folder, "peer")
    try:
        make_folder(paths, folder)
        make_folder(paths, os.path.dirname(session_trial(folder, "any")))
        exchange.send(hello)
        answer = exchange.receive(patience_s)
        exchange.send({"confirms": True})
    except BaseException as error:
        tidy(paths, folder)
        if isinstance(error, PartnerGoneError):
            raise PartnerGoneError(
                f"nobody answered in {paths.root} within {patience_s:g} s; run vcsctl doctor --serve on another node of"
                " this cell, on the same share"
            ) from None
        raise
    return exchange, answer


def look_for_peer(paths: Paths, hello: dict[str, Any], tried: set[str]) -> tuple[Exchange, dict[str, Any]] | None:
    """The server's beginning, once: the newest session that is alive, None when there is none.

    A dead peer's session looks like a live one's until it is asked; then it is removed.
    """
    for folder in _sessions(paths, tried):
        tried.add(folder)
        try:
            if not files.link_new(session_taken(folder), b"{}\n"):
                continue  # another server was first
        except StorageError:
            continue  # it was removed meanwhile, or is another user's
        exchange = Exchange(folder, "server")
        try:
            peer = exchange.receive(_CONFIRM_PATIENCE_S)
            exchange.send(hello)
            exchange.receive(_CONFIRM_PATIENCE_S)
        except BaseException as error:
            remove_folder(folder)
            if isinstance(error, PartnerGoneError):
                continue
            raise
        return exchange, peer
    return None


def wait_for_peer(paths: Paths, hello: dict[str, Any], patience_s: float) -> tuple[Exchange, dict[str, Any]]:
    """Looks again and again; leaves nothing in the directory while it waits."""
    tried: set[str] = set()
    give_up_s = time.monotonic() + patience_s
    while (found := look_for_peer(paths, hello, tried)) is None:
        if time.monotonic() > give_up_s:
            raise PartnerGoneError(
                f"no peer came to {paths.root} within {patience_s:g} s; run vcsctl doctor --peer on another node of"
                " this cell, on the same share"
            )
        time.sleep(_LOOK_PAUSE_S)
    return found


def _sessions(paths: Paths, tried: set[str]) -> list[str]:
    try:
        names = os.listdir(paths.probe)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {paths.probe}: {(error.strerror or str(error)).lower()}") from error
    found = [f"{paths.probe}/{name}" for name in names if name.startswith(SESSION_PREFIX)]
    return sorted((folder for folder in found if folder not in tried), key=_made_at, reverse=True)


def _made_at(folder: str) -> float:
    try:
        return os.stat(folder).st_mtime
    except OSError:
        return 0.0


def end(exchange: Exchange, paths: Paths, *, stopped_here: bool) -> None:
    """Who goes last removes the session: the peer when all was done, else who sees that the other has gone."""
    if stopped_here:
        exchange.leave()
    else:
        tidy(paths, exchange.folder)
