"""timeline: the coming or past hours as a chart, from the history and by forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.hints import is_glob, likely
from vcsctl.cli.hours import hours_option
from vcsctl.cli.layout import wrapped
from vcsctl.cli.moments import Moment, moment_option
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import listed, local
from vcsctl.cli.terminal import columns
from vcsctl.domain.run import service_of, to_text
from vcsctl.errors import UnknownUnitError, UsageError

if TYPE_CHECKING:
    from vcsctl.domain.timeline import Span, Window

_MOST_NAMED = 30  # of those that never start for one reason; JSON has them all
_FURTHEST = timedelta(days=31)  # a forecast of more takes long and tells little


@dataclass(frozen=True, slots=True)
class _Asked:
    patterns: tuple[str, ...]
    group: str | None
    output: str
    page: str | None


@click.command()
@click.argument("patterns", metavar="[NAME|GLOB]...", nargs=-1)
@hours_option(8.0)
@click.option("-p", "--past", is_flag=True, help="The hours before now, or before --from.")
@moment_option("--from", "start", help="From this moment on, or with --past up to it: 2026-03-29, +2h.")
@click.option("--group", metavar="GROUP", help="Only this run group.")
@click.option("--html", "page", metavar="FILE", help="Write the chart as a page that needs no network.")
@output_option
@click.pass_obj
def timeline(
    context: Context,
    patterns: tuple[str, ...],
    hours: float,
    past: bool,
    start: Moment | None,
    group: str | None,
    page: str | None,
    output: str,
) -> None:
    """Show the coming or past hours as a chart.

    Example: vcsctl timeline --past --hours 2 'rates-*'

    What was is from the history, what comes is foreseen as `vcsctl simulate` does it. A service in several groups has a
    line in each. Daemons are shown where they hold a group, or by name. Through a pipe it is a table.
    """
    now = datetime.now(UTC)
    if page is not None and output != "table":
        raise UsageError("--html and --output json are two answers; choose one")
    begin = start.at(now, None, "last" if past else "next") if start is not None else now
    if past and begin > now:
        raise UsageError(f"--past shows the hours before --from, and {local(begin)} is still to come; leave --past out")
    begin -= timedelta(hours=hours) if past else timedelta(0)
    window = _window(begin, begin + timedelta(hours=hours), now)
    asked = _Asked(patterns, group, output, _page_path(page) if page is not None else None)
    in_time(lambda: _timeline(context, window, asked))


def _window(begin: datetime, until: datetime, now: datetime) -> Window:
    from vcsctl.domain.timeline import Window

    if until - now > _FURTHEST:
        raise UsageError(f"cannot foresee more than {_FURTHEST.days} days from now; choose an earlier --from")
    return Window(begin, until, now, max(now, until))


def _page_path(text: str) -> str:
    from vcsctl.cli.timeline_page import checked_path

    return checked_path(text)


def _timeline(context: Context, window: Window, asked: _Asked) -> Callable[[], None]:
    """Reads; what it returns foresees and draws."""
    from vcsctl.cli.progress import along, progress
    from vcsctl.domain.timeline import Span, of_forecast, of_live, of_rows
    from vcsctl.store import history

    overview = Overview(context)
    names = _names(context, asked)
    groups = cache(overview.groups_of)
    spans, strays = list[Span](), set[str]()
    if window.begin < window.now:
        spans += of_rows(history.read_since(context.paths, along(names, "reading", len(names)), window.begin), groups)
        if not asked.patterns:
            others = sorted(set(history.services(context.paths)) - context.published.units.keys())
            spans += of_rows(
                history.read_since(context.paths, along(others, "reading", len(others)), window.begin), lambda _: ()
            )
            strays = {one.service for one in spans if one.service in others and not one.groups and window.shows(one)}
    over = {span.run for span in spans}
    for run in overview.running.values():
        if run.value.run_id in over:
            continue  # it has ended between the two looks
        spans.append(of_live(run.value, run.at, groups(run.value.key)))
    if asked.patterns:
        spans += _daemons_without_share(overview, names, groups)
    for key, pending in overview.pending.items():
        if pending.place is not None:
            why = overview.waits_for(key)
            spans.append(Span(key, service_of(key), groups(key), "waiting", pending.place, why=why))
    # A lane without a span is shown only to who asked for it by name.
    named = names if asked.patterns else ()
    keys = {key: groups(key) for name in named for key in overview.keys(name)}

    def wanted(span: Span) -> bool:
        is_named = bool(asked.patterns) and span.service in names
        if not is_named and (asked.patterns or (_is_daemons(context, span.service) and not span.groups)):
            return False
        return (asked.group is None or asked.group in span.groups) and window.shows(span)

    def is_asked(name: str) -> bool:
        if asked.group is not None and asked.group not in groups(name):
            return False
        return name in names if asked.patterns else not _is_daemons(context, name) or bool(groups(name))

    def draw(found: Iterable[Span], assumed: Sequence[str] = (), never: Mapping[str, str] | None = None) -> None:
        shown = sorted(filter(wanted, found), key=lambda span: (span.due, span.key))
        told = [f"in no group here, as theirs are not on record: {listed(sorted(strays))}"] if strays else []
        alive = {span.service for span in shown if span.state in ("running", "waiting", "planned")}
        left = {name: why for name, why in sorted((never or {}).items()) if name not in alive}
        _draw(shown, keys, window, asked, [*told, *assumed], left)

    if window.until <= window.now:
        return lambda: draw(spans)
    from vcsctl.cli.outset import as_now, gather
    from vcsctl.cli.simulate import notes
    from vcsctl.domain.forecast import forecast

    hours = (window.until - window.now) / timedelta(hours=1)
    gathered = gather(context, overview, window.now, hours, (), everything=False)
    outset = as_now(context, overview, gathered)

    asked_for = frozenset(names)

    def matters(service: str) -> bool:
        return not asked.patterns or service in asked_for

    def foresee() -> None:
        with progress("foreseeing") as tell:
            foreseen = list(of_forecast(forecast(outset, gathered.start, gathered.until, tell, matters), groups))
        never = {name: why for name, why in {**gathered.idle, **gathered.never}.items() if is_asked(name)}
        draw(_joined(spans, foreseen), notes(gathered, is_asked), never)

    return foresee


def _daemons_without_share(
    overview: Overview, names: Iterable[str], groups: Callable[[str], tuple[str, ...]]
) -> Iterator[Span]:
    """Those that are up without a run on the shared directory, as their runners tell."""
    from vcsctl.domain.timeline import Span

    units = overview.context.published.units
    for name in names:
        if (units[name]["plain"] or {}).get("schedule") == "daemon":
            for one in overview.daemons.of(overview.line(name, units[name])):
                if one.told is not None and one.is_up and one.key not in overview.running:
                    start, run = one.told.began_at or one.told.since, one.told.run_id
                    yield Span(one.key, name, groups(one.key), "running", start, start, run=run, node=one.node)


def _joined(seen: list[Span], foreseen: list[Span]) -> list[Span]:
    """What is under way with the end that is foreseen; what waits as what becomes of it."""
    ends = {span.key: span.end for span in foreseen if span.state == "running"}
    becomes = {span.key for span in foreseen if span.state != "running"}
    live = {span.key for span in seen if span.state == "running"}
    found = [replace(span, end=ends.get(span.key)) if span.state == "running" else span for span in seen]
    found = [span for span in found if span.state != "waiting" or span.key not in becomes]
    return found + [span for span in foreseen if span.state != "running" or span.key not in live]


def _is_daemons(context: Context, service: str) -> bool:
    row = context.published.units.get(service)
    return bool(row and row["plain"] and row["plain"].get("schedule") == "daemon")


def _names(context: Context, asked: _Asked) -> list[str]:
    """The services that are meant. Raises UnknownUnitError where a name or a pattern means none."""
    units = context.published.units
    if asked.group is not None:
        groups = sorted({group for name in units for group in context.catalogs.groups(name)})
        if asked.group not in groups:
            hint = likely(asked.group, groups, "`vcsctl status` shows who is in which")
            raise UnknownUnitError(f"no service is in group {asked.group}; {hint}")
    if not asked.patterns:
        return sorted(units)
    found = set()
    for pattern in asked.patterns:
        matching = [name for name in units if fnmatchcase(name, pattern)]
        if not matching and is_glob(pattern):
            raise UnknownUnitError(f"no service matches {pattern}; `vcsctl status` lists them all")
        if not matching:
            context.row(pattern)
        found.update(matching)
    return sorted(found)


def _draw(
    spans: list[Span],
    keys: dict[str, tuple[str, ...]],
    window: Window,
    asked: _Asked,
    assumed: Sequence[str],
    never: Mapping[str, str],
) -> None:
    """`assumed`: what the forecast takes for granted; `never`: services that start nothing, each with the reason."""
    from vcsctl.cli.timeline_text import lines
    from vcsctl.domain.timeline import sections

    found = sections(spans, keys.items())
    if asked.group is not None:
        found = [section for section in found if section.group == asked.group]
    if asked.page is not None:
        from vcsctl.cli.timeline_page import page, write

        write(asked.page, page(found, spans, window, [*_never_start(never), *assumed]))
        show(f"{asked.page}: {len(spans)} runs")
        return
    if asked.output == "json":
        beside = {"begin": to_text(window.begin), "until": to_text(window.until), "notes": list(assumed)}
        show_json("timeline", [_plain(span) for span in spans], **beside, never=dict(never))
        return
    for line in lines(found, spans, window):
        show(line)
    for note in (*_never_start(never), *assumed):
        for text in wrapped(note, columns()):
            click.echo(text, err=columns() is None)  # beside a table that scripts read


def _never_start(never: Mapping[str, str]) -> Iterator[str]:
    """A line for each reason, as dozens may be disabled."""
    by_reason: dict[str, list[str]] = {}
    for name, why in never.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield f"never starts: {listed(names, _MOST_NAMED)}: {why}"


def _plain(span: Span) -> dict[str, Any]:
    def text(instant: datetime | None) -> str | None:
        return to_text(instant) if instant else None

    return {
        "key": span.key,
        "service": span.service,
        "groups": list(span.groups),
        "state": span.state,
        "slot": text(span.slot),
        "due": to_text(span.due),
        "start": text(span.start),
        "end": text(span.end),
        "last_slot": text(span.last),
        "slots": span.count,
        "run": span.run or None,
        "node": span.node or None,
        "why": span.why or None,
    }


COMMANDS: dict[str, click.Command] = {"timeline": timeline}
