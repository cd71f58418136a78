"""One seed from start to verdict: chaos, calm, and what the checker says of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation.faults import Faults
from tests.simulation.operators import Operators
from tests.simulation.scenario import CHAOS_MINUTES, draw_conduct, draw_setting
from tests.simulation.world import NOON, Setting, World

CALM_BEFORE_S = 10.0  # the calm begins so long before the slots of a full minute
QUIET_S = 30.0  # of calm at least


def _keys(setting: Setting) -> int:
    """How many KEYs may want one group at the same time: each has to run once before one of them runs again."""
    each = (len(unit.nodes) or setting.nodes for unit in setting.catalog.values() if unit.run_on == "each")
    return sum(each) + sum(unit.run_on == "any" for unit in setting.catalog.values())


@dataclass(frozen=True, slots=True)
class Verdict:
    seed: int
    violations: list[str]
    about: str = ""
    trace: list[str] = field(default_factory=list)
    executions: int = 0
    calls: int = 0


def simulate(seed: int, *, trace: bool = False) -> Verdict:
    random = Random(seed)
    setting = draw_setting(random)
    world = World(seed, setting)
    if trace:
        world.follow()
    lease_s = setting.lease_s or 10.0
    calm_from = NOON + 60.0 * random.choice(CHAOS_MINUTES) - CALM_BEFORE_S
    hand_over_s = setting.poll_busy_s + 2 * setting.jitter_s
    patience_s = 2 * lease_s + 40.0 + (1.5 * setting.longest_s + hand_over_s) * _keys(setting)
    faults = Faults(world, random, calm_from)
    about = f"{setting.nodes} nodes, lease {setting.lease_s}, faults: {', '.join(sorted(faults.kinds)) or 'none'}"
    with world.at_work():
        world.conduct = conduct = draw_conduct(random, setting.longest_s, setting.lease_s)
        world.restart_s = lambda: random.uniform(0.1, 8.0)
        for node in world.nodes:
            node.clock_offset_s = random.uniform(-3.0, 3.0)
            world.scheduler.at(world.scheduler.now + random.random() * 5.0, lambda node=node: world.boot(node))  # type: ignore[misc]
        faults.plan()
        operators = Operators(world, random)
        operators.plan(calm_from)
        world.scheduler.run(calm_from)
        faults.calm()
        world.conduct = lambda job: replace(conduct(job), hangs_s=0.0)  # a mount that does not answer is a fault too
        world.tell("CALM")
        cutoff = calm_from + QUIET_S
        world.scheduler.run(cutoff)
        world.retire_daemons()
        undisturbed = not faults.kinds & {"push", "clock"} and not operators.kinds & {"disable", "set"}
        due = world.due_slots(cutoff) if undisturbed else []
        if not undisturbed:
            world.witness.queued.clear()  # what stood there may have been of another schedule, or of none
        while world.scheduler.now < cutoff + patience_s and not world.witness.is_settled(cutoff - 1.0, due, calm_from):
            world.scheduler.run(world.scheduler.now + 5.0)
        found = world.violations(due, calm_from=calm_from, bound_s=patience_s, settled_until=cutoff - 1.0)
    lines = [f"{at:9.3f}  {node:8} {process:16} {what}" for at, node, process, what in world.trace or ()]
    return Verdict(seed, found, about, lines, len(world.witness.executions), sum(world.posix.calls.values()))
