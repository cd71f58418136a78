"""Daemons in virtual time, with faults: never two active, and after the faults each is up where it is wanted."""

from __future__ import annotations

from random import Random

import pytest

from tests.simulation.commands import Conduct
from tests.simulation.faults import Faults
from tests.simulation.script import LEASE_S, Script, catalog, cell
from tests.simulation.world import NOON, Setting
from vcsctl.domain.unit import Daemon

CALM_S = 60.0
PATIENCE_S = 4 * LEASE_S + 60.0


def daemon(name: str, *groups: str, run_on: str = "any", enabled: bool = True, on_loss: str | None = None) -> Daemon:
    return Daemon(
        name=name,
        exec=("/bin/true",),
        groups=groups,
        run_on=run_on,  # type: ignore[arg-type]
        enabled=enabled,
        on_storage_loss=on_loss,
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
    faults.kinds -= {"push"}  # it changes what is wanted
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
    assert not found, f"{about}: {found}"
    if stable:
        assert live >= {"lone", "every@n1", "every@n2", "every@n3"}, about
        assert len(live & {"rival", "twin"}) == 1, about
    assert {row.trigger for row in rows.values()} == {"daemon"}, about


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_never_two_are_active_and_after_the_faults_all_are_up(first: int) -> None:
    for seed in range(first, first + 20):
        story(seed)


def test_one_that_went_on_without_its_locks_ends_when_it_learns_that_another_node_took_over() -> None:
    with cell(1, 2, daemon("lone", on_loss="continue"), lasts_s=1e6) as world:
        world.until(10.0)
        (first,) = [one for one in world.witness.executions if one.ended_at is None]
        world.cut(world.node(first.node), 4 * LEASE_S)
        world.until(10.0 + 3.5 * LEASE_S)
        assert len([one for one in world.witness.executions if one.ended_at is None]) == 2, "it did not go on"
        world.until(10.0 + 4 * LEASE_S + 20.0)
        (left,) = [one for one in world.witness.executions if one.ended_at is None]
        assert left.node != first.node
        for node in world.nodes:
            world.push(node.name, daemon("lone", on_loss="continue", enabled=False))
        world.until(150.0)
        found, rows = world.verdict(140.0)
        assert not found
        assert (rows["lone.1"].outcome, rows["lone.2"].outcome) == ("lost", "stopped")


def test_a_process_begun_after_others_recorded_its_run_lost_is_not_held_to_groups_that_a_push_brought() -> None:
    """Its node is cut off: it can neither read the push nor know that it is taken for lost."""

    def every(*groups: str) -> Daemon:
        return daemon("every", *groups, run_on="each", on_loss="continue")

    with cell(1, 2, every(), lasts_s=15.0) as world:
        world.until(10.0)
        world.cut(world.node("n1"), 6 * LEASE_S)
        world.push("n2", every("g1"))
        world.until(10.0 + 2 * LEASE_S)
        world.push("n2", every("g1", "g2"))
        world.until(10.0 + 2.5 * LEASE_S)
        begun = [one.node for one in world.witness.executions if one.began_at > NOON + 10.0 + 1.5 * LEASE_S]
        assert begun == ["n1", "n2"]
        for node in world.nodes:
            world.push(node.name, daemon("every", run_on="each", on_loss="continue", enabled=False))
        world.until(150.0)
        found, rows = world.verdict(140.0)
        assert not found
        assert rows["every@n1.1"].outcome == "lost"
