"""Applies decisions: takes the locks, decides again on fresh state, claims, and hands over to a runner.

Every path ends with the locks handed on or let go. Policy lives in the domain; here is only the order of steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from vcsctl import steps
from vcsctl.domain.decision import Close, Decision, Idle, KeyView, Plan, Recover, Start, Wait
from vcsctl.domain.effective import in_force
from vcsctl.domain.holder import Blocked, Holder, waits_for_group
from vcsctl.domain.outcome import End
from vcsctl.domain.reconcile import CLOCK_TOLERANCE, decide
from vcsctl.domain.run import CANCELLED, Claim, service_of, to_text
from vcsctl.domain.unit import Daemon, Unit, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners import cgroups
from vcsctl.runners.base import Job
from vcsctl.runners.leftovers import log_path, log_path_of_daemon
from vcsctl.runners.supervise import Run, Runs
from vcsctl.store import files, local_cell, locks, nodes, queue, running, state
from vcsctl.store.locks import Grant
from vcsctl.store.overrides import read_override
from vcsctl.store.paths import Paths
from vcsctl.store.queue import Pending
from vcsctl.store.running import RunningReader
from vcsctl.store.state import KeyState
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.conflict import in_the_way, is_held
from vcsctl.vcsd.log import say
from vcsctl.vcsd.observe import Observer
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.recorder import Recorder
from vcsctl.vcsd.services import Service


@dataclass(slots=True)
class Launcher:
    """What starting a run needs to know of this node."""

    paths: Paths
    node: str
    log_dir: str
    boot_id: str
    fence_after_s: float | None
    cgroup_base: str | None
    observer: Observer
    recorder: Recorder
    runs: Runs
    index: RunningReader
    peers: Peers
    clocks: Clocks
    start_runner: Callable[[Job], int]
    view: Callable[[str, KeyState], KeyView]  # KEY and its records, with the entries as they are now; no run lives
    service: Callable[[str], Service | None]
    missing: Callable[[str], str | None]  # the program of a KEY that this machine does not have
    daemons: str | None  # the folder where runners of daemons tell how they are
    local: Paths | None = None  # this machine's own cell, where another process of vcsd keeps up daemons
    told: dict[str, str] = field(default_factory=dict)  # KEY → what was last said of a run that was found

    def start(self, decision: Start) -> Decision | None:
        """None when the run was started; otherwise what is to be done instead."""
        grant = self.take(decision.key, decision.groups)
        if isinstance(grant, Blocked):
            return _waiting(decision, grant)
        try:
            instead = self._start_under_lock(decision, grant)
        except (StorageError, OSError):
            grant.unlock()
            raise
        finally:
            grant.close_unless_kept()
        return instead

    def _start_under_lock(self, decision: Start, grant: Grant) -> Decision | None:
        steps.reached("locks taken")
        key = decision.key
        self.peers.refresh()
        again, found = self._decide_again(key)
        if not isinstance(again, Start) or again.groups != decision.groups:
            grant.unlock()
            return again if not isinstance(again, Start) else Idle(key, "its groups changed", self.clocks.now())
        if (blocked := self.group_conflict(key, again.groups)) is not None:
            grant.unlock()
            return _waiting(again, blocked)
        service = self.service(key)
        if service is None:
            grant.unlock()
            return Idle(key, "the unit is gone")
        claim = self._claim(key, found, again.plan, service.effective, again.groups, again.why, self._queued_at(again))
        if not self._link(claim, found.watermark, index=True):
            grant.unlock()
            return Idle(key, "another node claimed it first", self.clocks.now())
        fences = grant.raise_fences(claim.fence, f"{claim.run_id} on {self.node}")
        steps.reached("fences raised")
        if (instead := self.look_around(claim, again.groups)) is not None:
            grant.unlock()
            return instead
        if (recalled := self.recalled(claim)) is not None:
            self.leave_queue(claim)
            self.end_here(claim, grant, "recalled", recalled)
            return Idle(key, recalled, self.clocks.now())
        steps.reached("not recalled")
        self.leave_queue(claim)
        steps.reached("entries removed")
        self.hand_over(claim, service.effective, grant, fences)
        say(f"{claim.run_id}: started: {claim.why}")
        return None

    def close(self, decision: Close) -> Decision | None:
        """Puts on record what will not run; None when done."""
        grant = self.take(decision.key, ())
        if isinstance(grant, Blocked):
            return Wait(decision.key, grant.why, self.clocks.now(), run=grant.run, passing=grant.passing)
        try:
            self.peers.refresh()
            again, found = self._decide_again(decision.key)
            if not isinstance(again, Close):
                return again
            claim = self._claim(decision.key, found, again.plan, None, (), again.why)
            if self._link(claim, found.watermark, index=False):
                try:
                    grant.raise_fences(claim.fence, f"{claim.run_id} on {self.node}")
                except StorageError:
                    self._take_back(claim)
                    raise
                self.leave_queue(claim)
                for row in claim.dropped:
                    say(f"{decision.key}: {row.cause}: {row.why}")
            return None
        finally:
            grant.unlock()
            grant.close_unless_kept()

    def drop_claimed(self, pending: Pending | None, found: KeyState, decision: Decision) -> bool:
        """Entries that a node made while another one claimed their slots, or that a crash left of a claim that is over:
        they would be shown until the next claim. Whether there were any."""
        if pending is None:
            return False
        first = pending.slots_first
        waits = isinstance(decision, Start | Wait) and decision.enters_queue == first  # a retry's slot is claimed too
        until = found.watermark if first and found.watermark and first <= found.watermark and not waits else None
        listed = {one for claim in _over(found) for one in _requests_of(claim)}
        requests = tuple(one.request.id for one in pending.requests if one.request.id in listed)
        if until is None and not requests:
            return False
        queue.leave(self.paths, found.key, requests, until)
        return True

    def _take_back(self, claim: Claim) -> None:
        """What a node closed whose lock may have been lost before: others may have used its number, and pruned it. It
        stands where it is the newest, or the next was made in its knowledge."""
        following = os.path.basename(self.paths.claim(claim.key, claim.fence + 1))
        is_newest = self.observer.state(claim.key).fence == claim.fence
        if not is_newest and following not in files.names(self.paths.state(claim.key)):
            files.discard(self.paths.claim(claim.key, claim.fence))

    def _decide_again(self, key: str) -> tuple[Decision, KeyState]:
        """Under the lock: another node may have claimed, ended or dropped something meanwhile."""
        found = self.observer.state(key)
        for claim in _over(found):
            self.leave_queue(claim)  # a crash may have left its entries, and the next claim would hide it
        return decide(self.view(key, found), self.clocks.now()), found

    # Steps.

    def take(self, key: str, groups: tuple[str, ...]) -> Grant | Blocked:
        """All the locks, or who holds one."""
        taken = locks.take(self.paths.key_lock(key), {group: self.paths.group_lock(group) for group in groups})
        if isinstance(taken, Grant):
            return self._with_lock_here(key, taken)
        content = locks.read_lock_file(taken)
        holder = Holder.from_text(content.holder if content else "")
        for group in groups:
            if taken == self.paths.group_lock(group):
                return waits_for_group(group, holder)
        # Most often by another node that starts it at this moment, and has not signed the lock yet.
        return Blocked(f"its own run is not over ({holder})", holder.who, passing=True)

    def _with_lock_here(self, key: str, grant: Grant) -> Grant | Blocked:
        """A daemon may have come into a group, or left its last: then its runs change from this machine's own cell to
        the shared one or back, and no lock of one cell says what runs in the other. So a run of the share holds the
        KEY's lock of the machine too."""
        service = self.service(key)
        if self.local is None or service is None or not key.endswith(f"@{self.node}"):
            return grant
        if not isinstance(service.effective, Daemon):
            return grant
        try:
            local_cell.enter(self.local.root)
            grant.beside = locks.try_lock(self.local.key_lock(key))
        except StorageError:
            grant.unlock()
            grant.close()
            raise
        if grant.beside is None:
            grant.unlock()
            grant.close()
            return Blocked("its run without the shared directory is not over")
        return grant

    def group_conflict(self, key: str, groups: tuple[str, ...]) -> Blocked | None:
        """Under the locks: whether a live run counts as holding one of the groups though it did not take it.

        It started on a node, or before a push, that did not know the group. Such a node is another one, or this one
        earlier; the locks themselves tell of all the others.
        """
        if not groups or self.peers.alone:
            return None
        return in_the_way(self.paths, self.index, self.observer.reader, key, groups, self.groups_of)

    def is_held(self, key: str) -> bool:
        """Whether somebody holds a KEY's lock at this moment."""
        return is_held(self.paths, key)

    def groups_of(self, service: str) -> tuple[str, ...]:
        """What any known node declares."""
        return self.peers.groups_of(service)

    def look_around(self, claim: Claim, taken: tuple[str, ...]) -> Decision | None:
        """Why a claim that is in the index already may not begin now; it stays, and is started when it may.

        Whoever puts services into groups publishes that first and looks at the index then: either we see that here,
        of our own service and of those that run, or who did it sees our run.
        """
        self.peers.refresh()
        if not set(self.groups_of(claim.service)) <= set(taken):
            return Recover(claim.key, f"{claim.run_id} is in more groups since it was claimed")
        if (blocked := self.group_conflict(claim.key, taken)) is not None:
            return Wait(claim.key, blocked.why, self.clocks.now(), run=blocked.run)
        if nodes.is_drained(self.paths, self.node):
            return Idle(claim.key, f"node {self.node} is drained", self.clocks.now())
        return None

    def left_to_those_with_its_program(self, key: str) -> str:
        """Why this node leaves a KEY to others that can run it, if it lacks its program; else empty."""
        able = [] if self.peers.alone else self.peers.able_for(key)
        missing = self.missing(key) if able else None
        return f"program missing on node {self.node}: {missing}; left to {', '.join(able)}" if missing else ""

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
            service_of(key),
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
            plan.failed_on,
        )

    def _queued_at(self, start: Start) -> datetime | None:
        """When its KEY entered the queue; a slot that starts at once has waited since its instant."""
        if start.plan.trigger == "daemon":
            return None
        return (
            min(start.place, start.plan.slot) if start.plan.slot and start.plan.trigger == "schedule" else start.place
        )

    def _link(self, claim: Claim, watermark: datetime | None, *, index: bool) -> bool:
        """Publishes the claim. The file server's clock is the judge of whether the slots that it takes have come.

        `watermark` is that of the claims before: one in the future, left by a clock that was ahead, may stay.
        """
        draft = state.draft_claim(self.paths, claim)
        try:
            steps.reached("claim drafted")
            newest = claim.watermark if claim.watermark != watermark else claim.slot
            if newest is not None and newest - draft.modified_at > CLOCK_TOLERANCE:
                raise StorageError(
                    f"cannot claim slot {to_text(newest)}: by the file server's clock it has not come yet; set this "
                    "node's clock"
                )
            if not draft.link():
                return False
            steps.reached("claim linked")
            if index:
                draft.link_also(self.paths.running_index(claim.run_id))
                steps.reached("run indexed")
            return True
        finally:
            draft.discard()

    def leave_queue(self, claim: Claim) -> None:
        slots = [claim.slot, *(row.last for row in claim.dropped if not row.attempt)]
        slots_until = max((slot for slot in slots if slot), default=None)
        queue.leave(self.paths, claim.key, _requests_of(claim), slots_until)

    def recalled(self, claim: Claim) -> str | None:
        """Whether an operator, who writes first and looks for a claim then, was faster than this claim.

        To be asked before the entries are removed: with a request goes the mark that it was cancelled.
        """
        if claim.requests and claim.slot is None:
            cancelled = [one for one in claim.requests if queue.is_cancelled(self.paths, claim.key, one)]
            if len(cancelled) == len(claim.requests):
                return CANCELLED
        by_itself = claim.trigger == "daemon" or (claim.slot is not None and not claim.requests)
        if by_itself and self._disabled(claim):
            return "the service was disabled"
        return None

    def _disabled(self, claim: Claim) -> bool:
        """By the override as it is now: disabling what is declared disabled is taking its override back."""
        service = self.service(claim.key)
        if service is None:
            return False
        changed = in_force(read_override(self.paths, claim.service), service.unit).get("enabled")
        return not (changed.value if changed else service.unit.enabled)

    def hand_over(self, claim: Claim, unit: Unit, grant: Grant, fences: dict[str, int]) -> None:
        """`claim.node` may be another node, which died before it could start the run: it is run here, and says so."""
        claim = replace(claim, node=self.node)
        cgroup = self.cgroup_of(claim)
        if cgroup and not cgroups.make(cgroup):
            cgroup = None
        if isinstance(unit, Daemon):
            log = log_path_of_daemon(self.log_dir, claim.key)
        else:
            log = log_path(self.log_dir, claim.key, claim.run_id)
        fence_after_s = self.fence_after_s
        job = Job(self.paths, claim, unit, grant, fences, log, self.boot_id, fence_after_s, cgroup, self.daemons)
        pid = self.start_runner(job)
        steps.reached("runner forked")
        self.runs.add(Run(claim, self.clocks.now(), pid, grant.keep(), None, cgroup, log=log))

    def cgroup_of(self, claim: Claim) -> str | None:
        return cgroups.path_for(self.cgroup_base, claim.run_id) if self.cgroup_base else None

    def tell(self, claim: Claim, text: str) -> None:
        """Once a run: it may have to be tried again and again."""
        if self.told.get(claim.key) != f"{claim.run_id}: {text}":
            self.told[claim.key] = f"{claim.run_id}: {text}"
            say(self.told[claim.key])

    def end_here(self, claim: Claim, grant: Grant, cause: str, why: str) -> None:
        self.record_end(claim, cause, why)
        grant.unlock()

    def record_end(self, claim: Claim, cause: str, why: str) -> None:
        end = End(cause, why, self.node, self.clocks.now())
        if state.write_end(self.paths, claim.key, claim.fence, end):
            say(f"{claim.run_id}: {end.outcome}: {why}")
        running.leave(self.paths, claim.run_id)
        self.recorder.record(claim.key)


def _over(found: KeyState) -> tuple[Claim, ...]:
    """The claims whose requests are disposed of. Of a run without an outcome a request may be recalled still."""
    return (*found.closes, *((found.run.value,) if found.run and found.end else ()))


def _requests_of(claim: Claim) -> tuple[str, ...]:
    return claim.requests + tuple(row.request for row in claim.dropped if row.request)


def _waiting(start: Start, blocked: Blocked) -> Wait:
    place = start.place, start.enters_queue
    return Wait(start.key, blocked.why, *place, blocked.run, start.patient, blocked.passing)
