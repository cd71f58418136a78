"""log-rotator: has the distribution's logrotate rotate this project's logs and others. Rotates nothing itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import click

from vcsctl.domain import values
from vcsctl.domain.parsed import Bool, FieldError, Parsed
from vcsctl.domain.unit import Argv
from vcsctl.errors import FAILED, OK, StorageError, UsageError
from vcsctl.store.paths import Paths
from vcsctl.utilities import signal_process
from vcsctl.utilities.logrotate_text import Stanza, configuration, exactly, parse_log_pattern
from vcsctl.utilities.places import Directories
from vcsctl.utilities.settings import Items, Part, list_of, load, parse_plain_path, shown

NAME = "log-rotator"
HELP = """Rotate, compress and remove logs with the distribution's logrotate.

Rotates what vcsctl writes (logs in the log directory, run logs that have grown large, this node's audit file) and the
logs that /etc/vcs/utilities/log-rotator.yaml names. logrotate's state is kept apart from the system's, in
/var/lib/vcs/utilities/log-rotator.state.

Exit codes: 0 done, or nothing to do. 1 something could not be rotated; each is named. 2 the settings are wrong, or
logrotate is not installed; nothing was rotated.
"""
Size = Annotated[int, Parsed(values.parse_size)]
Keep = Annotated[int, Parsed(values.WholeNumber(0, 10_000))]
Account = Annotated[str, Parsed(values.parse_account)]
_RUN_LOG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*\.log")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]*")


def _parse_command(value: object) -> tuple[str, ...]:
    argv = values.parse_argv(value)
    if not argv[0].startswith("/"):
        raise ValueError(f"{argv[0]!r} is not an absolute path; write the program's absolute path")
    if not all(word.isprintable() for word in argv):
        raise ValueError("contains an end of line or a control character; put the command into a script")
    return argv


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRule:
    """Logs of other programs that are treated alike."""

    paths: Annotated[tuple[str, ...], Parsed(list_of(parse_log_pattern))]
    period: Annotated[str, Parsed(values.OneOf("daily", "weekly", "monthly", "yearly"))] | None = None
    max_size: Size | None = None
    keep: Keep = 14
    compress: Bool = True
    copy_truncate: Bool = False
    user: Account | None = None
    group: Account | None = None
    after: Annotated[Argv, Parsed(_parse_command)] = ()
    signal: Annotated[str, Parsed(values.parse_signal)] | None = None
    pid_file: Annotated[str, Parsed(parse_plain_path)] | None = None

    def __post_init__(self) -> None:
        if (self.user is None) != (self.group is None):
            raise FieldError("group" if self.group else "user", "needs user and group together; write both or neither")
        if (self.signal is None) != (self.pid_file is None):
            raise FieldError("signal" if self.signal else "pid_file", "needs signal and pid_file together; write both")
        if self.signal and self.after:
            raise FieldError("after", "cannot be used together with signal; let the command send the signal")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLogs:
    """What this project writes: a log beyond `max_size` is rotated; the audit file monthly."""

    max_size: Size = 50 << 20
    keep: Keep = 8
    compress: Bool = True
    audit_keep: Keep = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    own: Annotated[OwnLogs, Part(OwnLogs)] = OwnLogs()
    logs: Annotated[tuple[LogRule, ...], Items(LogRule)] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What one call of logrotate said: the logs it rotated (or would), its errors, its exit code."""

    rotated: tuple[str, ...]
    errors: tuple[str, ...]
    code: int


def run(places: Directories, config: str | None, dry_run: bool) -> int:
    settings = load(Settings, places.settings_file(NAME), config)
    # An ordinary user's PATH lacks the directories where distributions put logrotate.
    program = find_logrotate(f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    stanzas = [*own_stanzas(places, settings.own), *(_stanza_of(rule, places) for rule in settings.logs)]
    state = f"{places.state}/{NAME}.state" if dry_run else places.state_file(f"{NAME}.state")
    with tempfile.TemporaryDirectory(prefix="vcs-log-rotator.") as folder:
        path = f"{folder}/logrotate.conf"
        # Whatever the caller's umask: logrotate ignores a configuration that others may write.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(configuration(stanzas))
        report = _call(program, "--debug", state, path)
        # logrotate passes over what it cannot read in its configuration: then all of it is refused, not half done.
        if faults := [error.partition(" ")[2] for error in _said(report) if error.startswith(f"{path}:")]:
            raise UsageError(f"cannot use the settings: logrotate says: {'; '.join(faults)}; correct them")
        if not dry_run:
            report = _call(program, "--verbose", state, path)
    return _tell(report, dry_run)


def own_stanzas(places: Directories, own: OwnLogs) -> list[Stanza]:
    # vcsd and the runs hold their logs open for life: they are copied and truncated, not renamed.
    stanzas = [
        Stanza((f"{exactly(places.logs)}/*.log",), own.keep, own.compress, "weekly", own.max_size, copy_truncate=True)
    ]
    if large := tuple(exactly(path) for path in large_run_logs(places.logs, own.max_size)):
        stanzas.append(Stanza(large, own.keep, own.compress, max_size=own.max_size, copy_truncate=True))
    audit = Paths(places.shared).audit(places.node)
    stanzas.append(Stanza((exactly(audit),), own.audit_keep, own.compress, "monthly"))
    return stanzas


def large_run_logs(log_dir: str, max_size: int) -> Iterator[str]:
    """The run logs beyond `max_size`. A node may keep 100,000 small ones: logrotate need not hear of those."""
    for folder in _entries(log_dir):
        if _SERVICE.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False):
            for entry in _entries(folder.path):
                if _RUN_LOG.fullmatch(entry.name) and _size(entry) > max_size:
                    yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {(error.strerror or str(error)).lower()}") from None


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
    except OSError:
        return 0  # removed meanwhile


def _stanza_of(rule: LogRule, places: Directories) -> Stanza:
    script = rule.after
    if rule.signal and rule.pid_file:
        script = (sys.executable, "-I", signal_process.__file__, places.moved(rule.pid_file), rule.signal)
    account = (rule.user, rule.group) if rule.user and rule.group else None
    patterns = tuple(f"{exactly(places.root)}{pattern}" for pattern in rule.paths)
    return Stanza(patterns, rule.keep, rule.compress, rule.period, rule.max_size, rule.copy_truncate, account, script)


def find_logrotate(search_path: str) -> str:
    found = shutil.which("logrotate", path=search_path)
    if found is None:
        raise UsageError("cannot rotate: logrotate is not installed; install the distribution's package logrotate")
    return found


def _call(program: str, mode: str, state: str, path: str) -> Report:
    done = subprocess.run(
        [program, mode, "--state", state, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    lines = done.stdout.decode(errors="backslashreplace").splitlines()
    rotated, considered = [], ""
    for line in lines:
        if line.startswith("considering log "):
            considered = line.removeprefix("considering log ")
        elif line.strip() == "log needs rotating":
            rotated.append(considered)
    errors = [line for line in lines if line.startswith("error:")]
    if done.returncode and not errors:
        errors = lines[-1:] or [f"logrotate ended with exit code {done.returncode}"]
    return Report(tuple(rotated), tuple(errors), done.returncode)


def _said(report: Report) -> list[str]:
    return [error.removeprefix("error:").strip() for error in report.errors]


def _tell(report: Report, dry_run: bool) -> int:
    for path in report.rotated if dry_run else ():
        click.echo(f"would rotate {shown(path)}")
    for error in _said(report):
        click.echo(f"{NAME}: {shown(error)}", err=True)
    count = len(report.rotated)
    verb = "would rotate" if dry_run else "rotated"
    faults = f"; {len(report.errors)} faults" if report.errors else ""
    click.echo(f"{NAME}: {verb} {count} {'log' if count == 1 else 'logs'}{faults}")
    return FAILED if report.errors or report.code else OK
