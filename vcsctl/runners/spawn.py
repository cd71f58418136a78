"""From a unit to a process: everything between fork and exec of a command. Knows no lock, no record, no time.

What can be prepared (accounts, environment files, the program's path) is prepared by the parent, so that a
fault is a sentence and not a dead child.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import resource
import select
import signal
import sys
import threading
from dataclasses import dataclass, field
from typing import NoReturn

from vcsctl.domain.unit import Unit
from vcsctl.runners import cgroups, linux

# What vcsd, a runner or Python itself handles or ignores; a command gets the defaults back.
_OURS = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)
_MOST_OPEN_FILES = 1 << 16  # a runner closes every number below it
_open_files_before: tuple[int, int] | None = None
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotStartError(Exception):
    """The command was not executed; the text says why."""


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command ready to be executed."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    working_directory: str = "/"
    account: Account | None = None
    umask: int = 0o022
    nice: int | None = None
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    inherited: tuple[int, ...] = ()
    cgroup: str | None = None
    in_session: bool = False  # it stays in our session and at our terminal, instead of having a session of its own
    ignored: tuple[int, ...] = ()  # signals that whoever called us wants it to ignore
    output: int | None = None  # what it has as standard output, if not what we have


def raise_open_files() -> None:
    """As many as this machine lets us: every run keeps a descriptor for each of its locks. Commands get theirs back:
    a program that waits with select() fails on a number above 1023."""
    global _open_files_before
    soft, hard = _open_files_before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def search_path() -> str:
    """Where a bare program name is looked for: beside this program first, then the system's directories."""
    beside = os.path.dirname(os.path.abspath(sys.argv[0]))
    return f"{beside}:{os.path.dirname(sys.executable)}:{DEFAULT_PATH}"


