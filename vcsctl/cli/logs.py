"""logs: what runs printed, read where it lies, and read on while it grows."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from vcsctl.cli import log_files, whereabouts
from vcsctl.cli.context import Context, in_time
from vcsctl.cli.log_files import Log, Tail
from vcsctl.cli.lookout import Lookout, Message, again
from vcsctl.cli.moments import Moment, moment_option
from vcsctl.cli.terminal import Shown, paint
from vcsctl.cli.waiting import tell
from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import StorageError, UsageError, VcsError
from vcsctl.store import running

_FOLLOW_PAUSE_S = 0.2
_LOOK_S = 1.0
_LINES_BEFORE = 10  # as tail and journalctl have it


@click.command()
@click.argument("name")
@click.option("--run", "run_id", metavar="RUN", help="A run's id, as `history` shows it; default: the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added, run after run; of --run to its end.")
@moment_option("--since", help="All runs that wrote since then: 14:30, yesterday, `3d ago`, 2026-03-29.")
@click.option("-n", "--lines", type=click.IntRange(0), help="The last lines only; with -f 10 where nothing is said.")
@click.pass_obj
def logs(
    context: Context, name: str, run_id: str | None, follow: bool, since: Moment | None, lines: int | None
) -> None:
    """Print the log of a run.

    Example: vcsctl logs calculator -f

    Of the newest run, of --run, or of all that wrote --since a moment: what runs print bears no times, so it is told by
    whole logs. Logs lie on the node of their run; of one that ran elsewhere it is said where. A daemon has one log over
    all its runs. On a terminal a ? stands for control characters other than colours; a pipe gets every byte.
    """
    if run_id is not None and (service_of(run_id.rpartition(".")[0]) != name or not parse_run_id(run_id)):
        raise UsageError(f"{run_id!r} is no run of {name}; take one from `vcsctl history {name}`")
    if run_id is not None and since is not None:
        raise UsageError("--run names one run and --since many; leave one of them out")
    since_at = since.at(datetime.now(UTC), None, "last") if since is not None else None
    # Mostly the logs are on this node's own disk: they can be read while the shared directory does not answer.
    _see_that_it_answers(context.config.log_dir, name)
    there = log_files.logs_of(context.config.log_dir, name)
    chosen = _chosen(there, name, run_id, since_at)
    if follow and (chosen or run_id is None):
        lines = _LINES_BEFORE if lines is None and since is None else lines
        _follow(context, name, run_id, there, chosen, lines)
    elif chosen:
        _print_all(chosen, lines)
        if run_id is None and since is None and chosen[0].key == name:
            _tell_of_newer(context, name)
    elif since_at is not None and there:
        tell(f"no run of {name} has written anything here since then")
    else:
        in_time(lambda: _no_log(context, name, run_id))


def _see_that_it_answers(log_dir: str, name: str) -> None:
    """Nodes may share a log directory too, and one that hangs hangs whoever lists it: a child does so first."""

    def look() -> Iterator[Message]:
        with contextlib.suppress(OSError):  # met again by who prints it
            log_files.logs_of(log_dir, name)
        yield {}

    with Lookout(look) as lookout:
        while not lookout.is_over:
            lookout.messages(_LOOK_S)
            if lookout.is_deaf:
                raise StorageError(f"the log directory {log_dir}/{name} does not answer; see to its mount")


def _chosen(there: Sequence[Log], name: str, run_id: str | None, since: datetime | None) -> list[Log]:
    if run_id is not None:
        found = [log for log in there if log.number is not None and log.name == run_id]
        if not found and (whole := [log for log in there if log.number is None]):
            raise UsageError(f"{name} is a daemon: its log {whole[0].path} goes on over all its runs; leave --run out")
        return found
    if since is None:
        return log_files.newest_of_each(there)[-1:]
    moments = {log.path: log_files.written_at_s(log.path) for log in there}
    recent = [log for log in there if moments[log.path] >= since.timestamp()]
    return sorted(recent, key=lambda log: moments[log.path])


def _no_log(context: Context, name: str, run_id: str | None) -> None:
    if not NAME_PATTERN.fullmatch(name):
        context.row(name)
    raise whereabouts.missing_run(context, run_id) if run_id else whereabouts.missing_log(context, name)


def _tell_of_newer(context: Context, name: str) -> None:
    """What was printed is the newest that is here."""

    def look() -> Iterator[Message]:
        yield {"note": whereabouts.newest_elsewhere(context, name)}

    with contextlib.suppress(VcsError), Lookout(look) as lookout:
        while not lookout.is_over:
            if lookout.is_deaf:
                tell("the shared directory does not answer: a newer run may have its log on another node")
                return
            for message in lookout.messages(_LOOK_S):
                if message["note"]:
                    tell(f"this is not the newest: {message['note']}")


class _Printer:
    """Prints logs one after the other, or as they grow. Between them a line says whose it is, as tail does it: on a
    terminal, and through a pipe where it is of another KEY."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._named = len(logs) > 1 if self._is_terminal else len({log.key for log in logs}) > 1
        self._last: Log | None = None
        self._ends_line = True
        self._shown = defaultdict[str, Shown](Shown)

    def print(self, log: Log, data: bytes, *, is_last: bool = False) -> None:
        last, data = self._last, self._shown[log.path].of(data, is_last=is_last)
        if not data:
            return
        if log != last and (self._named or (last and (self._is_terminal or log.key != last.key))):
            click.echo(("" if self._ends_line else "\n") + paint("faint", f"==> {log.name} <=="))
        self._last = log
        self._ends_line = data.endswith(b"\n")
        click.echo(data, nl=False)

    def end(self) -> None:
        if self._last is not None:
            self.print(self._last, b"", is_last=True)


