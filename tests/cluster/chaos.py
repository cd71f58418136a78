"""Load and faults at random for a cell of real processes, then calm, then judgement by the checker.

make chaos MINUTES=10 [SEED=n]. The seed chooses what is done; when the processes meet it is theirs to choose.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cell import CLOCK_AHEAD, HEARTBEAT_S, Cell, Node, signal_each
from checker import Asked, Forbidden
from judge import Judge
from load import GROUPS, Load, Service
from witness import Begun, Witness, recorded

from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.run import Request
from vcsctl.store import nodes, queue, running, state
from vcsctl.store.records import Faults

NODES = ("a", "b", "c", "d")
FAST, FAST_BY_S = "d", 3  # the node whose clock is ahead, still near enough to claim slots
CALM_BOUND_S = 40.0  # silence is noticed after three heartbeats; the rest is the work that waits, on a busy machine
CALM_BEFORE_S = 58 - FAST_BY_S - CALM_BOUND_S  # of a minute: by the bound no slot has come that may wait still
MOST_IMPAIRED = 2  # nodes at once
NOTICED_AFTER_S = 1.5 * HEARTBEAT_S
TICK_S = 0.05
# What is done how often, on average, each second.
LOAD = {"ask": 6.0, "cancel": 0.15, "stop": 0.15, "toggle": 0.15, "drain": 0.06}
FAULTS = {
    "kill vcsd": 0.25,
    "kill vcsd as it starts": 0.05,
    "pause vcsd": 0.12,
    "power off": 0.05,
    "kill runner": 0.25,
    "pause runner": 0.15,
    "kill job": 0.08,
    "pause job": 0.08,
}


@dataclass(order=True)
class Later:
    at: float
    number: int
    act: Callable[[], None] = field(compare=False)


class Chaos:
    def __init__(self, root: Path, seed: int, say: Callable[[str], None]) -> None:
        self.chance = random.Random(seed)
        self.witness = Witness(root / "witness")
        self.cell = Cell(root, *NODES)
        self.cell[FAST].preamble += CLOCK_AHEAD.format(seconds=FAST_BY_S)
        self.load = Load(self.chance, self.witness, NODES)
        for service in self.load.services:
            self.cell.unit(service.name, service.text)
        told = root / "told"
        told.touch()
        self.judge = Judge(self.cell, self.witness, self.load, told, CALM_BOUND_S)
        self.drained: dict[str, float | None] = {}  # node → since when it starts nothing, None: not known yet
        self.toggled: set[str] = set()
        self.commands: list[subprocess.Popen[bytes]] = []
        self.impaired: set[str] = set()
        self.starting: set[str] = set()
        self.struck_at: dict[str, float] = {}  # node → when a runner of it was killed
        self.later: list[Later] = []
        self.count: Counter[str] = Counter()
        self.say = say
        self.journal = (root / "chaos.log").open("w", buffering=1)

    # The time of trouble.

    def trouble(self, seconds: float) -> None:
        self.cell.start()
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until or not 4 < time.time() % 60 < CALM_BEFORE_S:
            while self.later and self.later[0].at <= now:
                heapq.heappop(self.later).act()
            self._note_drained()
            self._note_started()
            for what, rate in {**LOAD, **FAULTS}.items():
                if self.chance.random() < rate * TICK_S and self._do(what):
                    self.count[what] += 1
            time.sleep(TICK_S)

    def _do(self, what: str) -> bool:
        """Whether there was anything to do it to."""
        match what:
            case "ask":
                return self._ask(self.load.any_service())
            case "cancel":
                return self._cancel()
            case "stop":
                return self._stop()
            case "toggle":
                return self._toggle()
            case "drain":
                return self._drain()
            case "kill vcsd" | "kill vcsd as it starts" | "pause vcsd" | "power off":
                return self._impair(what)
            case _:
                return self._strike(what)

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.later, Later(time.monotonic() + seconds, len(self.later), act))

    def _log(self, text: str) -> None:
        self.journal.write(f"{time.monotonic():.3f} {text}\n")

    # What operators do.

    def _ask(self, service: Service) -> bool:
        request = Request(queue.new_request_id(), self.load.any_key(service), service.name, "chaos", "chaos")
        at = time.monotonic()
        queue.enter_request(self.cell.paths, request)
        self.judge.asked.append(Asked(request.id, request.key, at))
        self._log(f"asked for {request.key} ({request.id})")
        return True

    def _cancel(self) -> bool:
        waiting = [queued.request for pending in self._pending().values() for queued in pending.requests]
        if not waiting:
            return False
        request = self.chance.choice(waiting)
        self._command(self.chance.choice(NODES), "cancel", request.service)
        return True

    def _pending(self) -> dict[str, queue.Pending]:
        return queue.QueueReader(self.cell.paths, Faults()).read()

    def _stop(self) -> bool:
        live = running.live(self.cell.paths, Faults())
        if not live:
            return False
        claim = live[self.chance.choice(sorted(live))].value
        self._log(f"stops {claim.run_id}")
        return state.write_stop(self.cell.paths, claim.key, claim.fence, StopRequest("chaos", "chaos"))

    def _toggle(self) -> bool:
        name = self.chance.choice(self.load.timed())
        self._command(self.chance.choice(NODES), "enable" if name in self.toggled else "disable", name)
        self.toggled ^= {name}
        self.judge.ever_toggled.add(name)
        return True

    def _command(self, node: str, *arguments: str) -> None:
        """As an operator gives it, and without waiting: its vcsd may be paused."""
        self._log(f"on {node}: vcsctl {' '.join(arguments)}")
        site = self.cell[node]
        command = [sys.executable, "-m", "vcsctl.cli.main", *arguments]
        self.commands = [one for one in self.commands if one.poll() is None]
        with self.judge.told.open("a") as told:
            self.commands.append(
                subprocess.Popen(
                    command, env=site.environment, stdout=told, stderr=self.journal, stdin=subprocess.DEVNULL
                )
            )

    def _drain(self) -> bool:
        free = sorted(set(NODES) - self.drained.keys())
        if len(free) <= len(NODES) // 2:
            return False
        node = self.chance.choice(free)
        self._log(f"drains {node}")
        nodes.ask_to_drain(self.cell.paths, nodes.Drain(node, "chaos"))
        self.drained[node] = None
        self._at(self.chance.uniform(3, 15), lambda: self._resume(node))
        return True

    def _resume(self, node: str) -> None:
        since = self.drained.pop(node, None)
        if since is not None:
            self.judge.forbidden.append(Forbidden(node, None, since, time.monotonic()))
        self._log(f"resumes {node}, {'which never said that it was drained' if since is None else 'drained till now'}")
        nodes.resume(self.cell.paths, node)

    def _note_drained(self) -> None:
        """Drained is who says so in a heartbeat that began after the wish, once it runs nothing."""
        for node in [node for node, since in self.drained.items() if since is None]:
            said = nodes.read_states(self.cell.paths).get(node)
            busy = {stored.value.node for stored in running.live(self.cell.paths, Faults()).values()}
            if said and said.value.drained and node not in busy:
                self.drained[node] = time.monotonic()

    # What goes wrong.

    # Where vcsd is silent for long and a runner is killed, too, nobody can end what that one leaves: the gap that the
    # documents name. So a runner is killed only where vcsd can take notice.

    def _impair(self, what: str) -> bool:
        name = self.chance.choice(NODES)
        if name in self.impaired or len(self.impaired) >= MOST_IMPAIRED:
            return False
        if time.monotonic() - self.struck_at.get(name, 0.0) < NOTICED_AFTER_S:
            return False
        node = self.cell[name]
        self.impaired.add(name)
        self._log(f"{what} on {name}")
        match what:
            case "kill vcsd":
                node.kill()
                self._at(self.chance.uniform(0, 4), lambda: self._start(node))
            case "kill vcsd as it starts":
                node.kill()
                node.start(until_it_answers=False)
                self._at(self.chance.uniform(0.1, 1.0), lambda: (node.kill(), self._start(node)))
            case "pause vcsd":
                node.pause()
                self._at(self.chance.uniform(0.3, 6), lambda: self._resume_vcsd(node))
            case "power off":
                node.power_off()
                self._at(self.chance.uniform(0, 8), lambda: self._start(node))
        return True

    def _resume_vcsd(self, node: Node) -> None:
        node.resume()
        self._at(NOTICED_AFTER_S, lambda: self.impaired.discard(node.name))

    def _start(self, node: Node) -> None:
        node.start(until_it_answers=False)
        self._log(f"started vcsd on {node.name}")
        self.starting.add(node.name)

    def _note_started(self) -> None:
        """It has begun when its heart beats; the others have noticed a heartbeat later."""
        states = nodes.read_states(self.cell.paths) if self.starting else {}
        for name in list(self.starting):
            vcsd, state = self.cell[name].vcsd, states.get(name)
            if vcsd is not None and state is not None and state.value.pid == vcsd.pid:
                self.starting.discard(name)
                self._at(NOTICED_AFTER_S, lambda name=name: self.impaired.discard(name))

    def _strike(self, what: str) -> bool:
        """At one of the runs that say that they are under way."""
        live = [one for one in self.witness.begun().values() if one.execution.ended_at is None]
        live = [one for one in live if self._is_there(one)]
        if not live:
            return False
        one = self.chance.choice(live)
        verb, _, whom = what.partition(" ")
        pid = one.runner if whom == "runner" else one.pid
        if what == "kill runner":
            if one.execution.node in self.impaired:
                return False
            self.struck_at[one.execution.node] = time.monotonic()
        self._log(f"{what} of {one.execution.run} on {one.execution.node}")
        if verb == "kill":
            signal_each([pid], signal.SIGKILL)
        else:
            signal_each([pid], signal.SIGSTOP)
            self._at(self.chance.uniform(0.3, 6), lambda: signal_each([pid], signal.SIGCONT))
        return True

    def _is_there(self, one: Begun) -> bool:
        """Its pids are its own still: both belong to its node."""
        mark = f"VCS_ROOT={self.cell[one.execution.node].root}".encode()
        try:
            return all(mark in Path(f"/proc/{pid}/environ").read_bytes() for pid in (one.pid, one.runner))
        except OSError:
            return False

    # The calm after it, and the judgement.

    def calm(self) -> float:
        """Heals everything; the seconds until nothing waits, runs or lacks its outcome. What did so for longer than the
        bound allows is given its time still, so that the verdict tells what is late from what is lost."""
        while self.later:
            heapq.heappop(self.later).act()
        for node in list(self.drained):
            self._resume(node)
        for name in sorted(self.toggled):
            self._command(NODES[0], "enable", name)
        began = time.monotonic()
        self.judge.calm()
        self._log("calm from now on")
        for node in self.cell.nodes.values():
            if node.vcsd is None or node.vcsd.poll() is not None:
                node.start(until_it_answers=False)
        for command in self.commands:
            command.wait(30)
        while (left := self.judge.unsettled()) and time.monotonic() < began + CALM_BOUND_S:
            time.sleep(0.1)
        took = time.monotonic() - began
        self.judge.late = left
        while not 4 < time.time() % 60 < 58 - FAST_BY_S or (
            self.judge.unsettled() and time.monotonic() < began + 2 * CALM_BOUND_S
        ):
            time.sleep(0.1)  # not at a minute, whose slots are no leftovers
        return took

    def summary(self) -> str:
        rows = recorded(self.cell.shared)
        outcomes = Counter(row.outcome for row in rows if row.is_run)
        per_node = Counter(one.execution.node for one in self.witness.begun().values())
        slots = len({(row.key, row.slot) for row in rows if row.is_run and row.slot})
        done = ", ".join(f"{what} {times}" for what, times in sorted(self.count.items()))
        return (
            f"{sum(per_node.values())} jobs in {len(GROUPS)} groups on {dict(sorted(per_node.items()))}, {slots} slots, "
            f"{len(self.judge.asked)} requests; outcomes {json.dumps(outcomes)}; done: {done}"
        )


def run(root: Path, seed: int, seconds: float, say: Callable[[str], None]) -> list[str]:
    """Trouble for so long, calm, judgement: the broken promises."""
    say(f"seed {seed}, {seconds:.0f} s, in {root}")
    chaos = Chaos(root, seed, say)
    try:
        chaos.trouble(seconds)
        took = chaos.calm()
        for node in chaos.cell.nodes.values():
            node.stop()  # else a slot that comes meanwhile would be taken for something left over
        found = chaos.judge.verdict()
        say(chaos.summary())
        if not chaos.judge.late:
            say(f"{took:.1f} s after the faults had stopped nothing waited and nothing lacked its outcome")
        return found
    finally:
        chaos.cell.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with SIGINT ignored
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))  # and the cell is ended on the way out
    root = Path(tempfile.mkdtemp(prefix="chaos."))
    found = run(root, arguments.seed, arguments.minutes * 60, lambda text: print(text, flush=True))
    print("\n".join(found) if found else "the checker found nothing")
    print(f"what happened is in {root}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
