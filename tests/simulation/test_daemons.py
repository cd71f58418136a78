"""Daemons in virtual time, with faults: never two active, and after the faults each is up where it is wanted."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.simulation.commands import Conduct
from tests.simulation.faults import Faults
from tests.simulation.script import LEASE_S, Script, catalog
from tests.simulation.world import NOON, Setting
from vcsctl.domain.unit import Daemon

CALM_S = 60.0
PATIENCE_S = 4 * LEASE_S + 60.0


def daemon(name: str, *groups: str, run_on: str = "any", enabled: bool = True) -> Daemon:
    return Daemon(
        name=name,
        exec=("/bin/true",),
        groups=groups,
        run_on=run_on,  # type: ignore[arg-type]
        enabled=enabled,
        stop_timeout=2.0,
        start_limit=(20, 60.0),
    )


def units(*, enabled: bool = True) -> list[Daemon]:
    return [
        daemon("lone", "g1", enabled=enabled),
        daemon("rival", "g2", enabled=enabled),
        daemon("twin", "g2", enabled=enabled),
        daemon("every", run_on="each", enabled=enabled),
    ]


def story(seed: int) -> None:
    random = Random(seed)
    setting = Setting(nodes=3, catalog=catalog(*units()), lease_s=LEASE_S, heartbeat_s=3.0, with_cgroups=bool(seed % 3))
    world = Script(seed, setting)
    stable = seed % 2 == 0
    world.conduct = lambda job: Conduct(
        1e6 if stable else random.uniform(3.0, 60.0), 1, random.choice((0.05, 0.5, None))
    )
    world.restart_s = lambda: random.uniform(0.1, 8.0)
    faults = Faults(world, random, NOON + CALM_S)
    faults.kinds -= {"push", "clock"}  # they change what is wanted; and no clock starts a daemon
    with world.at_work():
        for node in world.nodes:
            world.boot(node)
        faults.plan()
        world.until(CALM_S)
        faults.calm()
        world.until(CALM_S + PATIENCE_S)
        live = {one.key for one in world.witness.executions if one.ended_at is None}
        for node in world.nodes:
            world.push(node.name, *units(enabled=False))
        world.until(CALM_S + PATIENCE_S + 60.0)
        found, rows = world.verdict(CALM_S + PATIENCE_S + 50.0)
    about = f"seed {seed}, faults: {', '.join(sorted(faults.kinds))}"
    broken = [sentence for sentence in found if not _is_of_one_run(sentence)]
    assert not broken, f"{about}: {broken}"
    if stable:
        assert live >= {"lone", "every@n1", "every@n2", "every@n3"}, about
        assert len(live & {"rival", "twin"}) == 1, about
    assert {row.trigger for row in rows.values()} == {"daemon"}, about


def _is_of_one_run(sentence: str) -> bool:
    """A run of a daemon executes its process again and again, under one grant: one after the other, which is judged."""
    pair = re.fullmatch(r"fence of .*, (\S+) on [^,]* and (\S+) on .*", sentence)
    return sentence.startswith("executed twice: run") or (pair is not None and pair[1] == pair[2])


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_never_two_are_active_and_after_the_faults_all_are_up(first: int) -> None:
    for seed in range(first, first + 20):
        story(seed)
