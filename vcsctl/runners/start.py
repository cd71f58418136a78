"""Forks the runner that is fit for a unit's kind. A forked runner keeps nothing of vcsd but its locks and its log."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from typing import NoReturn

from vcsctl import steps
from vcsctl.domain.unit import Daemon
from vcsctl.errors import StorageError
from vcsctl.runners import daemon, linux, oneshot
from vcsctl.runners.base import Job, note
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.machine import Machine
from vcsctl.runners.supervise import LOG_FAULT

_INTERNAL_ERROR = 70
_HANDLED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def start(job: Job) -> int:
    """Forks the runner; its pid. The caller may close its own copies of the locks at any time."""
    # Blocked until the runner minds them: to be nudged before that would kill it.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        pid = linux.fork()
        if pid == 0:
            _run(job)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return pid


def _run(job: Job) -> NoReturn:
    code = _INTERNAL_ERROR
    try:
        _leave_vcsd(job)
        steps.reached("runner alone")
        _runner_of(job).run()
        code = 0
    except StorageError as error:
        note(str(error))
    except BaseException:  # noqa: BLE001 - the outermost frame of a process: nothing may fall back into vcsd's loop
        note(traceback.format_exc())
    finally:
        os._exit(code)


def _runner_of(job: Job) -> oneshot.Runner | daemon.Runner:
    if isinstance(job.unit, Daemon):
        runner: oneshot.Runner | daemon.Runner = daemon.Runner(job, DaemonMachine(job.cgroup))
    else:
        runner = oneshot.Runner(job, Machine(job.cgroup))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return runner


def _leave_vcsd(job: Job) -> None:
    """Keeps only the locks and the log. Close-on-exec does nothing without exec: a leaked lock would stay held."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    try:
        log = _open_log(job.log)
    except OSError as error:  # vcsd says it, since it knows whether it was said before
        os._exit(LOG_FAULT + (error.errno or 0))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    lowest = 3
    for kept in sorted(job.grant.descriptors):
        os.closerange(lowest, kept)
        lowest = kept + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
    linux.become_subreaper()


def _open_log(path: str) -> int:
    with contextlib.suppress(FileExistsError):  # where that is no folder, opening the log fails
        os.makedirs(os.path.dirname(path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
