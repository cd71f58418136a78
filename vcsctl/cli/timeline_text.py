"""The chart of `timeline` for a terminal, as wide as it is; through a pipe a table of the same spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

from vcsctl.cli.layout import cut, wrapped
from vcsctl.cli.tables import local, seconds, table
from vcsctl.cli.terminal import columns, has_signs, paint
from vcsctl.domain.clock_change import step_in_words
from vcsctl.domain.timeline import (
    NO_GROUP,
    Cell,
    Section,
    Span,
    Window,
    cells,
    clock_steps,
    column_of,
    marks,
)

_LABEL_PART = 3  # the names take this part of the width at most
_MARK_COLUMNS = 9  # between two times on the axis

# What a cell shows: the part of it that was spent running, waiting, ended badly, missed; then the axis.
_SIGNS = {
    True: ("▁▂▃▄▅▆▇█", "░", "×", "!", "│", "─", "┬", "▼"),
    False: (".:-=+*%#", "~", "x", "!", "|", "-", "+", "v"),
}
HEADER = ("DUE", "START", "END", "WAITED", "RAN", "STATE", "KEY", "GROUPS", "SLOTS", "NODE", "WHY")


def lines(found: Sequence[Section], spans: Sequence[Span], window: Window) -> Iterator[str]:
    width = columns()
    if width is None:
        yield from table(HEADER, [cells_of(span) for span in spans])
        return
    yield from _chart(found, window, width)


def cells_of(span: Span) -> tuple[str, ...]:
    """A span as a row of a table."""
    waited = seconds((span.start - span.due).total_seconds()) if span.start else ""
    ran = seconds((span.end - span.start).total_seconds()) if span.start and span.end else ""
    times = (local(span.due), local(span.start), local(span.end or span.last))
    return (*times, waited, ran, span.state, span.key, ",".join(span.groups), str(span.count), span.node, span.why)


def _chart(found: Sequence[Section], window: Window, width: int) -> Iterator[str]:
    signs = _SIGNS[has_signs()]
    running, waiting, bad, missed, bar, *_, now = signs
    names = [f"  {lane.key}" for section in found for lane in section.lanes]
    titles = [section.group or "no group" for section in found]
    label = min(max(map(len, [*names, *titles, ""])) + 1, width // _LABEL_PART)
    room = max(1, width - label)
    begin, until = window.begin.astimezone(), window.until.astimezone()
    yield from wrapped(f"{begin:%a %Y-%m-%d %H:%M %z} to {until:%a %Y-%m-%d %H:%M %z}", width)
    if not found:
        yield from wrapped("nothing ran, waits or is to run in these hours", width)
        return
    for line in _axis(window, room, signs):
        yield " " * label + line
    now_at = column_of(window.now, window, room)
    for section in found:
        if section.group == NO_GROUP:
            yield paint("strong", "no group")
        else:
            held = _painted(cells(section.spans, window, room), signs, now_at, holds=True)
            yield paint("strong", _cut(section.group, label)) + held
        for lane in section.lanes:
            yield _cut(f"  {lane.key}", label) + _painted(cells(lane.spans, window, room), signs, now_at)
    legend = [f"{running[0]} to {running[-1]} running", f"{waiting} waiting", f"{bad} failed", f"{missed} missed"]
    yield from _legend([*legend, *([f"{bar} now ({now})"] if now_at is not None else [])], width)
    for at, by in clock_steps(window, datetime.astimezone):
        yield from wrapped(step_in_words(at.astimezone(), by), width)


def _legend(parts: Sequence[str], width: int) -> Iterator[str]:
    """As many of them in a line as it takes."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if line and len(longer) > width:
            yield line
            longer = part
        line = longer
    yield line


def _cut(text: str, width: int) -> str:
    """The label in its column, with a blank behind it."""
    return cut(text, max(1, width - 1)).ljust(width)[:width]


def _axis(window: Window, room: int, signs: Sequence[str]) -> Iterator[str]:
    *_, line, tick, now = signs
    times, rule = [" "] * room, [line] * room
    free_from = 0
    for at in marks(window, max(2, room // _MARK_COLUMNS), datetime.astimezone):
        column = column_of(at, window, room)
        if column is None:
            continue
        rule[column] = tick
        shown = at.astimezone()
        text = f"{shown:%a %d}" if (shown.hour, shown.minute) == (0, 0) else f"{shown:%H:%M}"
        if column >= free_from and column + len(text) <= room:
            times[column : column + len(text)] = text
            free_from = column + len(text) + 1
    now_at = column_of(window.now, window, room)
    if now_at is not None:
        rule[now_at] = now
    yield "".join(times).rstrip()
    yield "".join(rule)


def _painted(row: Sequence[Cell], signs: Sequence[str], now_at: int | None, *, holds: bool = False) -> str:
    """`holds`: of a group counts what is held, not who waits."""
    shown = [_sign(cell, signs, holds=holds) for cell in row]
    if now_at is not None and shown[now_at][1] == " ":
        shown[now_at] = ("faint", signs[4])
    while shown and shown[-1][1] == " ":
        shown.pop()
    parts = []
    for meaning, some in groupby(shown, key=lambda one: one[0]):
        text = "".join(sign for _, sign in some)
        parts.append(paint(meaning, text) if meaning else text)
    return "".join(parts)


def _sign(cell: Cell, signs: Sequence[str], *, holds: bool) -> tuple[str, str]:
    """What took most of the cell's time, but that something went wrong comes first."""
    running, waiting, bad, missed, *_ = signs
    if holds:
        return ("busy", _part(cell, running)) if cell.running else ("", " ")
    if cell.is_bad:
        return "bad", bad
    if cell.is_missed:
        return "bad", missed
    # A wait that is nothing at this scale hides no run.
    if cell.waiting > cell.running and (not cell.running or cell.waiting * len(running) >= 1):
        return "waits", waiting
    return ("busy", _part(cell, running)) if cell.running else ("", " ")


def _part(cell: Cell, signs: str) -> str:
    return signs[min(len(signs) - 1, int(cell.running * len(signs)))]
