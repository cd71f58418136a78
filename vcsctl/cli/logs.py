"""logs: what runs printed, read where it lies, and read on while it grows."""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import click

from vcsctl.cli import log_files, whereabouts
from vcsctl.cli.context import Context, answered, in_time
from vcsctl.cli.log_files import Log
from vcsctl.cli.log_follow import Wanted, follow
from vcsctl.cli.log_heads import Heads
from vcsctl.cli.lookout import Lookout, Message, again
from vcsctl.cli.moments import Moment, moment_option
from vcsctl.cli.terminal import Shown, paint
from vcsctl.cli.waiting import tell
from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import UsageError, VcsError
from vcsctl.store import running

_FOLLOW_PAUSE_S = 0.2
_LOOK_S = 1.0
_LINES_BEFORE = 10  # as tail and journalctl have it
_BEARS_NO_TIMES = (
    "the log of a daemon bears no times: shown are those of its files that were written to since then, the first of "
    "them from where it begins"
)


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
    whole logs. Before each of several a line says of which run it is. Logs lie on the node of their run; of one that
    ran elsewhere it is said where. A daemon has one log over all its runs; of that --since shows the rotated files that
    were written to since then. On a terminal a ? stands for control characters other than colours; a pipe gets every
    byte.
    """
    if run_id is not None and (service_of(run_id.rpartition(".")[0]) != name or not parse_run_id(run_id)):
        raise UsageError(f"{run_id!r} is no run of {name}; take one from `vcsctl history {name}`")
    if run_id is not None and since is not None:
        raise UsageError("--run names one run and --since many; leave one of them out")
    since_at = since.at(datetime.now(UTC), None, "last") if since is not None else None
    if follow and lines is None and since is None:
        lines = _LINES_BEFORE
    wanted = Wanted(context.config.log_dir, name, run_id, since_at.timestamp() if since_at else None, lines)
    if follow:
        _follow(context, wanted)
    else:
        # Mostly the logs are on this node's own disk: they can be read while the shared directory does not answer.
        in_time(lambda: _print(context, wanted), storage=wanted.storage)


def _print(context: Context, wanted: Wanted) -> Callable[[], None] | None:
    """In a child: nodes may share a log directory too. Returns what touches that no more."""
    there = log_files.logs_of(wanted.log_dir, wanted.name)
    chosen = wanted.of(there, answered)
    if not chosen:
        if wanted.since_s is None or not there:
            return lambda: in_time(lambda: _no_log(context, wanted.name, wanted.run_id))
        tell(f"no run of {wanted.name} has written anything here since then")
        return None
    printer = _Printer(context, wanted, chosen)
    for log, path, at in wanted.parts(chosen, answered):
        answered()  # of thousands that are empty nothing is printed
        for data in log_files.text_of([path], at, tell):
            printer.print(log, data)
    printer.end()
    is_newest_here = wanted.run_id is None and wanted.since_s is None and chosen[0].key == wanted.name
    return (lambda: _tell_of_newer(context, wanted.name)) if is_newest_here else None


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
    """Prints logs one after the other, or as they grow. Before each of several a line says whose it is, and before one
    that comes after another: they have nothing to do with each other."""

    def __init__(self, context: Context, wanted: Wanted, logs: Sequence[Log]) -> None:
        self._heads = Heads(context, wanted.name)
        self._named = len(logs) > 1
        self._last: Log | None = None
        self._ends_line = True
        self._shown = defaultdict[str, Shown](Shown)
        if self._named:
            self._heads.learn(logs)
        if wanted.since_s is not None and any(log.number is None for log in logs):
            tell(_BEARS_NO_TIMES)

    def print(self, log: Log, data: bytes, *, is_last: bool = False) -> None:
        last, data = self._last, self._shown[log.path].of(data, is_last=is_last)
        if not data:
            return
        if log != last and (self._named or last is not None):
            click.echo(("" if self._ends_line else "\n") + paint("faint", self._heads.of(log)))
        self._last = log
        self._ends_line = data.endswith(b"\n")
        click.echo(data, nl=False)

    def end(self) -> None:
        if self._last is not None:
            self.print(self._last, b"", is_last=True)


def _follow(context: Context, wanted: Wanted) -> None:
    """Two children look, the one at the logs and the other at the shared directory: each may hang by itself."""
    with Lookout(lambda: follow(wanted), storage=wanted.storage) as reading:
        log_dir = _Said(wanted.storage)
        found: list[Message] = []
        while not found:
            found = reading.messages(_FOLLOW_PAUSE_S)
            log_dir.of_storage(is_deaf=reading.is_deaf)
        is_known, chosen = found[0]["there"], [Log(*plain) for plain in found[0]["chosen"]]
        if chosen or wanted.run_id is None:
            printer = _Printer(context, wanted, chosen)
            _go_on(context, wanted, reading, log_dir, printer, found[1:], is_known=is_known)
            return
    in_time(lambda: _no_log(context, wanted.name, wanted.run_id))


def _go_on(
    context: Context,
    wanted: Wanted,
    reading: Lookout,
    log_dir: _Said,
    printer: _Printer,
    found: Sequence[Message],
    *,
    is_known: bool,
) -> None:
    shared_dir = _Said(f"the shared directory {context.config.shared_dir}")
    over_s = math.inf

    def looks() -> Iterator[Message]:
        return _looks(context, wanted.name, wanted.run_id, is_known=is_known)

    with Lookout(lambda: again(looks, _LOOK_S)) as lookout:
        while True:
            for message in found:
                if "data" in message:
                    printer.print(Log(*message["log"]), message["data"].encode("latin-1"))
                elif "note" in message:
                    tell(message["note"])
                elif message.get("read_s", 0.0) >= over_s:  # all that it wrote was there
                    printer.end()
                    return
                else:
                    log_dir.heed(message)
            for message in lookout.messages(0.0):
                if message.get("over"):
                    over_s = min(over_s, time.monotonic())
                shared_dir.heed(message)
            shared_dir.of_storage(is_deaf=lookout.is_deaf)
            found = reading.messages(_FOLLOW_PAUSE_S)
            log_dir.of_storage(is_deaf=reading.is_deaf)


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


COMMANDS: dict[str, click.Command] = {"logs": logs}
