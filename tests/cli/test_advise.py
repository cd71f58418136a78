"""What `advise` finds: on the shipped catalogue, on small ones with a known answer, and where there is nothing to gain."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vcsctl.catalog.layers import Layers, load
from vcsctl.cli.advise import best_plan
from vcsctl.cli.outset import Gathered, Lasting
from vcsctl.domain import figures
from vcsctl.domain.advice import Member, plans
from vcsctl.domain.figures import Score
from vcsctl.domain.forecast import forecast
from vcsctl.domain.unit import Daemon, FixedTime, Periodical

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 15, 4, 0, tzinfo=UTC)
# What the services of the catalogue are assumed to last on a busy site, in seconds; the others 5.
LASTS_S = {
    "backup-manager": 3600, "balances-manager": 600, "calculator": 40, "calling-card-manager": 30,
    "dynamic-routing-manager": 60, "email-rates-manager": 100, "factors-watcher": 40, "files-collector": 30,
    "files-downloader": 40, "invoicing-manager": 20, "orig-term-report-generator": 300, "packages-manager": 30,
    "rates-notificator": 30, "reports-to-email": 30, "statistics-manager": 90, "traffic-rules-manager": 40,
}  # fmt: skip


def gathered(units: list[Periodical | FixedTime], hours: float = 2, **lasts_s: float) -> Gathered:
    named = {unit.name: unit for unit in units}
    return Gathered(
        START,
        START + timedelta(hours=hours),
        "UTC",
        timedelta(minutes=10),
        units=named,
        keys={name: [name if unit.run_on == "any" else f"{name}@n1"] for name, unit in named.items()},
        groups={name: tuple(sorted(unit.groups)) for name, unit in named.items()},
        lasting={name: Lasting((float(lasts_s.get(name, 5)),), "given") for name in named},
    )


def catalogue(tmp_path: Path) -> list[Periodical | FixedTime]:
    """All timed services, enabled. The files as they are installed: a clone's may be writable by a group."""
    shutil.copytree(ROOT / "units", tmp_path / "units")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    loaded, _ = load(Layers(str(tmp_path / "units"), str(tmp_path / "none")))
    units = [one.unit for one in loaded.values() if one.unit is not None]
    return [replace(unit, enabled=True) for unit in units if not isinstance(unit, Daemon)]


def score(found: Gathered, aligns: dict[str, int] | None = None) -> Score:
    return figures.score(forecast(found.outset(aligns), found.start, found.until))


def test_with_every_align_0_it_finds_a_plan_as_good_as_the_catalogues_own(tmp_path: Path) -> None:
    units = catalogue(tmp_path)
    assert len(units) == 26
    zero = [replace(unit, align=0) if isinstance(unit, Periodical) else unit for unit in units]
    own = score(gathered(units, **LASTS_S))
    before, after, moved = best_plan(gathered(zero, **LASTS_S))
    assert after.is_better_than(before)
    assert after.unserved <= own.unserved
    assert after.wait_s <= own.wait_s
    assert after.peak <= own.peak
    assert score(gathered(zero, **LASTS_S), moved) == after, "the drop-ins are the plan that was judged"


def job(name: str, period: int, align: int = 0, *groups: str, **fields: Any) -> Periodical:
    return Periodical(name=name, exec=("/bin/true",), period=period, align=align, groups=groups, **fields)


def test_nothing_is_proposed_where_nothing_is_better() -> None:
    before, after, moved = best_plan(gathered([job("a", 5, 0, "g"), job("b", 5, 2, "g"), job("c", 1, 0)], a=60, b=60))
    assert (before, moved) == (after, {})
    assert best_plan(gathered([]))[2] == {}
    assert best_plan(gathered([FixedTime(name="a", exec=("/bin/true",), run_at=("04:00",))]))[2] == {}


def test_a_run_is_kept_clear_of_another_that_takes_minutes() -> None:
    _, after, moved = best_plan(gathered([job("long", 30, 0, "g"), job("short", 10, 0, "g")], long=500, short=30))
    assert after.wait_s == 0
    assert moved in ({"short": 9}, {"long": 1}), "one of the two moves, to the only place that is free of waits"


def test_what_an_operator_retimed_stays_where_it_is() -> None:
    found = gathered([job("long", 30, 0, "g"), job("short", 10, 0, "g")], long=500, short=30)
    found.retimed.add("short")
    _, after, moved = best_plan(found)
    assert (after.wait_s, moved) == (0, {"long": 1})
    found.retimed.add("long")
    assert best_plan(found)[2] == {}


def test_a_plan_is_the_same_whenever_it_is_asked_for() -> None:
    members = [Member(name, period, 0, 50.0, frozenset("g")) for name, period in (("a", 5), ("b", 10), ("c", 15))]
    assert list(plans(members, [245])) == list(plans(reversed(members), [245]))


def test_what_starts_on_each_of_many_nodes_counts_as_many() -> None:
    members = [
        Member("each", 2, 0, 1.0, frozenset(), keys=5),
        *(Member(name, 2, 0, 1.0, frozenset()) for name in "abcd"),
    ]
    assert any(all(plan["each"] != plan[name] for name in "abcd") for plan in plans(members, []))


def test_a_score_is_better_only_if_it_is_worse_in_nothing() -> None:
    assert Score(0, 90, 3).is_better_than(Score(0, 100, 3))
    assert Score(0, 100, 2).is_better_than(Score(0, 100, 3))
    assert not Score(0, 99.5, 3).is_better_than(Score(0, 100, 3)), "not worth a change"
    assert not Score(0, 0, 4).is_better_than(Score(0, 100, 3))
    assert not Score(1, 0, 1).is_better_than(Score(0, 100, 3))
    assert not Score(0, 101, 1).is_better_than(Score(0, 100, 3))
