"""The loop: observe, reconcile, apply. What a pass costs follows from what is pending or running, not from the
number of units. Everything it keeps in memory can be found again in the shared directory."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vcsctl import steps
from vcsctl.config import Config
from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Recover, Start, Stop, Wait
from vcsctl.domain.keep_up import is_daemons
from vcsctl.domain.reconcile import arrange, decide
from vcsctl.domain.run import SlotsEntry, is_lock, service_of
from vcsctl.domain.unit import Daemon
from vcsctl.errors import StorageError
from vcsctl.runners.supervise import Run, Runs
from vcsctl.store import queue, records, state
from vcsctl.store.overrides import OverridesReader
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending, QueueReader
from vcsctl.store.records import Faults
from vcsctl.store.state import KeyState
from vcsctl.vcsd.agenda import Agenda
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.keeping import Keeping
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.log import say
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.presence import Presence
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.recovery import Recovery
from vcsctl.vcsd.services import Services
from vcsctl.vcsd.sharing import Sharing

_RETRY_AFTER_S = 1.0  # after a fault of the storage
_LEFTOVERS_PAUSE_S = 0.02
_PASSING_S = 10.0  # what is over in a moment as a rule, and lasts longer, is said
_HURRIED_PAUSE_S = 0.01  # a waiter whose blocker is not ours is tried this often in its first second


@dataclass(slots=True)
class Loop:
    config: Config
    paths: Paths
    services: Services
    launcher: Launcher
    recovery: Recovery
    observer: Observer
    recorder: Recorder
    runs: Runs
    peers: Peers
    presence: Presence
    sharing: Sharing
    faults: Faults
    queue_reader: QueueReader
    overrides_reader: OverridesReader
    clocks: Clocks
    keeping: Keeping
    pending: dict[str, Pending] = field(default_factory=dict)
    left_to_others: dict[str, Pending] = field(default_factory=dict)  # entries of KEYs that are other nodes' business
    waiting: dict[str, tuple[Wait, float]] = field(default_factory=dict)  # with when it began (monotonic)
    dirty: set[str] = field(default_factory=set)
    last_why: dict[str, str] = field(default_factory=dict)
    agenda: Agenda = field(default_factory=Agenda)
    _told: dict[str, str] = field(default_factory=dict)  # faults that were said and are not over
    _next_poll_s: float = 0.0
    _undecided: set[str] = field(default_factory=set)  # KEYs whose last look failed
    _queue_touched: bool = False
    _ended: list[str] = field(default_factory=list)  # KEYs whose runs ended and are not in the history yet
    _digests: dict[str, str] = field(default_factory=dict)  # KEY → digest of the schedule last seen
    has_news: bool = False  # for the others, who should not have to wait for the next heartbeat
    _held_back: str = ""  # why this node claimed nothing at the last look

    # What there is.

    def view(self, key: str, found: KeyState, live: bool) -> KeyView:
        service = self.services.by_key.get(key)
        if service is not None and service.schedule is not None and service.schedule_digest not in found.since:
            # Its mark could not be made, or was removed by hand: nothing before now counts.
            self.observer.mark_schedule(key, service.schedule_digest, None)
            found = self.observer.state(key)
        groups = self.peers.groups_of(service.name) if service else ()
        view = self.observer.view(service, found, self.pending.get(key), groups, live=live)
        return replace(view, daemon=self.keeping.facts(service, found)) if is_daemons(view) else view

    def fresh_view(self, key: str, found: KeyState) -> KeyView:
        """Under the KEY's lock. With other nodes about, an entry may have been claimed since the queue was read."""
        if not self.peers.alone:
            pending = self.queue_reader.read_key(key)
            if pending is None or self._is_left_to_others(key):
                self.pending.pop(key, None)
            else:
                self.pending[key] = pending
        return self.view(key, found, False)

    def observe(self) -> None:
        """Looks at what others may have changed: entries, overrides, drains, foreign runs."""
        self.read_queue()
        touched = self.services.adopt_overrides(self.overrides_reader.read())
        self.dirty |= touched  # first: whatever fails below, none of them is forgotten
        for key in touched:
            self.note_schedule(key, None)
        self.presence.drained = self.config.node in self.overrides_reader.drained
        self.look_at_standing()
        self.look_at_adopted()
        self.dirty |= self.keeping.look(self.queue_reader.has_orders)

    def look_at_standing(self) -> None:
        """Whether this node may claim; when that changes every service is looked at."""
        held_back = self.presence.claims_nothing()
        if held_back != self._held_back:
            say(held_back or f"node {self.config.node} claims again")
            self.dirty.update(self.services.by_key)
            self.has_news = True
        self._held_back = held_back

    def read_queue(self) -> None:
        """An entry seen is an entry looked at: whoever reads the queue anew also marks what has changed."""
        before = self.pending
        found = self.queue_reader.read()
        self.left_to_others = {key: pending for key, pending in found.items() if self._is_left_to_others(key)}
        self.pending = {key: pending for key, pending in found.items() if key not in self.left_to_others}
        self.dirty |= {key for key in before.keys() | self.pending.keys() if before.get(key) != self.pending.get(key)}
        for problem in records.set_aside_unreadable(self.faults, (self.paths.queue, self.paths.overrides)):
            say(f"{problem}; set aside")

    def _is_left_to_others(self, key: str) -> bool:
        if key in self.services.by_key:
            return False
        return is_lock(key) or self.services.elsewhere(key) or bool(self.peers.others_for(key))

    def note_peers(self, services: set[str]) -> None:
        """Of these services other nodes say something else now."""
        self.dirty.update(key for name in services if (key := self.services.keys.get(name)))

    def note_schedule(self, key: str, known_before: str | None) -> None:
        service = self.services.by_key.get(key)
        if service is None or service.schedule is None:
            self._digests.pop(key, None)
            return
        before = self._digests.get(key) or known_before  # what was published last may be of before a change by hand
        if before != service.schedule_digest:
            self.observer.mark_schedule(key, service.schedule_digest, before)
        self._digests[key] = service.schedule_digest
        if service.fault:
            say(service.fault)

    def note_no_schedule(self, key: str) -> None:
        """Of a KEY that has none by now; of one whose unit is gone here the last node that had it says so."""
        if self.services.has_no_schedule(key):
            is_gone = service_of(key) not in self.services.declared
            if not (is_gone and any(not self.peers.is_silent(node) for node in self.peers.others_for(key))):
                self.observer.mark_no_schedule(key)

    def look_at_adopted(self, woken_by: list[int] | None = None, *, every: bool = False) -> None:
        """At the adopted runs whose runners' ends are among the events; without events, at those whose runners are
        gone or not known here, or at every one."""
        for run in self.runs.adopted():
            due = woken_by is None and (run.descriptor is None or self.runs.is_over(run))
            if every or due or (woken_by is not None and run.descriptor in woken_by):
                try:
                    self._look_at(run)
                except (StorageError, OSError) as error:
                    self._fault(run.claim.key, str(error))

    def _look_at(self, run: Run) -> None:
        """An adopted run is over when its outcome is there; when its runner is gone, recovering tries its lock."""
        found = self.observer.state(run.claim.key)
        if found.run is None or found.run.value.fence != run.claim.fence or found.end is not None:
            self._over(run)
        elif self.runs.is_over(run) or (run.descriptor is None and not self.recovery.watch(run, found.started)):
            self.runs.remove(run)
            self.dirty.add(run.claim.key)

    def _over(self, run: Run) -> None:
        self.runs.remove(run)
        steps.reached("run reaped")
        self._ended.append(run.claim.key)
        self.dirty.add(run.claim.key)
        self.dirty.update(self.waiting)

    # What follows from it.

    def one_pass(self) -> None:
        self._collect_runs()
        if self.clocks.monotonic() >= self._next_poll_s:
            self._next_poll_s = self.clocks.monotonic() + self.config.poll
            self.observe()
            self._retry_unrecorded()
            self.dirty.update(self.waiting, self.pending)  # whatever was overlooked costs one poll, never a run
        now = self.clocks.now()
        self.dirty |= self.agenda.take_due(now.timestamp())
        self.dirty.update(key for key, (wait, _) in self.waiting.items() if self._is_urgent(wait))
        if self.dirty:
            candidates, self.dirty = self.dirty | self.waiting.keys(), set()
            self._reconcile(candidates, now)
        self.keeping.publish(run_ended=bool(self._ended))
        self._record_ended()  # after the others have started: who waits for a group should not wait for the history

    def _reconcile(self, candidates: Iterable[str], now: datetime) -> None:
        decisions = [self._decide(key, now) for key in sorted(candidates)]
        # First what runs already: it holds the groups that its service is in by now, whatever its claim says.
        recovers = [decision for decision in decisions if isinstance(decision, Recover)]
        for recover in sorted(recovers, key=lambda one: not one.began):
            self._apply(recover)
        fair_after = timedelta(seconds=self.config.fair_after)
        others: list[Decision] = [decision for decision in decisions if not isinstance(decision, Recover)]
        others = [self.sharing.hold_back(decision, self._held_back, now) for decision in others]
        elsewhere = self.sharing.entries_elsewhere(others, self.left_to_others | self.pending)
        for decision in arrange(others, self.sharing.held(), now, fair_after, elsewhere):
            self._apply(decision)
        if self._queue_touched:
            self._queue_touched = False
            self.read_queue()  # once for all of them: with many pending, reading them is what costs

    def _decide(self, key: str, now: datetime) -> Decision:
        self._undecided.add(key)
        try:
            found = self.observer.state(key)
            decision = decide(self.view(key, found, key in self.runs.by_key), now)
            self._queue_touched |= self.launcher.drop_claimed(self.pending.get(key), found, decision)
        except (StorageError, OSError) as error:
            self._fault(key, str(error))
            return Idle(key, str(error))
        except Exception as error:  # noqa: BLE001 - one KEY's trouble must not end the others' manager
            self._own_fault(key, error)
            return Idle(key, "not decided")
        self._undecided.discard(key)
        if found.run is not None and found.end is not None and self.recorder.is_behind(key, found.run.value.fence):
            self._ended.append(key)  # between two looks, and no event told of it
        if isinstance(decision, Wait) and not self.clocks.settled():
            return replace(decision, enters_queue=None)
        takes_slots = isinstance(decision, Close) or (isinstance(decision, Start) and decision.plan.slot is not None)
        if takes_slots and not self.clocks.settled():
            return Idle(key, "the clock was set a moment ago", now + timedelta(seconds=_RETRY_AFTER_S))
        return decision

    def decided(self, key: str, found: KeyState) -> Decision:
        """As it is now, apart from groups; for who has to answer an operator."""
        now = self.clocks.now()
        return self.sharing.hold_back(decide(self.view(key, found, key in self.runs.by_key), now), self._held_back, now)

    def would_start(self, key: str) -> bool:
        return isinstance(self.decided(key, self.observer.state(key)), Start | Wait)

    def _apply(self, decision: Decision) -> None:
        """Carries a decision out; what it turns into under the locks is carried out at once or looked at again."""
        try:
            instead = self._carry_out(decision)
        except (StorageError, OSError) as error:  # OSError: no process or descriptor to be had just now
            self._fault(decision.key, str(error))
            return
        except Exception as error:  # noqa: BLE001 - one KEY's trouble must not end the others' manager
            self._own_fault(decision.key, error)
            return
        match instead:
            case Wait():
                self._wait(instead)
            case Idle():
                self._idle(instead)
            case Start() | Close() | Recover():
                self.agenda.put(decision.key, self.clocks.now().timestamp() + _HURRIED_PAUSE_S)
            case None:
                self.waiting.pop(decision.key, None)
                self.last_why.pop(decision.key, None)
                self.dirty.add(decision.key)

    def _carry_out(self, decision: Decision) -> Decision | None:
        match decision:
            case Start():
                self._queue_touched = True
                return self.launcher.start(decision)
            case Close():
                self._queue_touched = True
                instead = self.launcher.close(decision)
                self.recorder.record(decision.key)
                return instead
            case Recover():
                self._queue_touched = True
                return self.recovery.recover(decision, self.sharing.held(), self._held_back_of(decision.key))
            case Stop():
                return self.keeping.stop(decision, self.clocks.now())
            case _:
                return decision

    def _held_back_of(self, key: str) -> str:
        """Why this node starts nothing of this KEY, if so."""
        service = self.services.by_key.get(key)
        is_daemon = service is not None and isinstance(service.effective, Daemon)
        return self.presence.starts_nothing() if is_daemon else self._held_back

    def _own_fault(self, key: str, error: Exception) -> None:
        """What nobody foresaw: shown as a fault of this KEY, with its trace in the log once, and tried again."""
        text = f"{key}: a fault of vcsd itself ({type(error).__name__}: {error}); report it"
        if self._told.get(key) != text:
            say("".join(traceback.format_exception(error)).rstrip())
        self._fault(key, text)

    def _fault(self, key: str, text: str) -> None:
        if self._told.get(key) != text:
            say(text)
        self._told[key] = text
        self.faults.add(key, text)
        self.agenda.put(key, self.clocks.now().timestamp() + _RETRY_AFTER_S)

    def _wait(self, wait: Wait) -> None:
        before, now_s = self.waiting.get(wait.key), self.clocks.monotonic()
        began_s = before[1] if before and before[0].passing == wait.passing else now_s
        self.waiting[wait.key] = (wait, began_s)
        if self.last_why.get(wait.key) != wait.why and not (wait.passing and now_s < began_s + _PASSING_S):
            self.last_why[wait.key] = wait.why
            say(f"{wait.key}: {wait.why}")
        entered = (self.pending.get(wait.key) or Pending(wait.key)).slots_first
        if wait.enters_queue and (entered is None or entered < wait.enters_queue):
            with contextlib.suppress(StorageError):
                if entered is not None:  # of slots that were claimed, or count no more: not a place for these
                    queue.drop_slots_until(self.paths, wait.key, wait.enters_queue - timedelta(microseconds=1))
                queue.enter_slots(self.paths, SlotsEntry(wait.key, wait.enters_queue))
                self._queue_touched = True

    def _idle(self, idle: Idle) -> None:
        self.waiting.pop(idle.key, None)
        self.last_why.pop(idle.key, None)
        # A run may be at its first step, where it failed before.
        if idle.key not in self.runs.by_key and idle.key not in self._undecided:
            self.faults.forget(idle.key)
            self._told.pop(idle.key, None)
        if idle.next_at is not None:
            self.agenda.put(idle.key, idle.next_at.timestamp())

    # Runs that end.

    def _collect_runs(self) -> None:
        self.runs.reap()
        for run in self.runs.over():
            try:
                found = self.observer.state(run.claim.key)
                if found.end is not None and found.run and found.run.value.fence == run.claim.fence:
                    self._over(run)
                elif self.runs.kill_leftovers(run):
                    recorded = self.recovery.lost(run)
                    self._over(run)
                    if not recorded:
                        self._never_began(run)
            except (StorageError, OSError) as error:
                self._fault(run.claim.key, str(error))

    def _never_began(self, run: Run) -> None:
        """Its claim is started again, but not in a hurry: what kept it from beginning may take its time."""
        self._fault(run.claim.key, f"{run.claim.run_id}: {run.never_began()}; tried again")
        self.dirty.discard(run.claim.key)

    def _record_ended(self) -> None:
        ended, self._ended = self._ended, []
        for key in ended:
            for row in self.recorder.record(key):
                if row.is_run:
                    say(f"{row.id}: {row.outcome}: {row.why}")

    def _retry_unrecorded(self) -> None:
        for key in list(self.recorder.behind):
            self.recorder.record(key)

    # When to look again.

    def pause_s(self) -> float:
        if self.dirty:
            return 0.0
        pause = self._next_poll_s - self.clocks.monotonic()
        if (due_s := self.agenda.next_s) is not None:
            pause = min(pause, due_s - self.clocks.now().timestamp())
        if any(run.gone for run in self.runs.by_key.values()):
            pause = min(pause, _LEFTOVERS_PAUSE_S)
        foreign = [began_s for wait, began_s in self.waiting.values() if self._is_urgent(wait)]
        if foreign:
            fresh = self.clocks.monotonic() - max(foreign) < 1.0
            pause = min(pause, _HURRIED_PAUSE_S if fresh else self.config.poll_busy)
        return max(0.0, pause)

    def _is_urgent(self, wait: Wait) -> bool:
        """The end of an own run is an event; that of anybody else's must be looked for."""
        own = any(run.claim.run_id == wait.run for run in self.runs.by_key.values() if run.grant)
        return not (own or wait.patient)

    def start_over(self, keys: Iterable[str]) -> None:
        """At start-up: every KEY is looked at once, every record that has no history gets it."""
        for key in set(keys) | state.keys_on_record(self.paths):
            self.recorder.record(key)
            self.dirty.add(key)
            with contextlib.suppress(StorageError):  # a former vcsd may have died before it said so
                self.note_no_schedule(key)
