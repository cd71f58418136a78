"""Applies decisions: takes the locks, decides again on fresh state, claims, and hands over to a runner.

Every path ends with the locks handed on or let go. Policy lives in the domain; here is only the order of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vcsctl import steps
from vcsctl.domain.effective import in_force
from vcsctl.domain.holder import Holder, waits_for_group
from vcsctl.domain.reconcile import (
    CLOCK_TOLERANCE,
    Close,
    Decision,
    Idle,
    KeyView,
    Plan,
    Recover,
    Start,
    Wait,
    decide,
    start_limit,
)
from vcsctl.domain.run import Claim, End, Started, to_text
from vcsctl.domain.unit import TimedUnit, Unit, from_plain, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners import cgroups, linux, oneshot
from vcsctl.runners.supervise import Run, Runs
from vcsctl.store import files, locks, queue, running, state
from vcsctl.store.locks import Grant
from vcsctl.store.overrides import read_override
from vcsctl.store.paths import Paths
from vcsctl.store.records import Stored
from vcsctl.store.state import KeyState
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.log import say
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.services import Service


@dataclass(slots=True)
class Launcher:
    """What starting a run needs to know of this node."""

    paths: Paths
    node: str
    boot_id: str
    log_dir: str
    fence_after_s: float | None
    cgroup_base: str | None
    observer: Observer
    recorder: Recorder
    runs: Runs
    clocks: Clocks
    start_runner: Callable[[oneshot.Job], int]
    view: Callable[[str, KeyState, bool], KeyView]  # KEY, its records, whether its run lives
    service: Callable[[str], Service | None]
    told: dict[str, str] = field(default_factory=dict)  # KEY → what was last said of a run that was found

    def start(self, decision: Start) -> Decision | None:
        """None when the run was started; otherwise what is to be done instead."""
        grant = self._take(decision.key, decision.groups)
        if isinstance(grant, str):
            return Wait(decision.key, grant, decision.place, decision.enters_queue)
        try:
            return self._start_under_lock(decision, grant)
        except (StorageError, OSError):
            grant.unlock()
            raise
        finally:
            grant.close_unless_kept()

    def _start_under_lock(self, decision: Start, grant: Grant) -> Decision | None:
        steps.reached("locks taken")
        key = decision.key
        found = self.observer.state(key)
        for closed in found.closes:
            self._leave_queue(closed)  # a crash may have left its entries, and the next claim would hide it
        again = decide(self.view(key, found, False), self.clocks.now())
        if not isinstance(again, Start) or again.groups != decision.groups:
            grant.unlock()
            return (
                again
                if not isinstance(again, Start)
                else Idle(key, "its groups changed; looked at anew", self.clocks.now())
            )
        service = self.service(key)
        if service is None:
            grant.unlock()
            return Idle(key, "the unit is gone")
        claim = self._claim(
            key, found, again.plan, service.effective, again.groups, again.why, queued_at=self._queued_at(again)
        )
        fences = grant.raise_fences(claim.fence, f"{claim.run_id} on {self.node}")
        steps.reached("fences raised")
        if not self._link(claim, index=True):
            grant.unlock()
            return Idle(key, "another node claimed it first", self.clocks.now())
        self._leave_queue(claim)
        steps.reached("entries removed")
        if (recalled := self._recalled(claim)) is not None:
            self._end_here(claim, grant, "recalled", recalled)
            return Idle(key, recalled, self.clocks.now())
        steps.reached("not recalled")
        self._hand_over(claim, service.effective, grant, fences)
        say(f"{claim.run_id}: started: {claim.why}")
        return None

    def close(self, decision: Close) -> Decision | None:
        """Puts on record what will not run; None when done."""
        grant = self._take(decision.key, ())
        if isinstance(grant, str):
            return Wait(decision.key, grant, self.clocks.now())
        try:
            found = self.observer.state(decision.key)
            again = decide(self.view(decision.key, found, False), self.clocks.now())
            if not isinstance(again, Close):
                return again
            claim = self._claim(decision.key, found, again.plan, None, (), again.why)
            grant.raise_fences(claim.fence, f"{claim.run_id} on {self.node}")
            if self._link(claim, index=False):
                self._leave_queue(claim)
                for row in claim.dropped:
                    say(f"{decision.key}: {row.cause}: {row.why}")
            return None
        finally:
            grant.unlock()
            grant.close_unless_kept()

    def recover(self, decision: Recover, held: Mapping[str, Holder], declared: tuple[str, ...]) -> Decision | None:
        """A claim without an outcome: adopted when its run lives, started again when it never began, else lost.

        `held` and `declared`: the groups of live runs, and those the service is in by now, pushed since the claim.
        """
        key = decision.key
        found = self.observer.state(key)
        if found.run is None or found.end is not None:
            return Idle(key, "its outcome has arrived", self.clocks.now())
        claim = found.run.value
        groups = () if found.began else tuple(sorted({*claim.groups, *declared}))
        busy = next((group for group in groups if group in held), None)
        if busy is not None:
            return Wait(key, waits_for_group(busy, held[busy]), found.run.at)
        grant = self._take(key, groups)
        if isinstance(grant, str):
            if self._held_by_key(key):
                self._adopt(claim, found)
                return None
            return Wait(key, grant, found.run.at)
        try:
            return self._recover_under_lock(claim, grant)
        finally:
            grant.close_unless_kept()

    def _recover_under_lock(self, claim: Claim, grant: Grant) -> Decision | None:
        key = claim.key
        found = self.observer.state(key)
        if found.run is None or found.run.value.fence != claim.fence or found.end is not None:
            grant.unlock()
            return Idle(key, "its outcome has arrived", self.clocks.now())
        cgroup = found.started.value.cgroup if found.started else self._cgroup_of(claim)
        if cgroup and not cgroups.is_empty(cgroup):
            cgroups.kill(cgroup)
            grant.unlock()
            return Recover(key, "killing what the runner left")
        if found.unreadable_end:
            aside = files.set_aside(found.unreadable_end)
            self._end_here(claim, grant, "runner-died", f"it ended, but its outcome cannot be read: {aside}")
            return Idle(key, "recorded as lost", self.clocks.now())
        if found.began:
            self._end_here(claim, grant, *self._evidence(claim, found))
            return Idle(key, "recorded as lost", self.clocks.now())
        self._leave_queue(claim)
        if (recalled := self._recalled(claim)) is not None:
            self._end_here(claim, grant, "recalled", recalled)
            return Idle(key, recalled, self.clocks.now())
        if not isinstance(claim.unit, dict):
            grant.unlock()
            return Idle(key, "the claim holds no unit")
        unit = from_plain(claim.unit)
        if (late := self._expired(claim, unit)) is not None:
            self._end_here(claim, grant, "expired", late)
            return Idle(key, late, self.clocks.now())
        try:
            running.enter(self.paths, claim)
        except StorageError as error:
            self._tell(claim, f"is not in the index of live runs: {error}")  # for readers; the run counts without it
        fences = grant.raise_fences(claim.fence, f"{claim.run_id} on {self.node}")
        self._hand_over(claim, unit, grant, fences)
        self._tell(claim, "started: its claim was on record, its start was not")
        return None

    def _expired(self, claim: Claim, unit: Unit) -> str | None:
        """Whether the slot of a claim that never began is too old by now to begin."""
        if claim.requests or claim.attempt > 1:
            return None  # what was asked for, and a retry, does not expire with its slot
        service = self.service(claim.key)
        if claim.slot is None or service is None or service.schedule is None or not isinstance(unit, TimedUnit):
            return None
        limit = start_limit(unit, service.schedule, claim.slot)
        return f"could not start by {to_text(limit)} (start_within)" if self.clocks.now() >= limit else None

    def _evidence(self, claim: Claim, found: KeyState) -> tuple[str, str]:
        """The cause and the sentence for a run that began, has no outcome, and whose lock is free."""
        if found.started is None:
            return "runner-died", f"its start on {claim.node} is on record and cannot be read; its lock is free"
        if found.started.value.boot_id == self.boot_id:
            runner = f"runner {found.started.value.pid} on {claim.node}"
            return "runner-died", f"{runner} ended without an outcome and its lock is free"
        return "runner-died" if claim.node != self.node else "node-died", f"{claim.node} went down under it"

    def lost(self, run: Run) -> bool:
        """A runner of ours ended without an outcome, and nothing it started is left. True when all is on record."""
        found = self.observer.state(run.claim.key)
        if found.run is None or found.run.value.fence != run.claim.fence or found.end is not None:
            return True
        if not found.began:
            return False
        how = f"killed by signal {linux.signal_name(run.status)}" if 0 < run.status < 65 else "gone"
        why = f"runner {run.pid} was {how}; what it had started was killed"
        self._record_end(run.claim, "runner-died", why)
        if run.grant:
            run.grant.unlock()
        return True

    # Steps.

    def _take(self, key: str, groups: tuple[str, ...]) -> Grant | str:
        """All the locks, or the sentence that says who holds one."""
        taken = locks.take(self.paths.key_lock(key), {group: self.paths.group_lock(group) for group in groups})
        if isinstance(taken, Grant):
            return taken
        content = locks.read_lock_file(taken)
        holder = Holder(content.holder if content and content.holder else "an unknown holder")
        for group in groups:
            if taken == self.paths.group_lock(group):
                return waits_for_group(group, holder)
        return f"its own run is not over ({holder})"

    def _held_by_key(self, key: str) -> bool:
        lock = locks.try_lock(self.paths.key_lock(key))
        if lock is None:
            return True
        Grant(lock, {}).close()
        return False

    def _claim(
        self,
        key: str,
        found: KeyState,
        plan: Plan,
        unit: Unit | None,
        groups: tuple[str, ...],
        why: str,
        queued_at: datetime | None = None,
    ) -> Claim:
        return Claim(
            key,
            found.fence + 1,
            key.partition("@")[0],
            self.node,
            plan.trigger,
            why,
            plan.watermark,
            plan.slot,
            plan.attempt,
            plan.requests,
            plan.dropped,
            groups,
            queued_at,
            to_plain(unit) if unit else None,
        )

    def _queued_at(self, start: Start) -> datetime | None:
        """When its KEY entered the queue; a slot that starts at once has waited since its instant."""
        return (
            min(start.place, start.plan.slot) if start.plan.slot and start.plan.trigger == "schedule" else start.place
        )

    def _link(self, claim: Claim, *, index: bool) -> bool:
        """Publishes the claim. The file server's clock is the judge of whether the slot has come."""
        draft = state.draft_claim(self.paths, claim)
        steps.reached("claim drafted")
        if claim.slot is not None and claim.slot - draft.modified_at > CLOCK_TOLERANCE:
            draft.discard()
            raise StorageError(
                f"cannot claim slot {to_text(claim.slot)}: the file server's clock says {to_text(draft.modified_at)}; "
                "set this node's clock"
            )
        if not draft.link():
            draft.discard()
            return False
        steps.reached("claim linked")
        if index:
            draft.link_also(self.paths.running_index(claim.run_id))
            steps.reached("run indexed")
        draft.discard()
        return True

    def _leave_queue(self, claim: Claim) -> None:
        dropped = tuple(row.request for row in claim.dropped if row.request)
        slots = claim.slot is not None or any(row.first and not row.attempt for row in claim.dropped)
        queue.leave(self.paths, claim.key, claim.requests + dropped, slots=slots)

    def _recalled(self, claim: Claim) -> str | None:
        """Whether an operator, who writes first and looks for a claim then, was faster than this claim."""
        if claim.requests and claim.slot is None:
            cancelled = [one for one in claim.requests if queue.is_cancelled(self.paths, claim.key, one)]
            if len(cancelled) == len(claim.requests):
                return "the request was cancelled"
        if claim.slot is not None and not claim.requests and self._disabled(claim):
            return "the service was disabled"
        return None

    def _disabled(self, claim: Claim) -> bool:
        """By the override as it is now: disabling what is declared disabled is taking its override back."""
        service = self.service(claim.key)
        if service is None:
            return False
        changed = in_force(read_override(self.paths, claim.service), service.unit).get("enabled")
        return not (changed.value if changed else service.unit.enabled)

    def _hand_over(self, claim: Claim, unit: Unit, grant: Grant, fences: dict[str, int]) -> None:
        cgroup = self._cgroup_of(claim)
        if cgroup and not cgroups.make(cgroup):
            cgroup = None
        log = f"{self.log_dir}/{claim.service}/{claim.run_id}.log"
        job = oneshot.Job(self.paths, claim, unit, grant, fences, log, self.boot_id, self.fence_after_s, cgroup)
        pid = self.start_runner(job)
        steps.reached("runner forked")
        self.runs.add(Run(claim, self.clocks.now(), pid, grant.keep(), None, cgroup))

    def _cgroup_of(self, claim: Claim) -> str | None:
        return cgroups.path_for(self.cgroup_base, claim.run_id) if self.cgroup_base else None

    def _adopt(self, claim: Claim, found: KeyState) -> None:
        """A run that a former vcsd of this node, or another node, started and that lives."""
        run = Run(claim, found.run.at if found.run else self.clocks.now(), cgroup=self._cgroup_of(claim))
        if found.started is not None:
            run.cgroup = found.started.value.cgroup
        self.watch(run, found.started)
        self.runs.add(run)
        self._tell(claim, "lives on; watched from now on")

    def _tell(self, claim: Claim, text: str) -> None:
        """Once a run: it may have to be tried again and again."""
        if self.told.get(claim.key) != f"{claim.run_id}: {text}":
            self.told[claim.key] = f"{claim.run_id}: {text}"
            say(self.told[claim.key])

    def watch(self, run: Run, started: Stored[Started] | None) -> bool:
        """False when its runner should be on this machine and is not. It may be another node's, or not yet named."""
        if started is None or started.value.boot_id != self.boot_id:
            return True
        return self.runs.watch(run, started.value.pid, started.value.pid_started)

    def _end_here(self, claim: Claim, grant: Grant, cause: str, why: str) -> None:
        self._record_end(claim, cause, why)
        grant.unlock()

    def _record_end(self, claim: Claim, cause: str, why: str) -> None:
        end = End(cause, why, self.node, self.clocks.now())
        if state.write_end(self.paths, claim.key, claim.fence, end):
            say(f"{claim.run_id}: {end.outcome}: {why}")
        running.leave(self.paths, claim.run_id)
        self.recorder.record(claim.key)
