"""A seed → what a simulation starts from and how its commands behave. Draws; does nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests.simulation.commands import Conduct
from tests.simulation.manager import Catalog
from tests.simulation.world import NOON, Setting
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Retries, TimedUnit, Unit
from vcsctl.runners.base import Job

SERVICES = "abcdefgh"
GROUPS = ("g1", "g2", "g3")
DAEMON_GROUPS = ("d1", "d2")  # of their own: a daemon would keep a timed service waiting for ever
CHAOS_MINUTES = (1, 1, 1, 2, 2)  # from noon, when the first slots are, to the calm


def draw_setting(random: Random) -> Setting:
    """Mostly a few nodes on a file server; sometimes one machine with a disk of its own, sometimes many nodes."""
    luck = random.random()
    local = luck < 0.12
    many = random.randint(20, 50) if luck > 0.998 else random.randint(4, 9) if luck > 0.95 else 0
    nodes = 1 if local else many or random.choice((2, 2, 2, 3, 3))
    names = [f"n{number + 1}" for number in range(nodes)]
    lease_s = None if local else random.choice((12.0, 12.0, 18.0, 30.0))
    hard_on_locks = lease_s == 12.0 and random.random() < 0.35
    catalog = draw_catalog(random, names)
    if hard_on_locks:  # long runs that all want one group, while the line to the server comes and goes
        catalog = {
            name: replace(unit, groups=("g1",), timeout=None) if isinstance(unit, TimedUnit) else unit
            for name, unit in catalog.items()
        }
    return Setting(
        nodes=nodes,
        catalog=catalog,
        lease_s=lease_s,
        soft_s=random.choice((None, None, None, 3.0, 15.0)) if lease_s else None,
        grace_s=lease_s * random.choice((0.7, 1.0)) if lease_s else None,  # docs/storage.md: two thirds at least
        jitter_s=random.choice((0.02, 0.2, 1.0, 3.0)),
        server_offset_s=random.choice((0.0, random.uniform(-2.0, 2.0))),
        fair_after_s=random.choice((10.0, 20.0)),
        began_at=NOON - random.uniform(6.0, 20.0),
        heartbeat_s=3.0 if hard_on_locks else random.choice((4.0, 8.0)),
        longest_s=5 * lease_s if hard_on_locks and lease_s else random.choice((1.0, 4.0, 12.0)),
        hard_on_locks=hard_on_locks,
        with_cgroups=random.random() < 0.7,
    )


def draw_catalog(random: Random, nodes: list[str]) -> Catalog:
    return {name: draw_unit(random, name, nodes) for name in SERVICES[: random.randint(2, 5)]}


def draw_unit(random: Random, name: str, nodes: list[str]) -> Unit:
    is_daemon = random.random() < 0.12
    groups = draw_groups(random, is_daemon)
    allowed = tuple(sorted(random.sample(nodes, random.randint(1, len(nodes))))) if random.random() < 0.3 else ()
    common: dict[str, Any] = {
        "name": name,
        "exec": ("/bin/true",),
        "groups": groups,
        "nodes": allowed,
        "run_on": "each" if random.random() < (0.4 if is_daemon else 0.12) else "any",
        "stop_timeout": random.choice((1.0, 5.0, 90.0)),
        "on_storage_loss": "continue" if random.random() < 0.06 else None,
    }
    if is_daemon:
        return Daemon(start_limit=(20, 60.0), **common | {"stop_timeout": random.choice((1.0, 5.0))})
    common |= {
        "on_lost": random.choice(("none", "rerun")),
        "timeout": random.choice((None, None, 8.0)),
        "retries": random.choice((Retries(), Retries(attempts=2, delay=3.0, max_delay=10.0))),
    }
    if random.random() < 0.15:
        return FixedTime(run_at=("12:00", "12:01"), **common)
    return Periodical(period=random.choice((1, 1, 1, 2)), **common)


def draw_groups(random: Random, is_daemon: bool) -> tuple[str, ...]:
    groups, counts = (DAEMON_GROUPS, (0, 1, 1, 2)) if is_daemon else (GROUPS, (0, 1, 1, 1, 2, 3))
    return tuple(sorted(random.sample(groups, random.choice(counts))))


def change_catalog(random: Random, catalog: Catalog, nodes: list[str]) -> Catalog:
    """What a push changes: groups, schedules, nodes, services that come and go."""
    changed = dict(catalog)
    for _ in range(random.randint(1, 2)):
        name = random.choice(sorted(changed))
        unit = changed[name]
        match random.randint(0, 4):
            case 0 | 1:
                changed[name] = replace(unit, groups=draw_groups(random, isinstance(unit, Daemon)))
            case 2:
                changed[name] = draw_unit(random, name, nodes)
            case 3 if len(changed) > 2:
                del changed[name]
            case _:
                new = SERVICES[len(catalog) % len(SERVICES)]
                changed[new] = draw_unit(random, new, nodes)
    return changed


def draw_conduct(random: Random, longest_s: float, lease_s: float | None) -> Callable[[Job], Conduct]:
    """How commands behave in this simulation: mostly short, now and then stubborn, leaving something, or hanging."""
    failing = random.choice((0.0, 0.15, 0.4))
    leaving = random.choice((0.0, 0.3))

    def conduct(job: Job) -> Conduct:
        longest = 60.0 if isinstance(job.unit, Daemon) else longest_s
        return Conduct(
            lasts_s=random.uniform(0.05, longest) if random.random() < 0.7 else random.uniform(0.0, 0.3),
            exit_code=1 if random.random() < failing else 0,
            heeds_stop_s=random.choice((0.05, 0.5, None)),
            leaves_s=random.uniform(0.1, 6.0) if random.random() < leaving else 0.0,
            hangs_s=random.uniform(0.0, lease_s) if lease_s and random.random() < 0.02 else 0.0,
        )

    return conduct
