"""The coming hours of a cell, event by event, by the functions that vcsd decides with. No I/O, no clock, no memory.

A virtual cell does at once what vcsd does a moment later: a slot comes, `decide` and `arrange` say what follows, a run
lasts as long as it is told to. Services that share no group, not even through others, cannot meet: each such circle
is played by itself, which is what makes a day of a large catalog a matter of seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Plan, Recover, Start, Wait
from vcsctl.domain.holder import Holder
from vcsctl.domain.keep_up import is_daemons
from vcsctl.domain.outcome import End
from vcsctl.domain.reconcile import arrange, decide, due_slots, start_limit
from vcsctl.domain.run import Claim, service_of
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, TimedUnit, Unit, schedule_of

_TICK = datetime.resolution


@dataclass(frozen=True, slots=True)
class Planned:
    """One run. `due` is when it entered the queue: its first slot came then, or its retry. `coalesced` counts the
    older slots that it stands for too."""

    key: str
    service: str
    groups: tuple[str, ...]
    slot: datetime | None  # None: asked for by hand
    due: datetime
    start: datetime
    end: datetime
    coalesced: int = 0
    attempt: int = 1

    @property
    def wait_s(self) -> float:
        return (self.start - self.due).total_seconds()


@dataclass(frozen=True, slots=True)
class Unstarted:
    """Slots (a range is one row) that no run stands for. `count` of them from `first` to `last`."""

    key: str
    service: str
    first: datetime
    last: datetime
    count: int
    cause: str
    why: str


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """What stands in the queue at the end, and for whom. `count` is of slots; 0: asked for by hand, or a retry."""

    key: str
    service: str
    groups: tuple[str, ...]
    due: datetime
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What happens from `start` on, before `until`. Runs that were live at the start began before it."""

    start: datetime
    until: datetime
    runs: tuple[Planned, ...] = ()  # in the order of their starts
    unstarted: tuple[Unstarted, ...] = ()
    waiting: tuple[StillWaiting, ...] = ()
    kept: frozenset[str] = frozenset()  # groups that a live run holds all the time, with no end in sight


@dataclass(frozen=True, slots=True)
class Live:
    """A run that is under way at the start. `ends_at` None: not in sight, as of a daemon."""

    began_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outset:
    """What a forecast starts from. `durations_s` has for each service what its runs last, one after the other and then
    from the first again: one number is a constant, the runs of a week are that week with its spread. A KEY that `live`
    names has that run in its view."""

    views: tuple[KeyView, ...]
    durations_s: Mapping[str, Sequence[float]]
    fair_after: timedelta
    live: Mapping[str, Live] = field(default_factory=dict)


def at_rest(unit: Unit, key: str, timezone: str, start: datetime, groups: Iterable[str] | None = None) -> KeyView:
    """A KEY that nothing is known of but its declaration: of its slots count those from `start` on."""
    schedule = schedule_of(unit, timezone) if isinstance(unit, TimedUnit) else None
    taken = tuple(sorted(unit.groups if groups is None else groups))
    return KeyView(key, unit, schedule, start - _TICK, groups=taken)


def held_for_good(unit: Daemon, key: str, groups: tuple[str, ...], start: datetime) -> KeyView:
    """A daemon that is kept up: its run holds its groups and has no end in sight (`Live`)."""
    run = Claim(key, 1, unit.name, "", "daemon", "wanted", groups=groups, unit={})
    return KeyView(key, unit, None, start, run=run, started=True, live=True, groups=groups)


def forecast(
    outset: Outset,
    start: datetime,
    until: datetime,
    tell: Callable[[float], None] = lambda done: None,
    matters: Callable[[str], bool] = lambda service: True,
) -> Forecast:
    """Daemons are left out, but for the groups that their live runs hold. `tell` hears which part is done. Services
    that do not matter are played only where they can meet one that does."""
    runs, unstarted, waiting, kept = list[Planned](), list[Unstarted](), list[StillWaiting](), set[str]()
    circles = [one for one in _circles(outset.views) if any(matters(service_of(view.key)) for view in one)]
    for number, views in enumerate(circles):
        circle = _Circle(outset, {view.key: view for view in views})
        for now in circle.play(start, until):
            tell((number + (now - start) / (until - start)) / len(circles))
        runs += circle.runs
        unstarted += circle.unstarted
        kept |= circle.kept
        waiting += circle.still_waiting(until)
    return Forecast(
        start,
        until,
        tuple(sorted(runs, key=lambda run: (run.start, run.key))),
        tuple(sorted(unstarted, key=lambda row: (row.first, row.key))),
        tuple(sorted(waiting, key=lambda entry: (entry.due, entry.key))),
        frozenset(kept),
    )


