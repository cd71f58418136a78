"""One service on one screen: what it is, how it is, what it did, what comes next, what it said last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from vcsctl.cli import daemon_view
from vcsctl.cli.daemons import Instance
from vcsctl.cli.decisions import changed_since
from vcsctl.cli.layout import Column, Row, cut_line, shown_table, wrapped
from vcsctl.cli.overview import MISSING, NO_KIND, Line, Overview
from vcsctl.cli.selection import meaning
from vcsctl.cli.status_facts import SLOTS, durations, last_rows, log_here, log_of, recent
from vcsctl.cli.tables import elsewhere, local, readable, seconds, short, when
from vcsctl.cli.terminal import columns, mark, paint
from vcsctl.domain.history import Row as Outcome

_LABEL = 11
_LOOKS = {"ok": "good", "failed": "bad", "timeout": "bad", "lost": "bad", "missed": "waits"}
_ROWS = (
    Column("AT", 19),
    Column("RUN", 10, leaves=2),
    Column("NODE", 4, leaves=1),
    Column("OUTCOME", 7),
    Column("DURATION", 8, leaves=3),
    Column("WHY", 16),
)
_KEYS = (Column("KEY", 12), Column("LAST RUN", 24), Column("IN QUEUE", 20, below="in queue"))


def detail_lines(overview: Overview, line: Line, instances: Sequence[Instance]) -> Iterator[str]:
    how = meaning(line, instances)
    title = ": ".join(filter(None, (line.name, line.title)))
    yield f"{paint(how, mark(how))}{paint('strong', cut_line(title))}"
    if line.description:
        yield from wrapped(line.description, columns(), 2, 0)
    rows = recent(overview, line.name)
    for label, text in _facts(overview, line, rows):
        yield from wrapped(f"{label + ':':{_LABEL}}{readable(text)}", columns(), 2, _LABEL)
    for note in line.notes:
        if line.status == "enabled" and note.startswith(MISSING):
            continue  # it is among the problems above
        look = "waits" if note.startswith("override") else "bad"
        yield from (paint(look, text) for text in wrapped(readable(note), columns(), 2))
    for instance in instances:
        changed = changed_since(overview, line.name, instance)
        for text in daemon_view.details(instance, log_here(overview, instance), changed):
            indent = len(text) - len(text.lstrip())
            if indent < 4:
                yield from wrapped(readable(text.lstrip()), columns(), indent)
            else:
                yield cut_line(text)  # of its log
    keys = overview.keys(line.name)
    if keys != [line.name] and not instances:
        yield from shown_table(_KEYS, [_key_row(overview, key) for key in keys], 2).lines
    yield from _last_runs(rows)
    if line.kind != "daemon":
        yield from _log(overview, line)


def _facts(overview: Overview, line: Line, rows: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    now = datetime.now(UTC)
    yield "status", line.status
    if line.kind != NO_KIND:
        yield "schedule", _schedule(overview, line)
        groups = f"; groups: {', '.join(line.run_groups)}" if line.run_groups else "; no groups"
        yield "nodes", f"{', '.join(line.allowed_nodes) or 'all'}{groups}; provider: {line.provider}"
    if line.kind != "daemon":
        for run in line.runs:
            where = f"on {run.value.node}, {run.value.run_id}: {run.value.why}"
            yield "now", f"running since {when(run.at, now)} {where}"
    if line.queued_since:
        yield "queue", f"in queue since {when(line.queued_since, now)}, {line.waits_for}"
    if slots := overview.next_slots(line, now, SLOTS):
        then = ", ".join(short(slot, slots[0]) for slot in slots[1:])
        zone = elsewhere(slots[0], _zone(overview, line)) if line.kind == "fixed-time" else ""
        yield "next", f"{when(slots[0], now)}{f'{zone}, then' if zone else ','} {then}"
    if took := durations(rows):
        runs = f"the last {took.runs} runs" if took.runs > 1 else "its one run"
        yield "took", f"{seconds(took.average_s)} on average, {seconds(took.longest_s)} at most, by {runs}"


def _schedule(overview: Overview, line: Line) -> str:
    """As everywhere, and at which minutes that is."""
    words, plain = line.schedule, line.plain
    if line.kind == "daemon":
        return words
    if line.kind == "periodical" and 60 % plain["period"] == 0:
        minutes = range(plain.get("align", 0), 60, plain["period"])
        shown = [f"{minute:02}" for minute in minutes[:3]] + (["..."] if len(minutes) > 3 else [])
        words += f", at minute{'s' if len(minutes) > 1 else ''} {', '.join(shown)} of each hour"
    return f"{words}, {_zone(overview, line)}"


def _zone(overview: Overview, line: Line) -> str:
    return line.plain.get("timezone") or overview.context.published.timezone


def _key_row(overview: Overview, key: str) -> Row:
    run, pending, last = overview.running.get(key), overview.pending.get(key), overview.last_of_key.get(key)
    words = f"{local(last.at)} {last.outcome} {seconds(last.duration_s)}".rstrip() if last else "-"
    if run:
        words = f"running since {local(run.at)}"
    queued = f"since {local(pending.place)}, {overview.waits_for(key)}" if pending else "-"
    return Row((key, words, readable(queued)))


def _last_runs(recorded: Sequence[Outcome]) -> Iterator[str]:
    rows = [
        Row(
            (
                local(row.at),
                row.id,
                row.node,
                row.outcome,
                seconds(row.duration_s) or "-",
                readable(row.why) + (f" ({row.count} slots)" if row.count > 1 else ""),
            ),
            {"OUTCOME": _LOOKS.get(row.outcome, "waits")},
        )
        for row in last_rows(recorded)
    ]
    if rows:
        yield paint("strong", "last runs:")
        yield from shown_table(_ROWS, rows, 2).lines


def _log(overview: Overview, line: Line) -> Iterator[str]:
    log = log_of(overview, line)
    if log is None:
        return
    if log.is_here:
        yield paint("strong", cut_line(f"log: {log.path}"))
        yield from (cut_line(f"  {text}") for text in daemon_view.log_tail(log.path))
    elif log.node == overview.context.config.node:
        yield cut_line(f"log: {log.path} is gone")
    else:
        yield cut_line(f"log: on {log.node}; there `vcsctl logs {line.name} --run {log.run_id}` prints it")
