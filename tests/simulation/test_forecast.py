"""The forecast against what really happened: hours of the catalogue by the real code of vcsd, in virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from tests.agreement import disagreements
from tests.cli.test_advise import LASTS_S, catalogue
from tests.simulation.commands import Conduct
from tests.simulation.world import NOON, Setting, World
from vcsctl.domain.forecast import Outset, at_rest, forecast
from vcsctl.domain.unit import Periodical
from vcsctl.runners.base import Job

HOURS = 2
# A service that starts each minute and shares its group with nobody never waits, and costs most of the time.
ALONE = ("cache-manager", "mail-manager", "provisioning-manager", "events-manager")
FAIR_AFTER_S = 600.0


def spread(random: Random, usual_s: float) -> list[float]:
    """Durations as they are: mostly near the usual one, now and then three times that."""
    return [usual_s * random.uniform(0.7, 1.3) * random.choice((1, 1, 1, 1, 1, 1, 1, 3)) for _ in range(20)]


def test_it_agrees_within_ten_percent_with_what_vcsd_comes_to(tmp_path: Path) -> None:
    """With every align 0, so that there is much to wait for."""
    random = Random(5)
    units = {unit.name: unit for unit in catalogue(tmp_path) if unit.name not in ALONE}
    units = {n: replace(u, align=0) if isinstance(u, Periodical) else u for n, u in units.items()}
    lasts_s = {name: spread(random, LASTS_S.get(name, 5)) for name in units}

    setting = Setting(1, dict(units), lease_s=None, poll_s=10.0, heartbeat_s=30.0, fair_after_s=FAIR_AFTER_S)
    world = World(1, setting)
    begun = Counter[str]()

    def conduct(job: Job) -> Conduct:
        number = begun[job.unit.name]
        begun[job.unit.name] += 1
        return Conduct(lasts_s[job.unit.name][number % 20])

    world.conduct = conduct
    with world.at_work():
        world.boot(world.nodes[0])
        world.scheduler.run(NOON + HOURS * 3600)
        rows = [row for row in world.rows() if row.is_run]
    start = datetime.fromtimestamp(NOON, UTC)
    until = start + timedelta(hours=HOURS)
    keys = {name: name if unit.run_on == "any" else f"{name}@n1" for name, unit in units.items()}
    views = tuple(at_rest(unit, keys[name], "UTC", start) for name, unit in units.items())
    foreseen = forecast(Outset(views, lasts_s, timedelta(seconds=FAIR_AFTER_S)), start, until)

    assert len(foreseen.runs) > 200
    assert sum(run.wait_s for run in foreseen.runs) > 3600
    assert disagreements(foreseen, rows, units) == []