def _circles(views: Iterable[KeyView]) -> list[list[KeyView]]:
    """The views in sets that have no group in common."""
    of_group: dict[str, list[KeyView]] = {}
    circles: dict[int, list[KeyView]] = {}
    for view in views:
        held = view.run.groups if view.run is not None and view.end is None else ()
        circle = [view]
        for group in {*view.groups, *held}:
            other = of_group.get(group)
            if other is None:
                of_group[group] = circle
            elif other is not circle:
                small, circle = sorted((other, circle), key=len)
                circle += small
                circles.pop(id(small), None)
                of_group.update((name, circle) for name, one in of_group.items() if one is small)
        circles[id(circle)] = circle
    return list(circles.values())


@dataclass(slots=True)
class _Circle:
    """A cell in which nothing takes time but the runs; `views` is what its records would say."""

    outset: Outset
    views: dict[str, KeyView]
    runs: list[Planned] = field(default_factory=list)
    unstarted: list[Unstarted] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)  # for groups; who waits for its own run is told of its end
    _held: dict[str, Holder] = field(default_factory=dict)
    _ends: dict[str, tuple[datetime, End]] = field(default_factory=dict)  # KEY → when its live run ends, and how
    _agenda: list[tuple[datetime, str]] = field(default_factory=list)
    _came: dict[str, datetime] = field(default_factory=dict)  # KEY → when its pending slots entered the queue
    _entered: int = 0  # how many did at this instant
    _played: dict[str, int] = field(default_factory=dict)  # KEY → how many of its durations were taken

    def play(self, start: datetime, until: datetime) -> Iterator[datetime]:
        """Yields each instant at which something has happened."""
        for key, view in self.views.items():
            if view.run is not None and view.end is None and view.live:
                self._take_up(view, view.run, start)
            heapq.heappush(self._agenda, (start, key))
        now = start
        while self._agenda and self._agenda[0][0] < until:
            assert self._agenda[0][0] >= now, "time goes on"
            now, due = self._agenda[0][0], set(self.waiting)
            while self._agenda and self._agenda[0][0] == now:
                due.add(heapq.heappop(self._agenda)[1])
            self._pass(sorted(due), now)
            yield now

    def _take_up(self, view: KeyView, run: Claim, start: datetime) -> None:
        live = self.outset.live[view.key]
        self._held.update((group, Holder(run.run_id, run.node)) for group in {*run.groups, *view.groups})
        if live.ends_at is None:
            self.kept |= {*run.groups, *view.groups}
        else:
            ends_at = max(live.ends_at, start)
            self._ends[view.key] = (ends_at, End("exited", "", run.node, ends_at, live.began_at))
            heapq.heappush(self._agenda, (ends_at, view.key))
            due, groups = run.queued_at or live.began_at, tuple(sorted({*run.groups, *view.groups}))
            self.runs.append(Planned(view.key, run.service, groups, run.slot, due, live.began_at, ends_at))

    def _pass(self, keys: Sequence[str], now: datetime) -> None:
        for key in keys:
            if key in self._ends and self._ends[key][0] <= now:
                self._end(key)
        decisions = [decide(self.views[key], now) for key in keys if not is_daemons(self.views[key])]
        starts = {decision.key: decision for decision in decisions if isinstance(decision, Start)}
        self._entered = 0
        for decision in arrange(decisions, self._held, now, self.outset.fair_after):
            if isinstance(decision, Wait) and decision.key in starts:
                self._look_again_at_limit(starts[decision.key], now)
            self._apply(decision, now)

    def _end(self, key: str) -> None:
        _, end = self._ends.pop(key)
        view = self.views[key]
        assert view.run is not None
        for group in {*view.run.groups, *view.groups}:
            self._held.pop(group, None)
        self.views[key] = replace(view, end=end, live=False)

    def _look_again_at_limit(self, start: Start, now: datetime) -> None:
        """It has to wait, and when its time is up no run's end may tell of it."""
        view, slot = self.views[start.key], start.plan.slot if start.plan.attempt == 1 else None
        limited = isinstance(view.unit, FixedTime) or (isinstance(view.unit, Periodical) and view.unit.start_within)
        if slot is not None and limited and isinstance(view.unit, TimedUnit) and view.schedule is not None:
            heapq.heappush(self._agenda, (start_limit(view.unit, view.schedule, slot), start.key))
        for waiter in view.requests:
            if waiter.expires_at is not None and waiter.expires_at > now:
                heapq.heappush(self._agenda, (waiter.expires_at, start.key))

    def _apply(self, decision: Decision, now: datetime) -> None:
        self.waiting.discard(decision.key)
        match decision:
            case Start():
                self._start(decision, now)
            case Close():
                self._close(decision, now)
            case Recover():  # its node died with it: nobody is there to end it otherwise
                view = self.views[decision.key]
                lost = End("node-died", decision.why, view.run.node if view.run else "", now)
                self.views[decision.key] = replace(view, end=lost)
                heapq.heappush(self._agenda, (now, decision.key))
            case Wait():
                self._wait(decision, now)
            case Idle(next_at=datetime() as next_at):
                heapq.heappush(self._agenda, (max(next_at, now + _TICK), decision.key))
            case _:
                pass

    def _start(self, start: Start, now: datetime) -> None:
        view, plan = self.views[start.key], start.plan
        service, fence = service_of(start.key), view.run.fence + 1 if view.run else 1
        played = self._played.get(start.key, 0)
        self._played[start.key] = played + 1
        durations_s = self.outset.durations_s[service]
        lasts_s, cause = durations_s[played % len(durations_s)], "exited"
        if isinstance(view.unit, TimedUnit) and view.unit.timeout is not None and lasts_s > view.unit.timeout:
            lasts_s, cause = view.unit.timeout, "timeout"
        end_at = now + timedelta(seconds=lasts_s)
        due = min(start.place, self._came.pop(start.key, now))
        if plan.slot is not None and plan.trigger == "schedule":
            due = min(due, plan.slot)
        coalesced = sum(row.count for row in plan.dropped if row.cause == "coalesced" and row.first)
        self.runs.append(
            Planned(start.key, service, start.groups, plan.slot, due, now, end_at, coalesced, plan.attempt)
        )
        self._note(start.key, plan)
        claim = Claim(
            start.key, fence, service, "", plan.trigger, start.why, plan.watermark, plan.slot, plan.attempt,
            groups=start.groups, unit={},
        )  # fmt: skip
        self._held.update((group, Holder(claim.run_id)) for group in start.groups)
        self._ends[start.key] = (end_at, End(cause, "", "", end_at, now))
        heapq.heappush(self._agenda, (end_at, start.key))
        view = replace(self._disposed(view, plan), run=claim, started=True, end=None, live=True, closes=())
        self.views[start.key] = view
        self._apply(decide(view, now), now)  # when its next slot comes it enters the queue

    def _close(self, close: Close, now: datetime) -> None:
        view = self.views[close.key]
        self._note(close.key, close.plan)
        fence = max((claim.fence for claim in (*view.closes, *((view.run,) if view.run else ()))), default=0) + 1
        claim = Claim(
            close.key, fence, service_of(close.key), "", "none", close.why, close.plan.watermark,
            dropped=close.plan.dropped,
        )  # fmt: skip
        self.views[close.key] = replace(self._disposed(view, close.plan), closes=(*view.closes, claim))
        heapq.heappush(self._agenda, (now, close.key))

    def _disposed(self, view: KeyView, plan: Plan) -> KeyView:
        """Without what a claim lists by now."""
        watermark = max((mark for mark in (view.watermark, plan.watermark) if mark is not None), default=None)
        done = {*plan.requests, *(row.request for row in plan.dropped)}
        requests = tuple(waiter for waiter in view.requests if waiter.id not in done)
        self._came.pop(view.key, None)
        return replace(view, watermark=watermark, requests=requests, slots_first=None, slots_entered_at=None)

    def _note(self, key: str, plan: Plan) -> None:
        """Puts down the slots that the plan disposes of; those coalesced are the run's."""
        for row in plan.dropped:
            if row.first is not None and row.attempt is None and row.cause != "coalesced":
                last = row.last or row.first
                self.unstarted.append(Unstarted(key, service_of(key), row.first, last, row.count, row.cause, row.why))

    def _wait(self, wait: Wait, now: datetime) -> None:
        view = self.views[wait.key]
        if not view.live:
            self.waiting.add(wait.key)
        if wait.enters_queue and (view.slots_first is None or view.slots_first < wait.enters_queue):
            # One after the other, as vcsd writes them: of two that come at one instant that decides who is first.
            place, self._entered = now + self._entered * _TICK, self._entered + 1
            self._came[wait.key] = now
            self.views[wait.key] = replace(view, slots_first=wait.enters_queue, slots_entered_at=place)

    def still_waiting(self, until: datetime) -> list[StillWaiting]:
        found, now = [], until - _TICK
        views = [view for view in self.views.values() if not is_daemons(view)]
        decisions = [decide(view, now) for view in views]
        for wait in arrange(decisions, self._held, now, self.outset.fair_after):
            if isinstance(wait, Wait):
                view = self.views[wait.key]
                due = due_slots(view, now)
                count = due.count if due else 0
                place = min(wait.place, self._came.get(view.key, wait.place))
                found.append(StillWaiting(view.key, service_of(view.key), view.groups, place, wait.why, count))
        return found
