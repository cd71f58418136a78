"""What really happened → the promises it broke, a sentence each. Imports nothing of what it checks; no I/O, no clock.

Fed by whoever could see what happened: the simulation, the test with many processes, the laboratory. Every moment is
in seconds of one true clock, never of a node's own. A slot is named as the records name it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

LOOK_S = 10.0  # the longest time between a look at the queue and the claim that follows


@dataclass(frozen=True, slots=True)
class Execution:
    """A command that was executed. `ended_at`: the last process of its tree was gone; None: it lives, or nobody knows."""

    run: str
    key: str
    node: str
    groups: frozenset[str]
    slot: str | None
    attempt: int
    began_at: float
    ended_at: float | None = None
    fences: Mapping[str, int] = field(default_factory=dict)  # group → the number the command was given
    requests: tuple[str, ...] = ()  # that it was executed for, besides or without a slot
    decided_at: float | None = None  # when its node decided to run it; None: as good as when it began
    # group → from when to when its service was declared to be in it, as far as that touches this execution
    joined: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    # "KEY a" or "group g" → when that lock was another's for the asking, and its unit let it go on all the same
    let_go: Mapping[str, float] = field(default_factory=dict)
    repeats: bool = False  # of a daemon: one run executes its process again and again
    follows: frozenset[str] | None = None  # of a further attempt: the outcomes of the one before that call for it

    @property
    def decided(self) -> float:
        return self.began_at if self.decided_at is None else self.decided_at

    def holds(self, group: str, decided: float, began: float) -> bool:
        """Whether it counts as holding a group, for one that decided and began then: all the time between. One that
        looks for the last time between the two may find that it has left the group."""
        joined = self.joined.get(group, ())
        return group in self.groups or any(since < decided and began < until for since, until in joined)

    @property
    def end(self) -> float:
        return inf if self.ended_at is None else self.ended_at

    def excludes_until(self, shared: str) -> float:
        return min(self.end, self.let_go.get(shared, inf))

    def __str__(self) -> str:
        until = "it lives" if self.ended_at is None else f"{self.ended_at:.3f}"
        return f"{self.run} on {self.node} ({self.began_at:.3f} to {until})"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of history. Its id is the run's, or the claim's with `+` and a number or request for what did not run."""

    id: str
    key: str
    outcome: str
    cause: str
    slot: str | None = None
    attempt: int = 1
    requests: tuple[str, ...] = ()
    at: float = 0.0
    last: str | None = None  # of a range of slots that one row disposes of

    def covers(self, slot: str) -> bool:
        """Slots are written in one way, so that their texts are in the order of time."""
        return self.slot is not None and self.attempt == 1 and self.slot <= slot <= (self.last or self.slot)

    @property
    def is_run(self) -> bool:
        return "+" not in self.id


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that a node claimed: it has to end in an outcome, executed or not."""

    run: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that an operator was told to be in the queue."""

    request: str
    key: str
    at: float
    expires: bool = True  # it may, or nobody knows


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A request that an operator was told to be cancelled: nothing may be executed for it."""

    request: str
    at: float


@dataclass(frozen=True, slots=True)
class Due:
    """A slot that counts: it must be on record, whatever became of it."""

    key: str
    slot: str
    at: float


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Nothing of `key` (None: nothing at all) may begin on `node` from the moment it acknowledged so."""

    node: str
    key: str | None
    from_at: float
    to_at: float = inf
    why: str = "is drained"


@dataclass(frozen=True, slots=True)
class Queued:
    """A slot that stood in the queue: whatever becomes of it, somebody was there."""

    key: str
    slot: str
    from_at: float
    to_at: float = inf


@dataclass(frozen=True, slots=True)
class Disabled:
    """An operator was told at `from_at` that no slot of `key` starts any more; what is asked for may."""

    key: str
    from_at: float
    to_at: float = inf


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that waited and that an allowed node could have started from `eligible_from` on."""

    key: str
    eligible_from: float
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of what happened up to `seen_until`.

    What was claimed, executed or asked for before `settled_until` has had the time to end: a missing outcome is lost.
    """

    executions: Sequence[Execution] = ()
    recorded: Sequence[Recorded] = ()
    claimed: Sequence[Claimed] = ()
    asked: Sequence[Asked] = ()
    withdrawn: Sequence[Withdrawn] = ()
    due: Sequence[Due] = ()
    forbidden: Sequence[Forbidden] = ()
    disabled: Sequence[Disabled] = ()
    entries: Sequence[Entry] = ()
    queued: Sequence[Queued] = ()
    calm_from: float = 0.0  # no fault after this
    bound_s: float = inf  # within which what is eligible starts once it is calm
    seen_until: float = inf
    settled_until: float = inf


