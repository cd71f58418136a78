"""The simulated processes of runs: runners, commands and what commands leave behind, in place of fork and exec.

Implements the two seams of the real code: what a runner needs of its machine, and what vcsd knows of its runners.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tests.simulation.node import Node
from tests.simulation.scheduler import Process, Task
from vcsctl.domain.unit import Daemon, Unit
from vcsctl.errors import StorageError
from vcsctl.runners import daemon, oneshot
from vcsctl.runners.base import Job
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.machine import Hurry, Machine
from vcsctl.runners.supervise import Run, Runs


@dataclass(frozen=True, slots=True)
class Conduct:
    """How one execution of a command goes on. `leaves_s`: a child of it lives on for so long after it."""

    lasts_s: float
    exit_code: int = 0
    heeds_stop_s: float | None = 0.1  # None: only KILL ends it
    leaves_s: float = 0.0
    hangs_s: float = 0.0  # before it is executed: a mount that does not answer


Began = Callable[[Job, float | None], Callable[[], None]]  # with the moment at which its node decided to run it


@dataclass(frozen=True, slots=True)
class Prepared:
    unit: Unit
    variables: dict[str, str]
    inherited: tuple[int, ...]
    conduct: Conduct


class SimulatedHurry(Hurry):
    def __init__(self, node: Node) -> None:
        self._node = node
        self._hurried = False
        self._waiting: Task | None = None

    def wait(self, seconds: float) -> None:
        if not self._hurried:
            self._waiting = self._node.scheduler.current
            self._node.scheduler.wait(seconds)
            self._waiting = None
        self._hurried = False

    def now(self) -> None:
        self._hurried = True
        if self._waiting is not None:
            self._node.scheduler.wake(self._waiting)


class SimulatedMachine(Machine):
    """`began` is told of each executed command and gives back whom to tell when the last of its processes is gone."""

    def __init__(self, runner: Process, job: Job, conduct: Conduct, began: Began) -> None:
        self.cgroup = job.cgroup
        self.status: int | None = None
        self.over_s = 0.0
        self.cpu_s = 0.0
        self.peak_kib = 0
        self.signals: list[int] = []
        self._runner = runner
        self._node: Node = runner.node
        self._scheduler = runner.scheduler
        self._job = job
        self._conduct = conduct
        self._began = began
        self._decided_at = runner.parent.locked_at if runner.parent else None
        self._tree: set[Process] = set()
        self._main: Task | None = None
        self._woken = False

    # Clocks.

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._node.wall(), UTC)

    def monotonic(self) -> float:
        return self._node.since_boot()

    def boottime(self) -> float:
        return self._node.since_boot()

    def sleep(self, seconds: float) -> None:
        self._scheduler.sleep(seconds)

    # The command.

    def identity(self) -> tuple[int, int]:
        return self._runner.pid, self._runner.started_ticks

    def prepare(self, unit: Unit, variables: dict[str, str], inherited: tuple[int, ...]) -> Any:
        self._scheduler.sleep(0.001 + self._conduct.hangs_s)
        return Prepared(unit, variables, inherited, self._conduct)

    def execute(self, command: Any, within_s: float | None) -> None:
        over = self._began(self._job, self._decided_at)
        process = self._spawn("command", command.inherited, over)
        conduct = self._conduct

        def work() -> None:
            self._scheduler.wait(conduct.lasts_s)
            process.status = conduct.exit_code << 8
            if conduct.leaves_s:
                # With a control group it is found whatever it closed; else it is only found if it kept the locks.
                kept = () if self.cgroup else command.inherited
                left = self._spawn("leftover", kept, over, parent=process)
                left.run(lambda: self._scheduler.wait(conduct.leaves_s))

        process.at_end.append(self._command_ended)
        process.run(work)

    def _spawn(
        self, kind: str, inherited: tuple[int, ...], over: Callable[[], None], parent: Process | None = None
    ) -> Process:
        process = self._node.process(f"{kind} {self._job.claim.run_id}", parent or self._runner, inherited)
        self._tree.add(process)
        if self.cgroup:
            self._node.cgroups.setdefault(self.cgroup, set()).add(process)

        def ended(_: Process) -> None:
            self._tree.discard(process)
            if not self._tree:
                over()
            self.wake()

        process.at_end.append(ended)
        if kind == "command":  # it dies with the runner; what it started does not
            self._runner.at_end.append(lambda _: process.end(signal.SIGKILL))
        return process

    def end_what_nobody_holds(self) -> None:
        """Without vcsd nobody ends what a killed runner leaves; if it closed the locks too, no lock can exclude it."""
        for process in [one for one in self._tree if not one.files]:
            process.end(9)

    def _command_ended(self, process: Process) -> None:
        self.status = process.status
        self.over_s = self.monotonic()

    def reap(self) -> bool:
        return bool(self._tree)

    def signal_everything(self, number: int) -> None:
        for process in sorted(self._tree, key=lambda one: one.pid):
            if self._conduct.heeds_stop_s is not None:
                moment = self._scheduler.now + self._conduct.heeds_stop_s
                self._scheduler.at(moment, lambda process=process: process.end(number))  # type: ignore[misc]

    def kill_everything(self) -> None:
        for process in sorted(self._tree, key=lambda one: one.pid):
            process.kill()

    def clean_up(self) -> None:
        if self.cgroup:
            self._node.cgroups.pop(self.cgroup, None)

    # Waiting.

    def wait(self, seconds: float) -> None:
        if not self._woken:
            self._main = self._scheduler.current
            self._scheduler.wait(seconds)
            self._main = None
        self._woken = False

    def wake(self) -> None:
        self._woken = True
        if self._main is not None and self._runner.alive:
            self._scheduler.wake(self._main)

    def run_beside(self, work: Callable[[], None]) -> None:
        self._runner.beside(work)

    def hurry(self) -> Hurry:
        return SimulatedHurry(self._node)

    def signalled(self, number: int) -> None:
        self.signals.append(number)
        self.wake()


class SimulatedDaemonMachine(SimulatedMachine, DaemonMachine):
    """Of a daemon without messages, probes and reload: its process begins, ends and begins again."""

    def __init__(self, runner: Process, job: Job, conduct: Callable[[], Conduct], began: Began) -> None:
        super().__init__(runner, job, conduct(), began)
        self.executed = False
        self.fault = ""
        self.is_status_known = True
        self._command = 0
        self._listener = None
        self._conducts = conduct
        self.log_trouble = ""

    def prepare(self, unit: Unit, variables: dict[str, str], inherited: tuple[int, ...]) -> Any:
        self._conduct = self._conducts()
        return super().prepare(unit, variables, inherited)

    def prepare_beside(self, work: Callable[[], None]) -> None:
        def prepare() -> None:
            work()
            self.wake()

        self.run_beside(prepare)

    def end_preparing(self) -> None:
        """A simulated fork does not mind other tasks."""

    def start(self, command: Any) -> None:
        self.status, self.executed = None, True
        self.execute(command, None)
        self._command += 1

    def admit(self, command: Any) -> None:
        """Without messages."""

    def look_at_log(self, log: Any) -> None:
        """Its log is no matter of the protocol."""

    def signal_main(self, number: int) -> None:
        self.signal_everything(number)

    def start_helper(self, command: Any) -> Any:
        raise NotImplementedError("no simulated daemon has probes")


class Children:
    """What vcsd's process knows of its children, and how it is woken when one ends."""

    def __init__(self, vcsd: Process) -> None:
        self.vcsd = vcsd
        self.node: Node = vcsd.node
        self.ended: list[Process] = []
        self.orphans: set[Process] = set()
        self.machines: dict[int, SimulatedMachine] = {}
        self.events: list[int] = []
        self._waiting: Task | None = None
        self._woken = False

    def fork_runner(self, job: Job, conduct: Callable[[Job], Conduct], began: Began) -> int:
        scheduler = self.node.scheduler
        own = replace(job, grant=copy.deepcopy(job.grant))
        runner = self.node.process(f"runner {job.claim.run_id}", self.vcsd, tuple(job.grant.descriptors))
        machine: SimulatedMachine
        if isinstance(job.unit, Daemon):
            machine = kept = SimulatedDaemonMachine(runner, own, lambda: conduct(own), began)
            of_job: Callable[[], oneshot.Runner | daemon.Runner] = lambda: daemon.Runner(own, kept)  # noqa: E731
        else:
            machine = once = SimulatedMachine(runner, own, conduct(own), began)
            of_job = lambda: oneshot.Runner(own, once)  # noqa: E731
        self.machines[runner.pid] = machine

        def work() -> None:
            scheduler.sleep(0.001)
            try:
                of_job().run()
            except StorageError:
                runner.status = 70 << 8

        def ended(process: Process) -> None:
            self.ended.append(process)
            if self.vcsd.alive:
                self.orphans |= machine._tree  # what a killed runner leaves falls to vcsd
            else:
                machine.end_what_nobody_holds()
            self.wake()

        runner.at_end.append(ended)
        runner.run(work)
        scheduler.sleep(0.001)
        return runner.pid

    def wait(self, seconds: float) -> list[int]:
        """Until a child ends, a watched runner ends, somebody calls or the time is over; the watched ones that ended."""
        scheduler = self.node.scheduler
        if not self._woken:
            self._waiting = scheduler.current
            scheduler.wait(seconds)
            self._waiting = None
        self._woken = False
        events, self.events = self.events, []
        return events

    def wake(self) -> None:
        self._woken = True
        if self._waiting is not None and self.vcsd.alive:
            self.node.scheduler.wake(self._waiting)


