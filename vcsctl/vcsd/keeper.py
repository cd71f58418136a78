"""The keeper: a child of vcsd, forked before vcsd touches the shared directory, that sees to it that the daemons which
need no share are looked after (`local`). It dies with vcsd; the runners do not.

It only waits, so that whatever hangs in vcsd or is killed below it, one is started anew.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback
from typing import NoReturn

from vcsctl.catalog.snapshot import Snapshot
from vcsctl.config import Config
from vcsctl.domain.run import Claim
from vcsctl.errors import RefusedError, StorageError, VcsError
from vcsctl.places import Places
from vcsctl.runners import linux, proc
from vcsctl.store import local_cell, locks
from vcsctl.store.locks import HeldLock
from vcsctl.store.paths import Paths
from vcsctl.vcsd.local import GO_DOWN, LOOK, RELOAD, WISHES, Local, local_part, look_after
from vcsctl.vcsd.log import say, speak_as
from vcsctl.vcsd.presence import Machine

RESTART_PAUSE_S = 1.0
_LOCK_PATIENCE_S = 5.0  # the keeper of a vcsd that was killed may take a moment to die
_FAULT = 70


class Keeper:
    """vcsd's handle of it. Nothing is started where there is nothing to keep up."""

    def __init__(self, where: Places, config: Config, machine: Machine) -> None:
        self._where, self._config, self._machine = where, config, machine
        self._lock: HeldLock | None = None
        self.is_kept = False  # whether it is to be there
        self._pid = 0
        self._descriptor: int | None = None
        self._again_s = 0.0
        self._said = ""

    def see_to(self, snapshot: Snapshot) -> None:
        """Starts it where it is needed by now, else tells it of the new snapshot. Raises RefusedError when another
        vcsd works in this machine's cell."""
        if self.is_kept:
            self._tell(RELOAD)
            return
        units = local_part(snapshot, self._config).units
        if units or local_cell.has_records(self._where.local_cell):
            self.is_kept = True
            try:
                self._start()
            except RefusedError:  # not a matter of trying again
                self.is_kept = False
                raise

    def look(self) -> None:
        """It is to look at once what lies in its cell."""
        self._tell(LOOK)

    def go_down(self) -> list[Claim]:
        """It is to stop its daemons; which, as far as can be read. When all are over, or as long as they may take has
        passed, so is it."""
        self._notice_its_end()
        self._see_that_it_runs()
        self._tell(GO_DOWN)
        with contextlib.suppress(StorageError):  # the others are to be stopped all the same
            return [claim for claim, _ in local_cell.living(Paths(self._where.local_cell))] if self.is_kept else []
        return []

    def mind(self) -> None:
        """Starts it anew when it has died, or could not be started."""
        self._notice_its_end()
        if time.monotonic() >= self._again_s:
            self._see_that_it_runs()

    def _notice_its_end(self) -> None:
        if self._descriptor is not None and self.is_over():
            with contextlib.suppress(ChildProcessError):  # the loop may have been faster
                os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
            os.close(self._descriptor)
            self._descriptor, self._again_s = None, time.monotonic() + RESTART_PAUSE_S
            say(f"the keeper has died; started again in {RESTART_PAUSE_S:g} s")

    def _see_that_it_runs(self) -> None:
        if not self.is_kept or self._descriptor is not None:
            return
        self._again_s = time.monotonic() + RESTART_PAUSE_S
        try:
            self._start()
        except (VcsError, OSError) as error:  # OSError: no process to be had just now
            if self._said != (text := str(error)):
                say(f"cannot start the keeper: {text}; trying again")
            self._said = text

    def is_over(self) -> bool:
        if self._descriptor is None:
            return True
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def processes(self) -> set[int]:
        """Its own, and the runners that fell to vcsd when it died: none of them is to be taken for a leftover."""
        runners = local_cell.runners(self._where.local_cell) if self.is_kept else []
        return {self._pid} | {one.pid for one in runners if proc.process_started(one.pid) == one.pid_started}

    def _start(self) -> None:
        cell = local_cell.enter(self._where.local_cell)
        if self._lock is None:
            self._lock = _take(Paths(self._where.local_cell).keeper_lock())
        former = signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)  # until it can take them
        try:
            parent, pid = os.getpid(), linux.fork()
            if pid == 0:
                _keep(Local(self._where, self._config, self._machine, cell), parent, self._lock.descriptor)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        try:
            self._descriptor = os.pidfd_open(pid)
        except OSError:  # one that nobody watches would be in the way of the next
            linux.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self._pid = pid

    def _tell(self, number: int) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)


def _take(path: str) -> HeldLock:
    give_up_s = time.monotonic() + _LOCK_PATIENCE_S
    while (lock := locks.try_lock(path)) is None:
        if time.monotonic() > give_up_s:
            raise RefusedError(f"another vcsd runs on this machine and holds {path}; stop it first")
        time.sleep(0.02)
    return lock


# In the keeper itself.


def _keep(local: Local, parent: int, lock: int) -> NoReturn:
    try:
        _leave_vcsd(parent, lock)
        lasting: set[int] = set()
        while not _has_ended_well(_start_local(local, lasting)):
            time.sleep(RESTART_PAUSE_S)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the outermost frame of a process: nothing may fall back into vcsd
        say(traceback.format_exc().rstrip())
    finally:
        os._exit(_FAULT)


def _leave_vcsd(parent: int, lock: int) -> None:
    linux.die_with_parent()
    if os.getppid() != parent:  # it died before we asked to die with it
        os._exit(0)
    speak_as("keeper")
    os.environ.pop("NOTIFY_SOCKET", None)  # systemd listens to vcsd alone, and logs whoever else speaks to it
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for vcsd
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    linux.become_subreaper()


def _start_local(local: Local, lasting: set[int]) -> int:
    """The process that looks after the local cell. What vcsd wants of the keeper is passed on to it; the wish that it
    go down is one of the `lasting`, which the next one hears too when this one dies."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)
    parent, pid = os.getpid(), linux.fork()
    if pid == 0:
        _run(local, parent)

    def pass_on(number: int, _frame: object) -> None:
        if number == GO_DOWN:
            lasting.add(number)
        linux.kill(pid, number)

    for number in WISHES:
        signal.signal(number, pass_on)
    for wish in lasting:
        linux.kill(pid, wish)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
    return pid


def _run(local: Local, parent: int) -> NoReturn:
    code = _FAULT
    try:
        linux.die_with_parent()
        if os.getppid() == parent:
            linux.become_subreaper()
            look_after(local)
            code = 0
    except VcsError as error:
        say(str(error))
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - as above
        say(traceback.format_exc().rstrip())
    finally:
        os._exit(code)


def _has_ended_well(process: int) -> bool:
    """Waits for it, and collects what falls to us meanwhile; what lives on is left alone."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == process:
            break
    signal.pthread_sigmask(signal.SIG_BLOCK, WISHES)  # its pid may be another's by now
    code = os.waitstatus_to_exitcode(status)
    if code:
        how = f"was killed by {linux.signal_name(-code)}" if code < 0 else f"ended with code {code}"
        say(f"what looks after this machine's daemons {how}; started again in {RESTART_PAUSE_S:g} s")
    return code == 0