def find_program(name: str) -> str | None:
    """The absolute path of an executable file, or None."""
    candidates = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in search_path().split(":")]
    return next((path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def prepare(unit: Unit, variables: dict[str, str], inherited: tuple[int, ...], cgroup: str | None) -> Command:
    """Raises CannotStartError where the unit asks for what this machine does not have."""
    program = find_program(unit.exec[0])
    if program is None:
        raise CannotStartError(f"program missing: {unit.exec[0]}")
    account = _account(unit)
    environment = {"PATH": search_path(), "LANG": os.environ.get("LANG", "C.UTF-8")}
    if "VCS_ROOT" in os.environ:
        environment["VCS_ROOT"] = os.environ["VCS_ROOT"]
    if account:
        environment |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    for path in unit.environment_files:
        environment |= _read_environment(path)
    environment |= unit.environment
    environment |= variables
    return Command(
        (program, *unit.exec[1:]),
        environment,
        unit.working_directory or (account.home if account else "/"),
        account,
        0o022 if unit.umask is None else unit.umask,
        unit.nice,
        unit.limits,
        inherited,
        cgroup,
    )


def _account(unit: Unit) -> Account | None:
    if unit.user is None and unit.group is None:
        return None
    if os.geteuid() != 0:
        raise CannotStartError(f"cannot run as {unit.user or unit.group}: vcsd does not run as root")
    try:
        user = unit.user or "root"
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise CannotStartError(f"unknown user {unit.user}; make the account or change the unit's user") from None
    gid = entry.pw_gid
    if unit.group is not None:
        try:
            gid = int(unit.group) if unit.group.isdecimal() else grp.getgrnam(unit.group).gr_gid
        except KeyError:
            raise CannotStartError(f"unknown group {unit.group}; make it or change the unit's group") from None
    return Account(entry.pw_uid, gid, linux.groups_of(entry.pw_name, gid), entry.pw_name, entry.pw_dir)


def _read_environment(path: str) -> dict[str, str]:
    """`NAME=value` lines, `#` comments, matching quotes around a value removed; no expansion."""
    optional, path = path.startswith("-"), path.removeprefix("-")
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        if optional:
            return {}
        raise CannotStartError(f"environment file {path} is missing; make it, or write -{path} if it may be") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStartError(f"cannot read environment file {path}: {error}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().partition("=")
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if not equals or not name.isidentifier():
            raise CannotStartError(f"{path}:{number}: cannot be read; write NAME=value")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Beginning:
    """A process on its way to its command. `descriptor` becomes readable when the command is executed or cannot be."""

    pid: int
    descriptor: int

    def is_decided(self, within_s: float) -> bool:
        poller = select.poll()
        poller.register(self.descriptor, select.POLLIN)
        return bool(poller.poll(max(0.0, within_s) * 1000))

    def fault(self) -> str:
        """Waits for it: empty when the command was executed, else why not. To be called once."""
        with open(self.descriptor, "rb") as pipe:
            report = pipe.read() or b""  # None: another child on its way to its command still has the other end
        number, _, step = report.decode().partition(" ")
        return f"cannot {step}: {os.strerror(int(number)).lower()}" if report else ""


def start(command: Command, within_s: float | None = None) -> int:
    """The pid of the executed command. Raises CannotStartError when it could not be executed, or not in time: a
    working directory or a program on a mount that does not answer may take for ever."""
    beginning = begin(command)
    if within_s is not None and not beginning.is_decided(within_s):
        linux.kill(beginning.pid, signal.SIGKILL)  # who waits for a network's file system can be killed
        os.close(beginning.descriptor)
        os.waitpid(beginning.pid, 0)
        raise CannotStartError(f"not executed within {within_s:.0f} s: its directory or program does not answer")
    if fault := beginning.fault():
        os.waitpid(beginning.pid, 0)
        raise CannotStartError(fault)
    return beginning.pid


def begin(command: Command) -> Beginning:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    # Until the child has the defaults back: what comes before that would be swallowed by our handlers in it.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)
    try:
        pid, enter = _fork(command.cgroup)
        if pid == 0:
            _become(command, parent, writer, enter)
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return Beginning(pid, reader)


def _fork(cgroup: str | None) -> tuple[int, str | None]:
    """The pid, and the control group that the child must enter by itself."""
    if threading.active_count() > 1:
        # Beside threads only the library's own fork leaves the child with an interpreter and an allocator that work.
        return os.fork(), cgroup
    return linux.fork_into_cgroup(cgroup) if cgroup else linux.fork(), None


def _become(command: Command, parent: int, writer: int, cgroup: str | None) -> NoReturn:
    """In the child: everything in the order in which the rights for it are still there, then exec."""
    step = "prepare the process"
    try:
        if cgroup:
            step = f"enter the control group {cgroup}"
            cgroups.enter(cgroup)
        if not command.in_session:
            os.setsid()
        if command.output is not None:
            os.dup2(command.output, 1)
        if command.nice is not None:
            step = f"set nice to {command.nice}"
            os.setpriority(os.PRIO_PROCESS, 0, command.nice)
        if (limit := _open_files_before) is not None:
            step = "set limit nofile"
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for name, limit in command.limits.items():
            step = f"set limit {name}"
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), limit)
        for descriptor in command.inherited:
            os.set_inheritable(descriptor, True)
        os.umask(command.umask)
        if command.account:
            step = f"become user {command.account.name}"
            os.setgroups(command.account.groups)
            os.setgid(command.account.gid)
            os.setuid(command.account.uid)
        step = f"enter {command.working_directory}"
        os.chdir(command.working_directory)
        signal.set_wakeup_fd(-1)
        for ours in _OURS:
            signal.signal(ours, signal.SIG_IGN if ours in command.ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        linux.die_with_parent()
        if os.getppid() != parent:  # it died before we asked to die with it
            os._exit(1)
        step = f"execute {command.argv[0]}"
        os.execve(command.argv[0], command.argv, command.environment)  # noqa: S606 - argv, as the unit says it
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        with contextlib.suppress(OSError):
            os.write(writer, f"{number} {step}".encode())
    finally:
        os._exit(127)