def violations(history: History) -> list[str]:
    """Every broken promise; empty when all were kept."""
    return [
        *_together(history.executions),
        *_twice(history.executions),
        *_further(history),
        *_fences(history.executions),
        *_outcomes(history),
        *_requests(history),
        *_slots(history),
        *_forbidden(history),
        *_overdue(history),
    ]


def _together(executions: Sequence[Execution]) -> Iterator[str]:
    """Never together: what shares a group, or a KEY, does not overlap. A group that a push brought counts for what is
    decided after the push could be read."""
    sharing: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        sharing[f"KEY {execution.key}"].append(execution)
        for group in execution.groups | execution.joined.keys():
            sharing[f"group {group}"].append(execution)
    for shared, members in sorted(sharing.items()):
        kind, _, group = shared.partition(" ")
        running: list[Execution] = []
        for execution in sorted(members, key=lambda one: (one.began_at, one.run)):
            if execution.let_go.get(shared, inf) < execution.began_at:
                continue  # the next process of a daemon that had let go before
            running = [other for other in running if other.excludes_until(shared) > execution.began_at]
            for other in running:
                when = execution.decided, execution.began_at
                if kind == "KEY" or (execution.holds(group, *when) and other.holds(group, *when)):
                    yield f"together in {shared}: {other} and {execution}"
            running.append(execution)


def _twice(executions: Sequence[Execution]) -> Iterator[str]:
    """Once a slot: at most one execution of each attempt, and of each run."""
    by_slot: dict[tuple[str, str, int], list[Execution]] = defaultdict(list)
    by_run: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        by_run[execution.run].append(execution)
        if execution.slot is not None:
            by_slot[execution.key, execution.slot, execution.attempt].append(execution)
    for run, same in sorted(by_run.items()):
        if len(same) > 1 and not all(one.repeats for one in same):
            yield f"executed twice: run {run}: {_listed(same)}"
    for (key, slot, attempt), same in sorted(by_slot.items()):
        if len({one.run for one in same}) > 1:
            yield f"executed twice: slot {slot} of {key}, attempt {attempt}: {_listed(same)}"


def _further(history: History) -> Iterator[str]:
    """A further attempt only as the unit says, after the outcome of the one before."""
    before: dict[tuple[str, str | None, int], set[str]] = defaultdict(set)
    for row in history.recorded:
        if row.is_run:
            before[row.key, row.slot, row.attempt].add(row.outcome)
    for one in history.executions:
        if one.follows is None:
            continue
        found = before[one.key, one.slot, one.attempt - 1]
        if not found & one.follows:
            was = ", ".join(sorted(found)) or "nothing on record"
            yield f"attempt {one.attempt} of slot {one.slot} of {one.key} after {was}: {one}"


def _fences(executions: Sequence[Execution]) -> Iterator[str]:
    """The numbers that a group hands out grow with every execution, or with every run of a daemon."""
    by_group: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        for group in execution.fences:
            by_group[group].append(execution)
    for group, members in sorted(by_group.items()):
        first: dict[str | int, Execution] = {}
        for number, one in enumerate(sorted(members, key=lambda one: one.began_at)):
            first.setdefault(one.run if one.repeats else number, one)
        for before, after in pairwise(first.values()):
            if after.fences[group] <= before.fences[group]:
                numbers = f"{before.fences[group]} then {after.fences[group]}"
                yield f"fence of group {group} did not rise: {numbers}, {before} and {after}"


def _outcomes(history: History) -> Iterator[str]:
    """Each execution, each claim and each thing disposed of has one row; none is lost once all had time to end."""
    count = Counter(row.id for row in history.recorded)
    for identity, times in sorted(count.items()):
        if times > 1:
            yield f"recorded {times} times: {identity}"
    by_slot: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for row in history.recorded:
        if row.is_run and row.slot is not None:
            by_slot[row.key, row.slot, row.attempt].add(row.id)
    for (key, slot, attempt), runs in sorted(by_slot.items()):
        if len(runs) > 1:
            yield f"several runs of slot {slot} of {key}, attempt {attempt}: {', '.join(sorted(runs))}"
    never_ran = {row.id: row for row in history.recorded if row.is_run and row.outcome in ("missed", "skipped")}
    for execution in history.executions:
        if execution.run in never_ran:
            yield f"{execution} ran, and is recorded {never_ran[execution.run].outcome}"
    begun = {claim.run: ("claimed", claim.at) for claim in history.claimed}
    begun |= {execution.run: ("executed", execution.began_at) for execution in history.executions}
    for run, (what, at) in sorted(begun.items()):
        if run not in count and at < history.settled_until:
            yield f"no outcome: run {run} was {what} at {at:.3f}"