def _print_all(logs: Sequence[Log], lines: int | None) -> None:
    printer = _Printer(logs)
    for log, path, at in _parts(logs, lines):
        for data in log_files.text_of([path], at):
            printer.print(log, data)
    printer.end()


def _parts(logs: Sequence[Log], lines: int | None) -> list[tuple[Log, str, int]]:
    """The files that hold the last lines of these logs, and from which byte on."""
    files = [(log, path) for log in logs for path in log_files.parts_of(log.path)]
    number, at = log_files.start_of([path for _, path in files], lines)
    return [(log, path, at if place == 0 else 0) for place, (log, path) in enumerate(files[number:])]


def _follow(
    context: Context, name: str, run_id: str | None, there: Sequence[Log], chosen: Sequence[Log], lines: int | None
) -> None:
    following = _Following(context, name, run_id, there)
    following.begin(there, chosen, lines)
    with Lookout(lambda: again(lambda: _looks(context, name, run_id, is_known=bool(there)), _LOOK_S)) as lookout:
        said = _Said(f"the shared directory {context.config.shared_dir}")
        is_over = False
        while not is_over:
            following.go_on()
            for message in lookout.messages(_FOLLOW_PAUSE_S):
                is_over = is_over or message.get("over", False)
                said.heed(message)
            said.of_storage(is_deaf=lookout.is_deaf)
        following.go_on()
        following.end()


class _Said:
    """What is told beside the log, each once until it changes."""

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self._note = ""
        self._fault = ""
        self._trouble = ""

    def heed(self, message: Message) -> None:
        self._fault = message.get("fault", self._fault)
        if (note := message.get("note", "")) and note != self._note:
            tell(note)
            self._note = note

    def of_storage(self, *, is_deaf: bool) -> None:
        trouble = f"{self._storage} does not answer" if is_deaf else self._fault
        if trouble != self._trouble:
            tell(f"{trouble}; following goes on" if trouble else f"{self._storage} answers again")
            self._trouble = trouble


def _looks(context: Context, name: str, run_id: str | None, *, is_known: bool) -> Iterator[Message]:
    """In a child: what the shared directory tells of runs whose log may not be here."""
    if not is_known:
        context.row(name)
    run = parse_run_id(run_id) if run_id else None
    if run is not None:
        if running.is_over(context.paths, *run):
            yield {"over": True}
    elif note := whereabouts.newest_elsewhere(context, name):
        yield {"note": note}
    elif not is_known:
        yield {"note": f"no log of {name} on this node yet; waiting for its next run"}


class _Following:
    """The newest log of each KEY, and the next one when its run begins."""

    def __init__(self, context: Context, name: str, run_id: str | None, there: Sequence[Log]) -> None:
        self._log_dir = context.config.log_dir
        self._name = name
        self._run_id = run_id
        self._seen = {log.path for log in there}
        self._tails: dict[str, tuple[Log, Tail]] = {}

    def begin(self, there: Sequence[Log], chosen: Sequence[Log], lines: int | None) -> None:
        """Prints what is there, and follows the newest log of each KEY from then on."""
        self._printer = _Printer(chosen)
        followed = {log.path: log for log in log_files.newest_of_each(chosen)}
        for log, path, at in _parts(chosen, lines):
            if path in followed:
                self._tails[log.key] = (log, Tail(path, at))
                self._read_on(log.key)
                continue
            for data in log_files.text_of([path], at):
                self._printer.print(log, data)
        for log in log_files.newest_of_each(there) if self._run_id is None else ():
            if log.key not in self._tails:
                self._tails[log.key] = (log, Tail(log.path, os.path.getsize(log.path)))

    def go_on(self) -> None:
        begun = [log for log in log_files.logs_of(self._log_dir, self._name) if log.path not in self._seen]
        for key in self._tails:
            self._read_on(key)
        for log in begun if self._run_id is None else ():
            self._seen.add(log.path)
            if log.key in self._tails:
                self._tails.pop(log.key)[1].close()  # all of it was read after the next one had begun
            self._tails[log.key] = (log, Tail(log.path))
            self._read_on(log.key)

    def end(self) -> None:
        self._printer.end()

    def _read_on(self, key: str) -> None:
        log, tail = self._tails[key]
        for data in tail.new():
            self._printer.print(log, data)


COMMANDS: dict[str, click.Command] = {"logs": logs}
