"""Claims without an outcome: adopted while their run lives, started again if it never began, else recorded as lost.

Whose lock is free is over. While its node lives that one says so: only there what a killed runner left can be ended.
Starts nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vcsctl.domain.decision import Decision, Idle, Recover, Wait
from vcsctl.domain.holder import Blocked, Holder, waits_for_group
from vcsctl.domain.outcome import Started
from vcsctl.domain.reconcile import start_limit
from vcsctl.domain.run import Claim, is_lock, to_text
from vcsctl.domain.unit import TimedUnit, Unit, from_plain
from vcsctl.errors import StorageError
from vcsctl.runners import cgroups, linux
from vcsctl.runners.leftovers import end_leftovers
from vcsctl.runners.supervise import Run
from vcsctl.store import files, running
from vcsctl.store.locks import Grant
from vcsctl.store.records import Stored
from vcsctl.store.state import KeyState
from vcsctl.vcsd.conflict import NOBODY_WAITS
from vcsctl.vcsd.launch import Launcher
from vcsctl.vcsd.log import say

_LOOK_AGAIN = timedelta(seconds=1)
_LOOK_AT_KILLED = timedelta(seconds=0.1)


@dataclass(slots=True)
class Recovery:
    launcher: Launcher

    def recover(self, decision: Recover, held: Mapping[str, Holder], held_back: str) -> Decision | None:
        """`held`: the groups of this node's live runs. `held_back`: why this node starts nothing, if so."""
        launch, key = self.launcher, decision.key
        found = launch.observer.state(key)
        if found.run is None or found.end is not None:
            return self._resolved(key)
        claim = found.run.value
        # One that began needs no group any more. One that did not takes those it is in by now, not only its claim's.
        begins = not found.began and not is_lock(key)
        groups = tuple(sorted({*claim.groups, *launch.groups_of(claim.service)})) if begins else ()
        busy = next((group for group in groups if group in held), None)
        if busy is not None:
            return _waiting(claim, found.run.at, waits_for_group(busy, held[busy]))
        grant = launch.take(key, groups)
        if isinstance(grant, Blocked):
            if launch.is_held(key):
                self._adopt(claim, found)
                return None
            passing = grant.passing and not self._was_ours(claim, found)
            return _waiting(claim, found.run.at, replace(grant, passing=passing))
        try:
            return self._recover_under_lock(claim, grant, groups, held_back)
        except (StorageError, OSError):
            grant.unlock()
            raise
        finally:
            grant.close_unless_kept()

    def _recover_under_lock(
        self, claim: Claim, grant: Grant, groups: tuple[str, ...], held_back: str
    ) -> Decision | None:
        launch, key = self.launcher, claim.key
        found = launch.observer.state(key)
        if found.run is None or found.run.value.fence != claim.fence or found.end is not None:
            grant.unlock()
            return self._resolved(key)
        if (run := self._living_here(claim, found)) is not None:
            grant.unlock()
            launch.runs.add(run)
            launch.tell(claim, "lives on, though its lock is free: its file was removed, or the server gave it away")
            return None
        if (cgroup := self._cgroup_here(claim, found)) and not cgroups.is_empty(cgroup):
            cgroups.kill(cgroup)
            grant.unlock()
            return Idle(key, "killing what its runner left", launch.clocks.now() + _LOOK_AT_KILLED)
        if found.unreadable_end:
            aside = files.set_aside(found.unreadable_end)
            launch.end_here(claim, grant, "runner-died", f"it ended, but its outcome cannot be read: {aside}")
            return self._resolved(key)
        if found.began:
            if (owner := self._living_owner(claim, found)) is not None:
                grant.unlock()
                return Idle(key, f"left to {owner}, where its runner died", launch.clocks.now() + _LOOK_AGAIN)
            launch.end_here(claim, grant, *self._evidence(claim, found))
            return self._resolved(key)
        instead = self._begin_again(claim, grant, groups, held_back)
        if not grant.is_kept:
            grant.unlock()
        return instead

    def _begin_again(self, claim: Claim, grant: Grant, groups: tuple[str, ...], held_back: str) -> Decision | None:
        """The claim is on record, its start is not: it is started here, if this node may."""
        launch, key = self.launcher, claim.key
        if is_lock(key):
            launch.leave_queue(claim)
            launch.end_here(claim, grant, "recalled", NOBODY_WAITS)
            return self._resolved(key)
        launch.peers.refresh()
        if launch.service(key) is None and (others := launch.peers.others_for(key)):
            return Idle(key, f"its claim is left to {', '.join(others)}")
        if held_back or (held_back := launch.left_to_those_with_its_program(key)):
            return Idle(key, held_back, launch.clocks.now() + _LOOK_AGAIN)
        if (over := self._begins_no_more(claim)) is not None:
            launch.leave_queue(claim)
            launch.end_here(claim, grant, *over)
            return self._resolved(key)
        running.enter(launch.paths, replace(claim, node=launch.node))
        fences = grant.raise_fences(claim.fence, f"{claim.run_id} on {launch.node}")
        if (instead := launch.look_around(claim, groups)) is not None:
            return instead
        launch.leave_queue(claim)
        assert isinstance(claim.unit, dict)
        launch.hand_over(claim, from_plain(claim.unit), grant, fences)
        launch.tell(claim, "started: its claim was on record, its start was not")
        return None

    def _begins_no_more(self, claim: Claim) -> tuple[str, str] | None:
        """The cause and the sentence for a claim that must not begin any more."""
        launch = self.launcher
        if (recalled := launch.recalled(claim)) is not None:
            return "recalled", recalled
        if launch.service(claim.key) is None:
            return "unit-gone", "the unit is gone, masked or not for this node, and no other node may run it"
        try:
            unit = from_plain(claim.unit or {})
        except (KeyError, TypeError, ValueError):
            return "unit-gone", "the claim holds no unit that this version can run"
        late = self._expired(claim, unit)
        return ("expired", late) if late is not None else None

    def _expired(self, claim: Claim, unit: Unit) -> str | None:
        """Whether the slot of a claim that never began is too old by now to begin."""
        if claim.requests or claim.attempt > 1:
            return None  # what was asked for, and a retry, does not expire with its slot
        service = self.launcher.service(claim.key)
        if claim.slot is None or service is None or service.schedule is None or not isinstance(unit, TimedUnit):
            return None
        limit = start_limit(unit, service.schedule, claim.slot)
        return f"could not start by {to_text(limit)} (start_within)" if self.launcher.clocks.now() >= limit else None

    def _living_owner(self, claim: Claim, found: KeyState) -> str | None:
        """Another node that lives, in the life in which it started the run."""
        started, peers = found.started.value if found.started else None, self.launcher.peers
        node = (started.node if started else None) or claim.node
        if node == self.launcher.node or peers.is_silent(node):
            return None
        restarted = started is not None and peers.states[node].boot_id != started.boot_id
        return None if restarted else node

    def end_leftovers(self) -> None:
        launch = self.launcher
        if launch.cgroup_base:
            live = {run.claim.run_id for run in launch.runs.by_key.values()}
            for run_id in end_leftovers(launch.paths, launch.cgroup_base, launch.log_dir, live):
                say(f"{run_id}: it is over, and what was left of it here is killed")

    def _evidence(self, claim: Claim, found: KeyState) -> tuple[str, str]:
        """The cause and the sentence for a run that began, has no outcome, and whose lock is free."""
        if found.started is None:
            return "runner-died", f"its start on {claim.node} is on record and cannot be read; its lock is free"
        started, launch = found.started.value, self.launcher
        node = started.node or claim.node
        if started.boot_id == launch.boot_id:
            return "runner-died", f"runner {started.pid} on {node} ended without an outcome and its lock is free"
        if node == launch.node:
            return "node-died", f"{node} went down under it"
        silent_s = launch.peers.silent_s(node)
        if silent_s is None:
            return "runner-died", f"its runner on {node} ended without an outcome and its lock is free"
        how = "is not known any more" if math.isinf(silent_s) else f"has been silent for {silent_s:.0f} s"
        return "node-died", f"{node} {how} and its lock is free"

    def lost(self, run: Run) -> bool:
        """A runner of ours ended without an outcome, and nothing it started is left. True when all is on record."""
        launch = self.launcher
        found = launch.observer.state(run.claim.key)
        if found.run is None or found.run.value.fence != run.claim.fence or found.end is not None:
            return True
        if not found.began:
            return False
        if not self._is_ours(run, found):
            return True  # another node has started the claim meanwhile: what is on record is that run's
        try:
            if run.grant:
                run.grant.prove()
        except StorageError:
            return True  # the locks are not ours any more: who has them, or takes them next, says what became of it
        how = f"killed by signal {linux.signal_name(run.status)}" if 0 < run.status < 65 else "gone"
        launch.record_end(run.claim, "runner-died", f"runner {run.pid} was {how}; what it had started was killed")
        if run.grant:
            run.grant.unlock()
        return True

    def _is_ours(self, run: Run, found: KeyState) -> bool:
        started = found.started.value if found.started else None
        return started is not None and (started.boot_id, started.pid) == (self.launcher.boot_id, run.pid)

    def watch(self, run: Run, started: Stored[Started] | None) -> bool:
        """False when its runner should be on this machine and is not. It may be another node's, or not yet named."""
        if started is None or started.value.boot_id != self.launcher.boot_id:
            return True
        return self.launcher.runs.watch(run, started.value.pid, started.value.pid_started)

    def _adopt(self, claim: Claim, found: KeyState) -> None:
        """A run that a former vcsd of this node, or another node, started and that lives."""
        run = Run(claim, found.run.at if found.run else self.launcher.clocks.now())
        run.cgroup = self._cgroup_here(claim, found)
        self.watch(run, found.started)
        self.launcher.runs.add(run)
        if self._was_ours(claim, found):
            self.launcher.tell(claim, "lives on; watched from now on")

    def _was_ours(self, claim: Claim, found: KeyState) -> bool:
        """Whether a former vcsd of this node started it. To watch another node's is nothing to speak of."""
        node = (found.started.value.node if found.started else None) or claim.node
        return node == self.launcher.node and not is_lock(claim.key)

    def _living_here(self, claim: Claim, found: KeyState) -> Run | None:
        """The run when its runner lives on this machine: that sees to its command, and nobody else may end it."""
        if found.run is None or found.started is None or found.started.value.boot_id != self.launcher.boot_id:
            return None
        started, run = found.started.value, Run(claim, found.run.at)
        run.cgroup = self._cgroup_here(claim, found)
        return run if self.launcher.runs.watch(run, started.pid, started.pid_started) else None

    def _cgroup_here(self, claim: Claim, found: KeyState) -> str | None:
        """The control group of a run of this machine's present life."""
        if found.started is None:
            return self.launcher.cgroup_of(claim)
        return found.started.value.cgroup if found.started.value.boot_id == self.launcher.boot_id else None

    def _resolved(self, key: str) -> Idle:
        return Idle(key, "its outcome is on record", self.launcher.clocks.now())


def _waiting(claim: Claim, since: datetime, blocked: Blocked) -> Wait:
    return Wait(claim.key, blocked.why, since, run=blocked.run, passing=blocked.passing)