def _requests(history: History) -> Iterator[str]:
    """A request ends in one row; beside it another may say that it was coalesced into that run."""
    ends: dict[str, list[Recorded]] = defaultdict(list)
    coalesced: dict[str, list[Recorded]] = defaultdict(list)
    for row in history.recorded:
        for request in row.requests:
            (coalesced if row.cause == "coalesced" else ends)[request].append(row)
    for asked in history.asked:
        own, beside = ends[asked.request], coalesced[asked.request]
        if len(own) > 1 or len(beside) > 1:
            rows = ", ".join(f"{row.id} ({row.cause})" for row in (*own, *beside))
            yield f"request {asked.request} of {asked.key} ended more than once: {rows}"
        if not asked.expires and any(row.cause in ("too-late", "expired") for row in own):
            yield f"request {asked.request} of {asked.key} does not expire, and is recorded {own[0].cause}"
        if not own and not beside and asked.at < history.settled_until:
            yield f"no outcome: request {asked.request} of {asked.key}, asked for at {asked.at:.3f}"

    executed = {execution.run for execution in history.executions}
    taken_back = {withdrawn.request for withdrawn in history.withdrawn}
    for withdrawn in history.withdrawn:
        for row in ends[withdrawn.request]:
            # What ran for a slot, or for another request too, would have run without this one.
            if row.id in executed and row.slot is None and taken_back.issuperset(row.requests):
                yield f"request {withdrawn.request} was cancelled at {withdrawn.at:.3f}, and {row.id} was executed for it"


def _slots(history: History) -> Iterator[str]:
    """A slot that was due has its row. What a clock that was ahead swallowed may have been claimed besides."""
    rows: dict[str, list[Recorded]] = defaultdict(list)
    for row in history.recorded:
        rows[row.key].append(row)
    for due in history.due:
        found = [row for row in rows[due.key] if row.covers(due.slot)]
        if not found and due.at < history.settled_until:
            yield f"no outcome: slot {due.slot} of {due.key}"
        if len([row for row in found if row.cause != "clock"]) > 1:
            yield f"slot {due.slot} of {due.key} ended more than once: {', '.join(row.id for row in found)}"
    claimed = {claim.run: claim.at for claim in history.claimed}
    for queued in history.queued:
        for row in rows[queued.key]:
            at = claimed.get(row.id, inf)
            # Whoever decides so looks at the queue, and another may have entered it since.
            stood = queued.from_at + LOOK_S < at < queued.to_at + LOOK_S
            if row.cause == "nobody-there" and row.covers(queued.slot) and stood:
                yield f"slot {queued.slot} of {queued.key} stood in the queue, and {row.id} says that nobody was there"


def _forbidden(history: History) -> Iterator[str]:
    for rule in history.forbidden:
        for execution in history.executions:
            concerned = execution.node == rule.node and rule.key in (None, execution.key)
            if concerned and rule.from_at < execution.decided < rule.to_at:
                yield f"{execution} began although {rule.node} {rule.why} since {rule.from_at:.3f}"
    for off in history.disabled:
        for execution in history.executions:
            by_slot = execution.key == off.key and execution.slot is not None and not execution.requests
            if by_slot and off.from_at < execution.began_at < off.to_at:
                yield f"{execution} began although {off.key} was disabled since {off.from_at:.3f}"


def _overdue(history: History) -> Iterator[str]:
    """What is eligible starts within the bound once faults stopped."""
    for entry in history.entries:
        since = max(entry.eligible_from, history.calm_from)
        limit = since + history.bound_s
        started = inf if entry.started_at is None else entry.started_at
        if started > limit and history.seen_until >= limit:
            when = "has not started" if entry.started_at is None else f"started at {entry.started_at:.3f}"
            yield f"overdue: {entry.key} was eligible from {since:.3f} and {when} ({history.bound_s:g} s are allowed)"


def _listed(executions: Iterable[Execution]) -> str:
    return ", ".join(str(execution) for execution in sorted(executions, key=lambda one: one.began_at))
