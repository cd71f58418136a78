"""The shipped units against the catalogue, kept here as a table, and against each other."""

from __future__ import annotations

import shutil
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vcsctl.catalog.layers import Layers, load
from vcsctl.domain.calendar import slots_between
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Unit, schedule_of

ROOT = Path(__file__).parents[1]
DAY = datetime(2026, 1, 15, tzinfo=UTC)

# name | schedule | groups | run_on | timeout | start_within | provider | enabled
CATALOGUE = """
radius-server                | daemon | -                | each | -   | -   | package | no
sip-redirect-server          | daemon | -                | each | -   | -   | package | no
import-manager               | daemon | -                | any  | -   | -   | site    | no
rates-generator              | daemon | -                | any  | -   | -   | site    | no
cache-manager                | 1/0    | cache            | any  | 5m  | -   | site    | no
calculator                   | 5/2    | billing          | any  | 2h  | -   | site    | no
calling-card-manager         | 30/15  | billing          | any  | 15m | -   | site    | no
dynamic-routing-manager      | 30/27  | rates routing    | any  | 30m | -   | site    | no
email-rates-manager          | 10/3   | rates            | any  | 20m | -   | site    | no
events-manager               | 2/1    | events           | any  | 5m  | -   | builtin | no
provisioning-manager         | 1/0    | provisioning     | any  | 10m | -   | builtin | no
factors-watcher              | 10/6   | traffic-rules    | any  | 15m | -   | site    | no
files-collector              | 5/1    | xdr-files        | any  | 30m | -   | builtin | no
files-downloader             | 5/0    | xdr-files        | any  | 30m | -   | builtin | no
invoicing-manager            | 5/4    | billing          | any  | 2h  | -   | site    | no
mail-manager                 | 1/0    | mail-queue       | any  | 10m | -   | builtin | no
statistics-meta-info-manager | 60/50  | stats            | any  | 20m | -   | site    | no
notificator                  | 15/12  | -                | each | 10m | -   | builtin | yes
packages-manager             | 10/0   | billing          | any  | 30m | -   | site    | no
rates-notificator            | 15/5   | rates            | any  | 30m | -   | site    | no
orig-term-report-generator   | 60/32  | stats            | any  | 55m | -   | site    | no
reports-to-email             | 10/5   | stats            | any  | 20m | -   | builtin | no
statistics-manager           | 30/13  | billing stats    | any  | 2h  | -   | site    | no
swap-deals-manager           | 30/17  | stats            | any  | 20m | -   | site    | no
traffic-rules-manager        | 5/3    | traffic-rules    | any  | 10m | -   | site    | no
backup-manager               | 04:05  | maintenance      | any  | 6h  | 12h | builtin | no
balances-manager             | 00:11  | billing          | any  | 2h  | 24h | site    | no
cleaner                      | 06:30  | maintenance      | any  | 1h  | -   | builtin | yes
jurisdiction-manager         | 05:40  | routing          | any  | 1h  | 12h | site    | no
log-rotator                  | 06:50  | maintenance      | each | 15m | 12h | builtin | yes
"""
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in CATALOGUE.strip().splitlines()]


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Layers:
    """The files as they are installed: a clone's files may be writable by a group, and such units are refused."""
    folder = tmp_path_factory.mktemp("installed")
    for source in ("units", "etc/vcs/services.d"):
        shutil.copytree(ROOT / source, folder / source)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Layers(str(folder / "units"), str(folder / "etc/vcs/services.d"))


@pytest.fixture(scope="module")
def shipped(layers: Layers) -> dict[str, Unit]:
    found, _ = load(Layers(layers.vendor, "/nonexistent"))
    return {name: one.unit for name, one in found.items() if one.unit is not None}


def span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds / 3600:g}h" if seconds % 3600 == 0 else f"{seconds / 60:g}m"


def row(unit: Unit) -> tuple[str, ...]:
    match unit:
        case Periodical():
            schedule = f"{unit.period}/{unit.align}"
        case FixedTime():
            schedule = " ".join(unit.run_at)
        case Daemon():
            schedule = "daemon"
    late = None if isinstance(unit, Daemon) else unit.start_within
    enabled = "yes" if unit.enabled else "no"
    groups = " ".join(unit.groups) or "-"
    return (unit.name, schedule, groups, unit.run_on, span(unit.timeout), span(late), unit.provider, enabled)


def test_every_shipped_unit_and_sample_loads_without_a_problem(layers: Layers, shipped: dict[str, Unit]) -> None:
    found, problems = load(layers)
    assert problems == []
    assert [one.problems for one in found.values() if one.problems] == []
    assert len(shipped) == 30


@pytest.mark.parametrize("expected", ROWS, ids=lambda cells: cells[0])
def test_a_shipped_unit_is_what_the_catalogue_says(shipped: dict[str, Unit], expected: tuple[str, ...]) -> None:
    assert row(shipped[expected[0]]) == expected


def test_every_shipped_unit_says_what_it_is_and_names_the_program_of_its_provider(shipped: dict[str, Unit]) -> None:
    for unit in shipped.values():
        assert unit.title, unit.name
        assert unit.description, unit.name
        if unit.provider == "builtin":
            assert unit.exec == ("vcs-utility", unit.name)
        elif unit.provider == "site":
            assert unit.exec == (f"/usr/libexec/vcs/{unit.name}",)
        else:
            assert unit.nodes == ("label:rt",), unit.name


def test_no_two_services_of_a_group_start_in_the_same_minute_of_a_day(shipped: dict[str, Unit]) -> None:
    starts: dict[tuple[str, datetime], list[str]] = defaultdict(list)
    for unit in shipped.values():
        if not isinstance(unit, Daemon):
            for slot in slots_between(schedule_of(unit, "UTC"), DAY - timedelta(seconds=1), DAY + timedelta(days=1)):
                for group in unit.groups:
                    starts[group, slot].append(unit.name)
    assert len(starts) > 5000  # the test looks at something
    assert {place: names for place, names in starts.items() if len(names) > 1} == {}


def test_the_sample_drop_in_puts_the_backup_into_billing(layers: Layers) -> None:
    found, _ = load(layers)
    assert found["backup-manager"].unit is not None
    assert found["backup-manager"].unit.groups == ("maintenance", "billing")
