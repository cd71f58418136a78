"""The chart of `timeline` as one page that needs nothing beside itself: no script, no font, no network."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from vcsctl import __version__
from vcsctl.cli.tables import seconds
from vcsctl.cli.timeline_text import HEADER, cells_of
from vcsctl.domain.clock_change import step_in_words
from vcsctl.domain.timeline import (
    BAD,
    NO_GROUP,
    Lane,
    Section,
    Span,
    Window,
    cells,
    clock_steps,
    marks,
    merged,
)
from vcsctl.errors import RefusedError
from vcsctl.store import files

_WIDTH, _LABEL, _ROW, _HEAD, _FOOT = 1280, 230, 22, 30, 22
_PLOT = _WIDTH - _LABEL - 10
_LABEL_LETTERS = 30
_CROSS = 10  # how wide the mark of a missed slot is
_MOST_MARKS = 14
_MOST_ROWS = 10_000  # of the table below the chart; a browser is slow with more

# Nothing is fetched, and nothing could be: the policy forbids it.
_HEAD_TEXT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ --back: #ffffff; --text: #1c2128; --faint: #656d76; --grid: #e1e4e8; --stripe: #f6f8fa;
  --ok: #2da44e; --running: #0969da; --planned: #8cbdf2; --edge: #0969da; --waiting: #d4a72c; --bad: #cf222e;
  --stopped: #8c959f; --now: #bc4c00; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #0d1117; --text: #e6edf3; --faint: #8d96a0; --grid: #2b313a; --stripe: #151b23;
    --ok: #3fb950; --running: #58a6ff; --planned: #1f4f8a; --edge: #58a6ff; --waiting: #bb8009; --bad: #f85149;
    --stopped: #7d8590; --now: #f0883e; }}
}}
body {{ background: var(--back); color: var(--text); font: 14px/1.45 system-ui, sans-serif; margin: 24px; }}
h1 {{ font-size: 18px; font-weight: 600; margin: 0 0 4px; }}
p {{ margin: 4px 0; color: var(--faint); }}
.chart {{ overflow-x: auto; margin: 12px 0; }}
svg {{ display: block; min-width: 900px; width: 100%; max-width: 1600px; height: auto; }}
svg text {{ fill: var(--text); font: 12px system-ui, sans-serif; }}
svg .axis, svg .share {{ fill: var(--faint); }}
svg .group {{ font-weight: 600; }}
.stripe {{ fill: var(--stripe); }}
.grid {{ stroke: var(--grid); }}
.rule {{ stroke: var(--faint); }}
.now {{ stroke: var(--now); stroke-width: 1.5; }}
svg .nowtext {{ fill: var(--now); font-weight: 600; }}
.ok {{ fill: var(--ok); }}
.running {{ fill: var(--running); }}
.planned {{ fill: var(--planned); stroke: var(--edge); stroke-width: .5; }}
.waiting {{ fill: var(--waiting); }}
.bad {{ fill: var(--bad); }}
.stopped {{ fill: var(--stopped); }}
.cross {{ stroke: var(--bad); stroke-width: 2; fill: none; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--text); }}
.legend span {{ display: inline-flex; align-items: center; gap: 6px; }}
.legend svg {{ min-width: 0; width: 22px; height: 14px; }}
details {{ margin-top: 16px; }}
summary {{ cursor: pointer; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 13px; margin-top: 8px; }}
th, td {{ text-align: left; padding: 2px 14px 2px 0; border-bottom: 1px solid var(--grid); white-space: nowrap; }}
</style>
</head>
<body>
"""
_LEGEND = (
    ("ok", "ran well"),
    ("bad", "failed, timed out or lost"),
    ("stopped", "stopped"),
    ("running", "running"),
    ("planned", "foreseen"),
    ("waiting", "in queue"),
    ("cross", "slot missed"),
)


