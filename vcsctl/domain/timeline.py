"""What ran, waits and is to run, as spans in lanes by group, and as the cells of a chart. No I/O, no clock.

A span is one run from the moment it was due: due → queued → running → end. A lane is a KEY. A KEY in several groups has
a lane in each of them, for each group's picture is to be whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from vcsctl.domain.forecast import Forecast
from vcsctl.domain.history import Row
from vcsctl.domain.reconcile import CLOCK_TOLERANCE
from vcsctl.domain.run import CAUSES, Claim, Outcome

State = Outcome | Literal["running", "waiting", "planned"]
BAD: Collection[State] = ("failed", "timeout", "lost")
NO_GROUP = ""
_MINUTE = timedelta(minutes=1)
# Minutes between two marks of an axis. Those of an hour and more are counted from midnight.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
_QUARTER = 15  # every zone's offset of today is a multiple of it


@dataclass(frozen=True, slots=True)
class Span:
    """One run, or slots that none stands for (`missed`), the first of them `due` and the `last`. `end` None: not in
    sight; `start` None: did not start."""

    key: str
    service: str
    groups: tuple[str, ...]
    state: State
    due: datetime
    start: datetime | None = None
    end: datetime | None = None
    slot: datetime | None = None
    run: str = ""
    node: str = ""
    why: str = ""
    count: int = 1  # of slots: those coalesced into it are among them
    last: datetime | None = None  # of slots that were missed in a row


@dataclass(frozen=True, slots=True)
class Window:
    """What the chart shows: from `begin` on and before `until`. What has no end is drawn up to `open_until`."""

    begin: datetime
    until: datetime
    now: datetime
    open_until: datetime

    def shows(self, span: Span) -> bool:
        if span.state == "missed":
            return next(self.missed(span), None) is not None
        return span.due < self.until and (span.end or self.open_until) >= self.begin

    def missed(self, span: Span) -> Iterator[datetime]:
        """The slots within the window. Of a row only the first and the last are on record; the others are evenly
        spread, which is right for all but times of day."""
        gaps = span.count - 1 if span.last else 0
        step = ((span.last or span.due) - span.due) / max(1, gaps)
        skipped = max(0, math.ceil((self.begin - span.due) / step)) if step else 0
        for number in range(skipped, gaps + 1):
            if (at := span.due + number * step) >= self.until:
                return
            if at >= self.begin:
                yield at

    @property
    def length(self) -> timedelta:
        return self.until - self.begin

    def waiting(self, span: Span) -> tuple[datetime, datetime]:
        """From when to when it waited; a slot that was missed waited for nobody."""
        return span.due, span.due if span.state == "missed" else span.start or self.open_until

    def running(self, span: Span) -> tuple[datetime, datetime] | None:
        return (span.start, max(span.start, span.end or self.open_until)) if span.start else None


@dataclass(frozen=True, slots=True)
class Lane:
    key: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One group with the KEYs in it; NO_GROUP has those in none."""

    group: str
    lanes: tuple[Lane, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(span for lane in self.lanes for span in lane.spans)


@dataclass(slots=True)
class Cell:
    """One column of a lane: which part of its time was spent running and waiting, and what else is to be seen."""

    running: float = 0.0
    waiting: float = 0.0
    is_bad: bool = False
    is_missed: bool = False


def of_rows(rows: Iterable[Row], groups: Callable[[str], tuple[str, ...]]) -> Iterator[Span]:
    """What the history tells. What was skipped took no time and is left to `history`."""
    for row in rows:
        taken, waited = row.groups or groups(row.service), timedelta(seconds=row.queue_wait_s or 0.0)
        if row.is_run and row.outcome not in ("missed", "skipped"):
            start = _not_before(row.slot, row.started_at or row.at)
            due = _as_slot(row.slot, start - waited)
            yield Span(
                row.key, row.service, taken, row.outcome, due, start, max(start, row.at), row.slot, row.id, row.node,
                row.why,
            )  # fmt: skip
        elif row.outcome == "missed":
            due = row.slot or row.at - waited  # of a request that was in time for nobody: when it was asked for
            yield Span(
                row.key, row.service, taken, "missed", due, slot=row.slot, why=row.why, count=row.count, last=row.last
            )


def _not_before(slot: datetime | None, start: datetime) -> datetime:
    """No run begins before its slot, whatever the clocks of two machines make of it."""
    return max(slot, start) if slot else start


def _as_slot(slot: datetime | None, due: datetime) -> datetime:
    """The slot where only the clocks make a difference; one that stands for older slots came with the first of them."""
    return max(slot, due) if slot and slot - due <= CLOCK_TOLERANCE else due


def of_live(claim: Claim, since: datetime, groups: tuple[str, ...]) -> Span:
    """A run that is under way."""
    taken, start = tuple(sorted({*groups, *claim.groups})), _not_before(claim.slot, since)
    due = _as_slot(claim.slot, min(claim.queued_at or since, since))
    return Span(
        claim.key, claim.service, taken, "running", due, start, None, claim.slot, claim.run_id, claim.node, claim.why
    )


def of_forecast(foreseen: Forecast, groups: Callable[[str], tuple[str, ...]]) -> Iterator[Span]:
    for run in foreseen.runs:
        state: State = "running" if run.start < foreseen.start else "planned"
        yield Span(
            run.key, run.service, run.groups, state, run.due, run.start, run.end, run.slot, count=run.coalesced + 1
        )
    for entry in foreseen.waiting:
        yield Span(entry.key, entry.service, entry.groups, "waiting", entry.due, why=entry.why, count=entry.count)
    for row in foreseen.unstarted:
        if row.cause in CAUSES and CAUSES[row.cause].outcome == "missed":
            taken = groups(row.service)
            last = row.last if row.count > 1 else None
            yield Span(
                row.key, row.service, taken, "missed", row.first, slot=row.first, why=row.why, count=row.count,
                last=last,
            )  # fmt: skip


def sections(spans: Iterable[Span], empty: Iterable[tuple[str, tuple[str, ...]]] = ()) -> list[Section]:
    """By group, those without one last. `empty`: KEYs with their groups that have a lane in any case."""
    lanes: dict[str, dict[str, list[Span]]] = {}
    for key, groups in empty:
        for group in groups or (NO_GROUP,):
            lanes.setdefault(group, {}).setdefault(key, [])
    for span in spans:
        for group in span.groups or (NO_GROUP,):
            lanes.setdefault(group, {}).setdefault(span.key, []).append(span)
    order = sorted(lanes, key=lambda group: (group == NO_GROUP, group))
    return [Section(group, tuple(_lane(key, found) for key, found in sorted(lanes[group].items()))) for group in order]


def _lane(key: str, spans: Iterable[Span]) -> Lane:
    return Lane(key, tuple(sorted(spans, key=lambda span: (span.due, span.start or span.due))))


def cells(spans: Iterable[Span], window: Window, width: int) -> list[Cell]:
    found = [Cell() for _ in range(width)]
    for span in spans:
        for number, share in _shares(*window.waiting(span), window, width):
            found[number].waiting += share
        if span.state == "missed":
            for at in window.missed(span):
                found[int((at - window.begin) / window.length * width)].is_missed = True
        if running := window.running(span):
            for number, share in _shares(*running, window, width):
                found[number].running += share
            if span.state in BAD:
                for number in _place(running[1], window, width):
                    found[number].is_bad = True
    return found


def _place(at: datetime, window: Window, width: int) -> Iterator[int]:
    if window.begin <= at < window.until:
        yield int((at - window.begin) / window.length * width)


def _shares(begin: datetime, end: datetime, window: Window, width: int) -> Iterator[tuple[int, float]]:
    """Which cells the time from `begin` to `end` touches, and which part of each."""
    left = max(0.0, (begin - window.begin) / window.length * width)
    right = min(float(width), (end - window.begin) / window.length * width)
    if left >= right:
        return
    for number in range(int(left), min(width, int(right) + 1)):
        if (share := min(right, number + 1) - max(left, number)) > 0:
            yield number, share


def column_of(at: datetime, window: Window, width: int) -> int | None:
    """The cell of an instant; None where the chart does not show it."""
    return next(_place(at, window, width), None)


def marks(window: Window, most: int, local: Callable[[datetime], datetime]) -> list[datetime]:
    """At most about `most` instants at which the wall clock shows round times; `local` gives what it shows.

    They are looked for on the wall clock, not reckoned from the first: so they are right behind a clock change too,
    and an hour that comes twice has its marks twice.
    """
    minutes = window.length / _MINUTE
    step = next((step for step in _STEPS if minutes / step <= most), 1440 * max(1, round(minutes / 1440 / most)))
    grain = min(step, _QUARTER if step % _QUARTER == 0 else step)
    grain = grain if grain in (1, 5, 15) else 1
    at = window.begin.replace(second=0, microsecond=0)
    at -= timedelta(minutes=at.minute % grain)
    found = []
    while at < window.until:
        shown = local(at)
        if at >= window.begin and _is_round(shown, step):
            found.append(at)
        at += grain * _MINUTE
    return found


def _is_round(shown: datetime, step: int) -> bool:
    days, rest = divmod(step, 1440)
    minute = shown.hour * 60 + shown.minute
    if rest == 0 and days > 1:
        return minute == 0 and shown.toordinal() % days == 0
    return minute % step == 0


def clock_steps(window: Window, local: Callable[[datetime], datetime]) -> list[tuple[datetime, timedelta]]:
    """Where within the window the wall clock is put ahead or back, and by how much."""
    found, at = [], window.begin
    while at < window.until:
        following = min(at + timedelta(hours=1), window.until)
        by = (local(following).utcoffset() or timedelta()) - (local(at).utcoffset() or timedelta())
        if by:
            low, high = at, following
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = local(middle).utcoffset() == local(at).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append((high, by))
        at = following
    return found


def merged(spans: Sequence[Span], window: Window, nearest: timedelta) -> list[tuple[Span, ...]]:
    """Neighbours that a drawing could not tell apart, as one: of the same kind, and less than `nearest` apart."""
    found: list[list[Span]] = []
    until = window.begin
    for span in spans:
        end = span.last or span.due if span.state == "missed" else span.end or window.open_until
        alike = found and (found[-1][-1].state, bool(span.start)) == (span.state, bool(found[-1][-1].start))
        if alike and span.due - until < nearest and until - found[-1][0].due < 4 * nearest:
            found[-1].append(span)
        else:
            found.append([span])
        until = max(until, end) if len(found[-1]) > 1 else end
    return [tuple(one) for one in found]
