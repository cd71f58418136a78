"""Runs the command of `vcsctl lock`: at the caller's terminal, in his environment, with the runner of every other run.

Two processes hold the locks, and either may be killed: the runner, and `vcsctl` itself, which is to a runner here what
vcsd is elsewhere. Takes no lock, decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import traceback
from dataclasses import dataclass
from typing import NoReturn

from vcsctl.domain.outcome import End
from vcsctl.domain.unit import Unit
from vcsctl.errors import StorageError
from vcsctl.runners import linux, proc, spawn
from vcsctl.runners.base import Job
from vcsctl.runners.machine import Machine
from vcsctl.runners.oneshot import Runner
from vcsctl.store import codec

# What a caller may send to `vcsctl lock`. Those that he had it ignore are left alone, as with nohup.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_SI_KERNEL = 128  # sent by the terminal, to the command as well
_INTERNAL_ERROR = 70


@dataclass(frozen=True, slots=True)
class Caller:
    """What the command has from who called."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str
    umask: int
    ignored: tuple[int, ...]

    @property
    def program(self) -> str | None:
        return shutil.which(self.argv[0], path=self.environment.get("PATH", spawn.DEFAULT_PATH))


def caller_of(argv: tuple[str, ...]) -> Caller:
    umask = os.umask(0o077)
    os.umask(umask)
    ignored = tuple(n for n in (*STOPPING, signal.SIGTSTP) if signal.getsignal(n) == signal.SIG_IGN)
    return Caller(argv, dict(os.environ), os.getcwd(), umask, ignored)


class Signals:
    """Takes signals as messages instead of interruptions, from its making to the process's end: whatever is done
    between two looks is done as a whole."""

    def __init__(self, caller: Caller) -> None:
        self._stopping = [number for number in STOPPING if number not in caller.ignored]
        self._all = [*self._stopping, signal.SIGCHLD]
        signal.pthread_sigmask(signal.SIG_BLOCK, self._all)

    def wait(self, seconds: float) -> int | None:
        """The signal that told us to stop meanwhile, if one did."""
        got = signal.sigtimedwait(self._stopping, max(0.0, seconds))
        return got.si_signo if got else None

    def until_over(self, runner: int) -> int:
        """Waits for the runner, hands on to it what tells us to stop; its status."""
        while True:
            got = signal.sigwaitinfo(self._all)
            if got.si_signo == signal.SIGCHLD:
                pid, status = os.waitpid(runner, os.WNOHANG)
                if pid == runner:
                    return status
            elif not (got.si_signo in (signal.SIGINT, signal.SIGQUIT) and got.si_code == _SI_KERNEL):
                linux.kill(runner, signal.SIGTERM)


class Foreground(Machine):
    """The command stays in the caller's session and process group, so that its terminal is its own."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(None)
        self._caller = caller

    def prepare(self, unit: Unit, variables: dict[str, str], inherited: tuple[int, ...]) -> spawn.Command:
        caller, program = self._caller, self._caller.program
        if program is None:
            raise spawn.CannotStartError(f"program missing: {unit.exec[0]}")
        return spawn.Command(
            (program, *caller.argv[1:]),
            caller.environment | variables,
            caller.working_directory,
            umask=caller.umask,
            inherited=inherited,
            in_session=True,
            ignored=caller.ignored,
        )

    def signal_everything(self, number: int) -> None:
        for pid in _descendants(os.getpid()):
            linux.kill(pid, number)


def _descendants(ancestor: int) -> list[int]:
    children = proc.children_of(ancestor)
    return [*children, *(pid for child in children for pid in _descendants(child))]


class Held(Runner):
    """A run of `vcsctl lock`. Its name in the index stays until its outcome is in the history: no vcsd started it, so
    that is how one learns of it."""

    def __init__(self, job: Job, machine: Machine, outcome: int) -> None:
        super().__init__(job, machine)
        self._to_parent = outcome

    def _end(self, cause: str, why: str, code: int | None = None, ran_s: float | None = None) -> End:
        return super()._end(cause, f"{self.job.claim.why}: {why}", code, ran_s)

    def _leave_index(self) -> None:
        return

    def _finish(self, end: End) -> None:
        super()._finish(end)
        os.write(self._to_parent, codec.encode(end))


def start(job: Job, caller: Caller) -> tuple[int, int]:
    """Forks the runner: its pid, and a descriptor to `read_end` from when it is over."""
    linux.become_subreaper()
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    parent = os.getpid()
    pid = linux.fork()
    if pid == 0:
        _run(job, caller, writer, parent)
    os.close(writer)
    return pid, reader


def read_end(reader: int) -> End | None:
    """What became of the command; None where the runner did not live to tell."""
    with contextlib.suppress(BlockingIOError, codec.BadRecordError), open(reader, "rb") as pipe:
        return codec.decode(End, pipe.read() or b"")
    return None


def end_leftovers() -> None:
    """Kills what a killed runner left to us, until nothing is left."""
    while True:
        for pid in proc.children_of(os.getpid()):
            linux.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _run(job: Job, caller: Caller, writer: int, parent: int) -> NoReturn:
    code = _INTERNAL_ERROR
    try:
        linux.become_subreaper()
        # Nobody waits for a command whose `vcsctl` was killed: it is stopped. Its signal waits until we can take it.
        linux.die_with_parent(signal.SIGTERM)
        if os.getppid() == parent:
            # Ctrl-Z stops the command, but not who proves its locks and ends it when they are lost.
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
                signal.signal(number, signal.SIG_IGN)
            machine = Foreground(caller)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            Held(job, machine, writer).run()
        code = 0
    except StorageError as error:
        _note(str(error))
    except BaseException as error:  # noqa: BLE001 - the outermost frame of a process: nothing may fall back
        _note(f"a fault of vcsctl itself ({type(error).__name__}: {error}); report it")
        if os.environ.get("VCS_DEBUG"):
            _note(traceback.format_exc())
    finally:
        os._exit(code)


def _note(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"vcsctl: {text}\n".encode())