class SimulatedRuns(Runs):
    def __init__(self, children: Children) -> None:
        self.by_key: dict[str, Run] = {}
        self.helpers: set[int] = set()
        self._children = children
        self._watched: dict[int, Process] = {}

    def watch(self, run: Run, pid: int, started_ticks: int) -> bool:
        process = self._children.node.processes.get(pid)
        if process is None or process.started_ticks != started_ticks:
            return False
        run.descriptor, run.pid = pid, pid
        self._watched[pid] = process

        def ended(_: Process) -> None:
            self._children.events.append(pid)
            self._children.wake()

        process.at_end.append(ended)
        return True

    def tell(self, run: Run, number: int) -> bool:
        """Only to runners of this vcsd: one that is not nudged looks by itself."""
        machine = self._children.machines.get(run.pid)
        if machine is not None:
            machine.signalled(number)
        return machine is not None

    def is_over(self, run: Run) -> bool:
        return run.descriptor is not None and not self._watched[run.descriptor].alive

    def remove(self, run: Run) -> None:
        run.descriptor = None
        run.close()
        self.by_key.pop(run.claim.key, None)

    def reap(self) -> None:
        by_pid = {run.pid: run for run in self.by_key.values() if run.grant}
        for process in self._children.ended:
            if process.pid in by_pid:
                by_pid[process.pid].gone = True
                by_pid[process.pid].status = process.status
        self._children.ended.clear()

    def kill_leftovers(self, run: Run) -> bool:
        self.reap()
        node, children = self._children.node, self._children
        members = node.cgroups.get(run.cgroup, set()) if run.cgroup else set()
        left = [process for process in (*members, *children.orphans) if process.alive]
        for process in sorted(left, key=lambda one: one.pid):
            process.kill()
        children.orphans = {process for process in children.orphans if process.alive}
        if left:
            return False
        if run.cgroup:
            node.cgroups.pop(run.cgroup, None)
        return True
