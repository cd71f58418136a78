"""why, calendar, verify: what is said of a service without touching it."""

from __future__ import annotations

import json
from typing import Any

import pytest

Site = Any
UNIT = "schedule: periodical\nperiod: 5\nalign: 2\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n"
FROM = ("--from", "2026-03-02T03:00+00:00")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    made = site_class(tmp_path_factory.mktemp("site"))
    made.unit("calculator", UNIT)
    made.unit("backup", "schedule: fixed-time\nrun_at: [04:05]\ndays: [mon]\ntimezone: UTC\nexec: [/bin/true]\n")
    made.unit("daemon", "schedule: daemon\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    made.unit("each", "schedule: periodical\nperiod: 60\nalign: 59\nrun_on: each\nexec: [/bin/true]\n")
    made.start()
    yield made
    made.stop()


def slots(site: Site, *arguments: str) -> list[str]:
    answer = json.loads(site.vcsctl("calendar", *arguments, "--output", "json").stdout)
    assert answer["version"] == 1
    return [slot["at"][5:16] for slot in answer["calendar"][0]["slots"]]


def test_calendar_shows_the_slots_of_services_and_expressions(shared: Site) -> None:
    assert slots(shared, "calculator", "-n", "3", *FROM) == ["03-02T03:02", "03-02T03:07", "03-02T03:12"]
    assert slots(shared, "5/2", "-n", "2", *FROM) == ["03-02T03:02", "03-02T03:07"]
    assert slots(shared, "backup", "-n", "2", *FROM) == ["03-02T04:05", "03-09T04:05"]
    refused = shared.vcsctl("calendar", "daemon")
    assert (refused.returncode, refused.stderr) == (2, "vcsctl: daemon is a daemon: it has no slots\n")


def test_calendar_follows_an_override(site: Site) -> None:
    site.unit("calculator", UNIT)
    site.start()
    site.vcsctl("set", "calculator", "period=10", "align=4")
    assert slots(site, "calculator", "-n", "2", *FROM) == ["03-02T03:04", "03-02T03:14"]


def test_why_says_what_is_declared_and_what_comes_next(shared: Site) -> None:
    assert shared.vcsctl("why", "calculator").stdout == "declared: disabled, every 5 min +2\nnow: disabled\n"
    lines = shared.vcsctl("why", "backup").stdout.splitlines()
    assert lines[0] == "declared: enabled, 04:05 on mon"
    assert lines[1].startswith("now: next slot ")
    assert lines[1].endswith("T04:05:00Z")
    assert "now: disabled\n" in shared.vcsctl("why", "daemon").stdout


def test_a_service_on_each_node_is_asked_for_by_its_name(shared: Site) -> None:
    assert shared.vcsctl("run", "each", "--wait").returncode == 0
    assert " ok " in shared.vcsctl("status", "each").stdout
    assert "last claim: each@" in shared.vcsctl("why", "each").stdout
    run = json.loads(shared.vcsctl("history", "each", "--output", "json").stdout)["history"][0]["id"]
    assert run.startswith("each@")
    assert shared.vcsctl("logs", "each", "--run", run).returncode == 0


def test_verify_is_silent_or_names_every_fault_with_its_place(shared: Site, tmp_path: Any) -> None:
    good = shared.vcsctl("verify")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    bad = tmp_path / "bad.yaml"
    bad.write_text("schedule: periodical\nperod: 5\nexec: [/bin/true]\n")
    done = shared.vcsctl("verify", str(bad))
    assert done.returncode == 2
    assert f"{bad}:2:1: perod: unknown key; did you mean 'period'?\n" in done.stdout
    answer = json.loads(shared.vcsctl("verify", "--output", "json", str(bad)).stdout)
    assert [(problem["key"], problem["line"]) for problem in answer["problems"]] == [("period", 1), ("perod", 2)]
