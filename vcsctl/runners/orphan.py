"""A process that holds a lock which another one took, and which has been killed since. For proving that locks last.

This is how a run's lock lives on when vcsd or a runner dies. Records nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import NoReturn

from vcsctl.errors import RefusedError, StorageError
from vcsctl.runners import linux
from vcsctl.store import locks
from vcsctl.store.selftest import RELEASE_PATIENCE_S
from vcsctl.store.storage_rules import BEST

_PATIENCE_S = 10.0


class Orphan:
    """Dies with whoever asked for it, at the latest: then the pipe that it reads from has no writer any more."""

    def __init__(self, pid: int, life: int) -> None:
        self._descriptor = os.pidfd_open(pid)
        self._life = life

    def kill(self) -> None:
        """With SIGKILL; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        ended, _, _ = select.select([self._descriptor], [], [], _PATIENCE_S)
        if not ended:
            raise StorageError("a killed process that holds a lock does not end; see to the storage it waits for")

    def close(self) -> None:
        os.close(self._life)
        os.close(self._descriptor)


def hold_in_orphan(path: str) -> Orphan:
    """Takes the lock at `path` in a process, kills that process, and leaves the lock to its child."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    life_reader, life = os.pipe2(os.O_CLOEXEC)
    opener = linux.fork()
    if opener == 0:
        os.close(life)
        os.close(reader)
        _open_and_bear(path, writer, life_reader)
    os.close(writer)
    os.close(life_reader)
    try:
        with open(reader, encoding="utf-8") as pipe:
            ready, _, _ = select.select([pipe], [], [], _PATIENCE_S)
            report = pipe.readline() if ready else "the storage did not answer"
        if not report.strip().isdecimal():
            raise StorageError(f"cannot take a lock in a new process: {report.strip() or 'it died'}")
        orphan = Orphan(int(report), life)
    except BaseException:
        os.close(life)
        raise
    finally:
        linux.kill(opener, signal.SIGKILL)
        os.waitpid(opener, 0)
    return orphan


def _open_and_bear(path: str, writer: int, life: int) -> NoReturn:
    """In the new process: takes the lock, bears the child that keeps it, waits to be killed."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked; the pipe tells when he is gone
        report = ""
        try:
            if locks.try_lock(path) is None:
                report = f"{path} is held by another"
        except StorageError as error:
            report = str(error)
        if not report:
            child = linux.fork()
            if child == 0:
                os.close(writer)
                os.read(life, 1)
                os._exit(0)
            report = str(child)
        os.write(writer, f"{report}\n".encode())
        os.read(life, 1)
    finally:
        os._exit(1)


def locks_outlive_their_opener(folder: str) -> None:
    """Raises RefusedError where a lock ends with its opener, or does not end with its last holder."""
    path = f"{folder}/outlived"
    orphan = hold_in_orphan(path)
    try:
        if (taken := locks.try_lock(path)) is not None:
            os.close(taken.descriptor)
            raise RefusedError(f"a lock in {folder} ended with its opener, though a child of it lived; {BEST}")
        orphan.kill()
        if wait_for_lock(path, RELEASE_PATIENCE_S) is None:
            raise RefusedError(f"a lock in {folder} stays although its holder was killed; {BEST}")
    finally:
        orphan.close()


def wait_for_lock(path: str, patience_s: float) -> float | None:
    """Takes the lock as soon as it is free and lets it go again; how long that took, None when it stayed held."""
    began_s = time.monotonic()
    while (taken := locks.try_lock(path)) is None:
        if time.monotonic() - began_s > patience_s:
            return None
        time.sleep(0.005)  # what vcsd's quickest polling would see
    os.close(taken.descriptor)
    return time.monotonic() - began_s
