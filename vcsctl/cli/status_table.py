"""Services as tables, one for each kind, and what is said above and below them. Gathers nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vcsctl.cli import daemon_view
from vcsctl.cli.layout import Column, Row, cut_line, faint, shown_table, too_narrow, wrapped
from vcsctl.cli.overview import KINDS, Line, Overview
from vcsctl.cli.selection import failed_on, meaning, running_on
from vcsctl.cli.tables import ago, listed, local, readable, seconds, short
from vcsctl.cli.terminal import columns, mark, paint

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Instance

    Daemons = Mapping[str, Sequence[Instance]]

# On a terminal; through a pipe all are said.
_MOST_PROBLEMS, _MOST_OVERRIDES = 10, 5
_LOOKS = {"ok": "good", "failed": "bad", "timeout": "bad", "lost": "bad"}

# In the manual's order. Where a terminal is too narrow the rest is more urgent than these.
_NORMAL = (
    Column("STATUS", 12),
    Column("NAME", 30),
    Column("SCHEDULE", 14, leaves=3),
    Column("ALLOWED NODES", leaves=1),
    Column("RUN GROUPS", leaves=2),
    Column("LAST RUN", 32),
    Column("IN QUEUE", 20, below="in queue"),
)
_WIDE = (
    Column("STATUS", 12),
    Column("NAME", 30),
    Column("SCHEDULE", 14, leaves=5),
    Column("NEXT RUN", 9, leaves=8),
    Column("ALLOWED NODES", leaves=1),
    Column("RUN GROUPS", leaves=2),
    Column("LAST RUN", 9),
    Column("RESULT", 7),
    Column("DURATION", 8, leaves=6),
    Column("NODE", 6, leaves=7),
    Column("COALESCED", 9, leaves=3),
    Column("OVERRIDE", 12, leaves=4),
    Column("IN QUEUE", 20, below="in queue"),
)


class Cells:
    """The cells of one table. Through a pipe instants are whole; on a terminal short, with how long ago that is."""

    def __init__(self, overview: Overview, daemons: Daemons) -> None:
        self._overview = overview
        self._daemons = daemons
        self._where = len(overview.context.nodes) > 1  # in a cell of one the node goes without saying
        self._now = datetime.now(UTC)
        self._brief = columns() is not None

    def row(self, line: Line, *, wide: bool) -> Row:
        instances = self._daemons.get(line.name, ())
        looks = self._looks(line, instances) if self._brief else {}
        status = mark(looks["STATUS"]) + line.status if looks else line.status
        status += " *" if line.notes else ""
        allowed, groups = ", ".join(line.allowed_nodes) or "all", ", ".join(line.run_groups) or "-"
        queued = f"since {self._when(line.queued_since)}, {readable(line.waits_for)}" if line.queued_since else "-"
        told = readable(daemon_view.cell_words(instances, self._where, self._when))
        if not wide:
            last = told or self._last(line)
            return Row((status, line.name, line.schedule, allowed, groups, last, queued), looks)
        slots, override = self._next(line), ", ".join(line.overrides) or "-"
        last, result, took, node = self._result(line, told, instances)
        coalesced = self._coalesced(line)
        known = (status, line.name, line.schedule, slots, allowed, groups)
        return Row((*known, last, result, took, node, coalesced, override, queued), looks)

    @staticmethod
    def _looks(line: Line, instances: Sequence[Instance]) -> dict[str, str]:
        looks = {"STATUS": meaning(line, instances)}
        if line.queued_since:
            looks["IN QUEUE"] = "waits"
        if line.runs:
            looks["LAST RUN"] = "busy"
        elif line.last_run is not None and line.last_run.outcome in _LOOKS:
            looks["LAST RUN"] = looks["RESULT"] = _LOOKS[line.last_run.outcome]
        return looks

    def _when(self, instant: datetime | None) -> str:
        if instant is None or not self._brief:
            return local(instant)
        return f"{short(instant, self._now)} ({ago(instant, self._now)})"

    def _last(self, line: Line) -> str:
        if line.runs:
            nodes = f" on {listed(sorted(run.value.node for run in line.runs))}" if self._where else ""
            return f"running since {self._when(line.runs[0].at)}{nodes}"
        last = line.last_run
        if last is None:
            return "-"
        node = f" on {last.node}" if self._where else ""
        if self._brief:  # what is cut away first comes last
            return f"{last.outcome} {self._when(last.at)} {seconds(last.duration_s)}".rstrip() + node
        return f"{local(last.at)} {last.outcome} {seconds(last.duration_s)}".rstrip() + node

    def _result(self, line: Line, told: str, instances: Sequence[Instance]) -> tuple[str, str, str, str]:
        """When, how, how long and where it ran last, or runs."""
        last = line.last_run
        nodes = listed(sorted(running_on(line, instances)))
        if line.kind == "daemon" and told:
            return told, "-", "-", nodes or "-"
        if line.runs:
            lasts_s = (self._now - line.runs[0].at).total_seconds()
            return self._when(line.runs[0].at), "running", seconds(max(0.0, lasts_s)), nodes
        if last is None:
            return "-", "-", "-", "-"
        return self._when(last.at), last.outcome, seconds(last.duration_s) or "-", last.node

    def _next(self, line: Line) -> str:
        return self._when(next(iter(self._overview.next_slots(line, self._now)), None))

    def _coalesced(self, line: Line) -> str:
        """How many entries of the queue the next run of each KEY serves beside the first."""
        waiting = self._overview.waiting(line.name)
        count = sum(len(one.requests) + bool(one.slots_first) - 1 for one in waiting)
        return str(count) if count else "-"


def table_lines(overview: Overview, lines: Sequence[Line], daemons: Daemons, *, wide: bool) -> Iterator[str]:
    cells, left_out = Cells(overview, daemons), dict[str, None]()
    for kind, title in KINDS:
        rows = [cells.row(line, wide=wide) for line in lines if line.kind == kind]
        if rows:
            found = shown_table(_WIDE if wide else _NORMAL, rows, indent=2)
            left_out |= dict.fromkeys(found.left_out)
            yield paint("strong", title)
            yield from found.lines
            yield ""
    yield from too_narrow(list(left_out))
    if any(line.notes for line in lines):
        yield from faint("* `vcsctl status NAME` says more")


def first_lines(problems: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    """What is wrong comes first, whole; on a terminal what would fill the screen is counted."""
    width = columns()
    for texts, most, look, what in (
        (problems, _MOST_PROBLEMS, "bad", "problems"),
        (overrides, _MOST_OVERRIDES, "waits", "services with overrides"),
    ):
        shown = texts if width is None or len(texts) <= most else texts[:most]
        for text in shown:
            yield from (paint(look, line) for line in wrapped(readable(text), width))
        if len(shown) < len(texts):
            yield paint(look, cut_line(f"and {len(texts) - len(shown)} more {what}; through a pipe all are shown"))


def summary(lines: Sequence[Line], daemons: Daemons, problems: int) -> Iterator[str]:
    """How many, of what is shown. Disabled ones are counted too, or a quiet cell would look whole."""
    counts = {
        "running": sum(bool(running_on(line, daemons.get(line.name, ()))) for line in lines),
        "queued": sum(line.queued_since is not None for line in lines),
        "failed": sum(bool(failed_on(line, daemons.get(line.name, ()))) for line in lines),
        "disabled": sum(line.status == "disabled" for line in lines),
    }
    looks = {"running": "busy", "queued": "waits", "failed": "bad", "disabled": "faint"}
    parts = [(f"{count} {what}", looks[what] if count else "") for what, count in counts.items()]
    if problems:
        parts.append((f"{problems} problem{'s' if problems > 1 else ''}", "bad"))
    of = f"{len(lines)} service{'' if len(lines) == 1 else 's'}: "
    plain, width = of + ", ".join(text for text, _ in parts), columns()
    if width is not None and width < len(plain):
        yield from wrapped(plain, width)
    else:
        yield of + ", ".join(paint(look, text) if look else text for text, look in parts)
