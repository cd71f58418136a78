"""history: the recorded outcomes of a service, some of them, or what they say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, get_args

import click

from vcsctl.cli import layout
from vcsctl.cli.context import Context, answered, in_time, output_option, show, show_json, tell_of_nothing
from vcsctl.cli.layout import Column, shown_table, too_narrow
from vcsctl.cli.moments import Moment, moment_option
from vcsctl.cli.tables import local, readable, seconds
from vcsctl.domain.history import Row
from vcsctl.domain.run import LOCK, Outcome, Trigger, to_text
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import UsageError
from vcsctl.store import history

_DEFAULT_LINES = 20
_COLUMNS = (
    Column("AT", 19),
    Column("RUN", 12),
    Column("NODE", 4, leaves=1),
    Column("OUTCOME", 7),
    Column("TRIGGER", 8, leaves=2),
    Column("DURATION", 8, leaves=3),
    Column("WHY", 16),
)


@dataclass(frozen=True, slots=True)
class Filter:
    outcomes: frozenset[str]
    triggers: frozenset[str]
    node: str | None
    since: datetime | None
    until: datetime | None

    def takes(self, row: Row) -> bool:
        return (
            (not self.outcomes or row.outcome in self.outcomes)
            and (not self.triggers or row.trigger in self.triggers)
            and self.node in (None, row.node)
            and (self.until is None or row.at <= self.until)
        )

    @property
    def words(self) -> str:
        found = [f" that is {' or '.join(sorted(words))}" for words in (self.outcomes, self.triggers) if words]
        found += [f" on node {self.node}"] if self.node else []
        found += [f" since {local(self.since)}"] if self.since else []
        found += [f" until {local(self.until)}"] if self.until else []
        return "".join(found)

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Newest first; nothing older than `since` is read."""
        for row in rows:
            if self.since is not None and row.at < self.since:
                return
            if self.takes(row):
                yield row


def _words(*known: str) -> Callable[[click.Context, click.Parameter, str | None], frozenset[str]]:
    def parse(_ctx: click.Context, option: click.Parameter, text: str | None) -> frozenset[str]:
        words = frozenset(text.split(",")) if text is not None else frozenset()
        if unknown := sorted(words - set(known)):
            raise UsageError(f"{option.opts[0]}: {unknown[0]!r} is none of {', '.join(known)}")
        return words

    return parse


_OUTCOMES, _TRIGGERS = get_args(Outcome), get_args(Trigger)


@click.command(name="history")
@click.argument("name")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 1_000_000), help=f"How many rows; default {_DEFAULT_LINES}, or all."
)
@click.option("--outcome", metavar="WORD,...", callback=_words(*_OUTCOMES), help=f"Only: {', '.join(_OUTCOMES)}.")
@click.option("--trigger", metavar="WORD,...", callback=_words(*_TRIGGERS), help=f"Only: {', '.join(_TRIGGERS)}.")
@click.option("--node", metavar="NODE", help="Only what this node ran or recorded.")
@moment_option("--since", help="Not before: 14:30, yesterday, `3d ago`, 2026-03-29. With it all rows are shown.")
@moment_option("--until", help="Not after.")
@click.option("--stats", is_flag=True, help="How often each outcome; how long runs took and had waited.")
@output_option
@click.pass_obj
def history_command(
    context: Context,
    name: str,
    lines: int | None,
    outcome: frozenset[str],
    trigger: frozenset[str],
    node: str | None,
    since: Moment | None,
    until: Moment | None,
    stats: bool,
    output: str,
) -> None:
    """Show the recorded outcomes of a service, the newest last.

    Example: vcsctl history calculator --outcome failed,lost --since 3d
    """
    now = datetime.now(UTC)
    since_at, until_at = (moment.at(now, None, "last") if moment else None for moment in (since, until))
    if since_at and until_at and since_at > until_at:
        span = f"--since is {local(since_at)} and --until {local(until_at)}"
        raise UsageError(f"{span}: nothing is both after the one and before the other; turn them round")
    wanted = Filter(outcome, trigger, node, since_at, until_at)
    most = lines if lines is not None or stats or since else _DEFAULT_LINES
    in_time(lambda: _history(context, name, wanted, most, stats, output))


def _history(context: Context, name: str, wanted: Filter, most: int | None, stats: bool, output: str) -> None:
    # A service whose unit is gone keeps its history.
    recorded = history.read(context.paths, name, answered) if NAME_PATTERN.fullmatch(name) else iter(())
    newest = list(islice(recorded, 1))
    if not newest and name != LOCK:
        context.row(name)
    rows = list(islice(wanted.of(chain(newest, recorded)), most))
    if not rows and wanted.node is not None:
        context.node(wanted.node)  # one that is forgotten keeps its history
    if stats:
        _show_statistics(rows, output)
        return
    if not rows and output != "json":
        tell_of_nothing(f"nothing of {name}{wanted.words} is on record")
    rows.reverse()
    if output == "json":
        show_json("history", [plain_row(row) for row in rows])
        return
    cells = [
        (
            local(r.at),
            r.id,
            r.node,
            r.outcome,
            r.trigger,
            seconds(r.duration_s),
            readable(r.why) + (f" ({r.count} slots)" if r.count > 1 else ""),
        )
        for r in rows
    ]
    _show_table(_COLUMNS, cells)


def _show_statistics(rows: list[Row], output: str) -> None:
    from vcsctl.domain.statistics import statistics  # here, since few ask for them

    found = statistics(rows)
    first, last = (rows[-1].at, rows[0].at) if rows else (None, None)
    if output == "json":
        span = {"from": to_text(first) if first else None, "to": to_text(last) if last else None}
        show_json("statistics", {**span, **asdict(found)})
        return
    counted = ", ".join(f"{count} {outcome}" for outcome, count in found.outcomes.items())
    show(f"{counted or 'nothing'}; recorded from {local(first)} to {local(last)}" if rows else "nothing is recorded")
    spreads = [("duration", found.duration), ("queue wait", found.queue_wait)]
    cells = [
        (what, str(one.count), seconds(one.p50_s), seconds(one.p95_s), seconds(one.max_s))
        for what, one in spreads
        if one.count
    ]
    _show_table([Column(title) for title in ("", "RUNS", "P50", "P95", "MAX")], cells)


def _show_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    if not cells:
        return
    found = shown_table(columns, [layout.Row(one) for one in cells])
    for text in (*found.lines, *too_narrow(found.left_out)):
        show(text)


def plain_row(row: Row) -> dict[str, Any]:
    """A row as JSON has it."""
    return {key: to_text(value) if isinstance(value, datetime) else value for key, value in asdict(row).items()}


COMMANDS: dict[str, click.Command] = {"history": history_command}