def checked_path(text: str) -> str:
    """Where the page goes. Raises RefusedError where that would take the place of what is no file."""
    path = os.path.abspath(text)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise RefusedError(f"--html {text}: there is no directory {folder}; make it first") from None
        return path
    except OSError as error:
        raise RefusedError(f"--html {text}: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "no file"
        raise RefusedError(f"--html {text} is {kind}; name a file, or one that is not there yet")
    return path


def write(path: str, text: str) -> None:
    """All of it or nothing; what came there meanwhile is replaced, and never followed."""
    files.replace(checked_path(path), text.encode("utf-8", "backslashreplace"))


def page(found: Sequence[Section], spans: Sequence[Span], window: Window, notes: Sequence[str] = ()) -> str:
    begin, until = window.begin.astimezone(), window.until.astimezone()
    title = f"Timeline {begin:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"
    return "\n".join(
        [
            _HEAD_TEXT.format(title=title) + f"<h1>{title}</h1>",
            _made(window),
            *_legend(),
            *(f"<p>{step_in_words(at.astimezone(), by)}</p>" for at, by in clock_steps(window, datetime.astimezone)),
            *(f"<p>{escape(note)}</p>" for note in notes),
            '<div class="chart">',
            *_chart(found, window, title),
            "</div>",
            *_table(spans),
            "</body>",
            "</html>",
            "",
        ]
    )


def _made(window: Window) -> str:
    offsets = " and ".join(dict.fromkeys(f"{at.astimezone():%z}" for at in (window.begin, window.until)))
    made = f"{window.now.astimezone():%Y-%m-%d %H:%M:%S} by vcsctl {escape(__version__)}"
    return f"<p>Local times, {offsets}; made {made}. Point at a bar to read more.</p>"


def _legend() -> Iterator[str]:
    yield '<p class="legend">'
    for look, text in _LEGEND:
        shape = '<path class="cross" d="M7 3l8 8m0-8l-8 8"/>' if look == "cross" else _rect(look, 0, _lift(look), 22)
        yield f'<span><svg viewBox="0 0 22 14" aria-hidden="true">{shape}</svg>{text}</span>'
    yield "</p>"


def _lift(look: str) -> tuple[float, float]:
    """From where, and how high, a bar is: who waits is flat, so that it is told from who runs without colours too."""
    return (5, 4) if look == "waiting" else (1, 12)


def _rect(look: str, left: float, lift: tuple[float, float], width: float, top: float = 0, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    place = f'x="{left:.1f}" y="{top + lift[0]:g}" width="{max(width, 1):.1f}" height="{lift[1]:g}" rx="1"'
    return f'<rect class="{look}" {place}>{inner}</rect>' if inner else f'<rect class="{look}" {place}/>'


def _chart(found: Sequence[Section], window: Window, title: str) -> Iterator[str]:
    rows = sum(len(section.lanes) + 1 for section in found)
    height = _HEAD + rows * _ROW + _FOOT
    yield f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}; the table below says the same">'
    if not found:
        yield f'<text x="{_LABEL}" y="{_HEAD}">nothing ran, waits or is to run in these hours</text>'
    top, number = _HEAD, 0
    for section in found:
        top += _ROW
        for _ in section.lanes:
            if number % 2 == 0:
                yield f'<rect class="stripe" x="0" y="{top}" width="{_WIDTH}" height="{_ROW}"/>'
            top, number = top + _ROW, number + 1
    yield from _axis(window, height)
    top = _HEAD
    for section in found:
        yield _heading(section, window, top)
        top += _ROW
        for lane in section.lanes:
            yield f"<g><title>{escape(lane.key)}</title>"
            yield f'<text x="14" y="{top + 15}">{escape(_cut(lane.key))}</text></g>'
            yield from _bars(lane, window, top + (_ROW - 14) / 2)
            top += _ROW
    yield "</svg>"


def _heading(section: Section, window: Window, top: float) -> str:
    text = f'<text class="group" x="2" y="{top + 15}">{escape(_cut(section.group or "no group", 21))}</text>'
    if section.group == NO_GROUP:
        return text
    share = cells(section.spans, window, 1)[0].running
    held = f"held {min(share, 1.0):.0%}"
    return text + f'<text class="share" x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{held}</text>'


def _cut(text: str, most: int = _LABEL_LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _x(at: datetime, window: Window) -> float:
    """Where an instant is, at the edge if it is beyond."""
    return _LABEL + _PLOT * min(1.0, max(0.0, (at - window.begin) / window.length))


def _axis(window: Window, height: float) -> Iterator[str]:
    for at in marks(window, _MOST_MARKS, datetime.astimezone):
        shown, x = at.astimezone(), _x(at, window)
        text = f"{shown:%a %d}" if (shown.hour, shown.minute) == (0, 0) else f"{shown:%H:%M}"
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 6}" y2="{height - _FOOT}"/>'
        anchor = "start" if x < _LABEL + 20 else "end" if x > _WIDTH - 30 else "middle"
        yield f'<text class="axis" x="{x:.1f}" y="{_HEAD - 10}" text-anchor="{anchor}">{text}</text>'
    yield f'<line class="rule" x1="{_LABEL}" x2="{_LABEL + _PLOT}" y1="{_HEAD - 6}" y2="{_HEAD - 6}"/>'
    if window.begin <= window.now <= window.until:
        x = _x(window.now, window)
        yield f'<line class="now" x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 6}" y2="{height - _FOOT}"/>'
        yield f'<text class="nowtext" x="{x:.1f}" y="{height - 8}" text-anchor="middle">now</text>'


def _bars(lane: Lane, window: Window, top: float) -> Iterator[str]:
    nearest = window.length / _PLOT
    for some in merged(lane.spans, window, nearest):
        title = _told(some, window)
        first, last = some[0], some[-1]
        if first.state == "missed":
            crosses = "".join(f"M{x - 4:.1f} {top + 3:g}l8 8m0-8l-8 8" for x in _crosses(some, window))
            yield f'<path class="cross" d="{crosses}"><title>{escape(title)}</title></path>'
            continue
        waiting, running = window.waiting(first), window.running(last)
        begin, end = (_x(at, window) for at in waiting)
        if end - begin > 0.5 or running is None:
            yield _rect("waiting", begin, _lift("waiting"), end - begin, top, title)
        if running is not None:
            start, end = _x(first.start or running[0], window), _x(running[1], window)
            yield _rect(_look(last), start, _lift(""), end - start, top, title)


def _crosses(spans: Sequence[Span], window: Window) -> Iterator[float]:
    """Where slots were missed, and no two crosses in one place."""
    last = 0.0
    for span in spans:
        for at in window.missed(span):
            if (x := _x(at, window)) >= last + _CROSS:
                yield x
                last = x


def _look(span: Span) -> str:
    return "bad" if span.state in BAD else span.state


def _told(spans: Sequence[Span], window: Window) -> str:
    """What pointing at a bar tells."""
    first, last = spans[0], spans[-1]
    if len(spans) > 1:
        until = last.end or last.last or last.start or last.due
        return f"{first.key}: {len(spans)} times {last.state}\n{_clock(first.due)} to {_clock(until)}"
    parts = [f"{first.key}: {first.state}" + (f", run {first.run}" if first.run else "")]
    row = f" to {_clock(first.last)}" if first.last else ""
    parts.append(f"due {_clock(first.due)}{row}" + (f", for {first.count} slots" if first.count > 1 else ""))
    waiting = window.waiting(first)
    if waiting[1] - waiting[0] >= timedelta(seconds=1):
        parts.append(f"waited {seconds((waiting[1] - waiting[0]).total_seconds())}")
    if first.start:
        lasted = f", {seconds((first.end - first.start).total_seconds())}" if first.end else ""
        end = f" to {_clock(first.end)}" if first.end else ""
        parts.append(f"ran {_clock(first.start)}{end}{lasted}" + (f" on {first.node}" if first.node else ""))
    return "\n".join([*parts, *([first.why] if first.why else [])])


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone():%H:%M:%S}"


def _table(spans: Sequence[Span]) -> Iterator[str]:
    left_out = len(spans) - _MOST_ROWS
    yield f"<details><summary>The same as a table, {len(spans)} rows</summary>"
    if left_out > 0:
        yield f"<p>The first {_MOST_ROWS}; <code>vcsctl timeline ... | cat</code> prints the other {left_out} too.</p>"
    yield (
        '<div class="scroll"><table><thead><tr>'
        + "".join(f"<th>{name}</th>" for name in HEADER)
        + "</tr></thead><tbody>"
    )
    for span in spans[:_MOST_ROWS]:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells_of(span)) + "</tr>"
    yield "</tbody></table></div></details>"
