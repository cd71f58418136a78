"""enable, disable, set, revert: overrides beside the declaration, and when they end."""

from __future__ import annotations

import json
from typing import Any

import pytest

Site = Any
UNIT = "schedule: periodical\nperiod: 5\nalign: 2\nenabled: false\nexec: [/bin/sleep, 1000]\n"


def start(site: Site, text: str = UNIT) -> None:
    site.unit("one", text)
    site.start()


def test_enabling_an_enabled_service_changes_nothing(site: Site) -> None:
    start(site)
    assert site.vcsctl("enable", "one").stdout == "one: enabled\n"
    path = site.shared / "overrides/one.json"
    before = path.read_bytes()
    assert site.vcsctl("enable", "one").stdout == "one: is enabled already\n"
    assert path.read_bytes() == before
    audit = [json.loads(line) for file in site.shared.glob("audit/*") for line in file.read_text().splitlines()]
    assert [(row["service"], row["changes"]) for row in audit] == [("one", {"enabled": "true"})]


def test_set_changes_period_and_align_together_and_revert_takes_them_back(site: Site) -> None:
    start(site)
    assert site.vcsctl("set", "one", "period=10", "align=4", "--reason", "load").stdout == "one: changed\n"
    assert site.vcsctl("set", "one", "period=10", "align=4").stdout == "one: is so already\n"
    assert "disabled *  one   every 10 min +4" in site.vcsctl("status").stdout
    details = site.vcsctl("status", "one").stdout
    assert "override: period=10 by " in details
    assert "override: align=4 by " in details
    explained = site.vcsctl("why", "one").stdout
    assert "declared: disabled, every 5 min +2\n" in explained
    assert "override: period=10 by " in explained
    assert "(load)" in explained
    assert ":04:00 " in site.vcsctl("calendar", "one", "-n", "6").stdout
    assert site.vcsctl("revert", "one").stdout == "one: reverted (align, period)\n"
    assert site.vcsctl("revert", "one").stdout == "one: has no override\n"
    assert "disabled  one   every 5 min +2" in site.vcsctl("status").stdout


def test_set_moves_a_service_to_the_other_timed_kind(site: Site) -> None:
    start(site)
    assert site.vcsctl("set", "one", "schedule=fixed-time", "run_at=04:05,16:05").returncode == 0
    shown = site.vcsctl("status", "one").stdout
    assert "\n  schedule:  04:05 16:05, " in shown
    assert "override: run_at=04:05,16:05 by " in shown
    assert site.vcsctl("set", "one", "schedule=periodical", "period=7").returncode == 0
    assert "every 7 min" in site.vcsctl("status", "one").stdout


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("nodes=bill1", "one: nodes: is configured at deployment, in the unit file of one"),
        ("groups=billing", "one: groups: is configured at deployment, in the unit file of one"),
        ("exec=/bin/true", "one: exec: is configured at deployment, in the unit file of one"),
        ("period=61", "one: period: must be from 1 to 60, not 61; for a longer period use schedule: fixed-time"),
        ("period=2", "one: align: must be less than the period (2), not 2; write a number from 0 to 1"),
        ("run_at=04:05", "one: run_at: does not belong to a periodical service"),
        ("schedule=fixed-time", "one: run_at: is required for schedule fixed-time; set it in the same command"),
        ("schedule=daemon", "one: schedule: cannot change between daemon and the timed kinds"),
        ("perod=5", "perod: unknown key; did you mean period?"),
        ("colour=red", "colour: unknown key; write one of schedule, period, align, run_at, timeout"),
        ("period", "cannot read 'period'; write KEY=VALUE, for example period=10"),
    ],
)
def test_set_refuses_what_does_not_fit(configured: Site, assignment: str, sentence: str) -> None:
    refused = configured.vcsctl("set", "one", assignment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"vcsctl: {sentence}")
    assert not list(configured.shared.glob("overrides/*.json"))


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    made = site_class(tmp_path_factory.mktemp("site"))
    start(made)
    yield made
    made.stop()


def test_a_changed_declaration_ends_the_override_and_vcsd_says_so(site: Site) -> None:
    start(site)
    site.vcsctl("set", "one", "period=10", "align=0", "timeout=1h30m")
    site.unit("one", UNIT.replace("period: 5", "period: 20"))
    assert site.vcsctl("reload").stdout == "changed: one\n"
    shown = site.vcsctl("status", "one").stdout
    assert "every 20 min" in shown, "the declaration counts where it changed"
    assert "override: period" not in shown
    assert "one: override of period removed: the declaration has changed" in (site.root / "vcsd.log").read_text()
    assert "override: timeout=1h30m by " in shown, "a key that did not change keeps its override"
    assert site.vcsctl("revert", "one").returncode == 0
    assert "override" not in site.vcsctl("status", "one").stdout


def test_disable_lets_a_run_go_on_unless_now(site: Site) -> None:
    start(site)
    site.vcsctl("enable", "one")
    site.vcsctl("run", "one")
    site.until(lambda: list(site.shared.glob("state/one/*.started")), "it has started")
    done = site.vcsctl("disable", "one")
    assert (done.returncode, done.stdout) == (0, "one: disabled\none: one.1 goes on; `vcsctl stop one` stops it\n")
    assert site.history("one") == []
    now = site.vcsctl("disable", "one", "--now", "--reason", "broken")
    assert (now.returncode, now.stdout) == (0, "one: is disabled already\none.1: stop requested\n")
    site.until(lambda: site.history("one"), "it has stopped")
    assert (site.history("one")[0]["outcome"], "broken" in site.history("one")[0]["why"]) == ("stopped", True)


def test_several_names_are_changed_all_or_none_when_one_is_unknown(site: Site) -> None:
    site.unit("two", UNIT)
    start(site)
    for command in ("enable", "disable", "revert"):
        refused = site.vcsctl(command, "one", "tow")
        assert (refused.returncode, refused.stdout) == (4, "")
        assert refused.stderr == "vcsctl: unknown service tow; did you mean two?\n"
    assert not list(site.shared.glob("overrides/*.json"))


def test_changes_made_with_vcsd_dead_count_when_it_is_back(site: Site) -> None:
    start(site)
    site.kill()
    assert site.vcsctl("set", "one", "period=30", "align=0").returncode == 0
    assert "every 30 min" in site.vcsctl("status", "one").stdout
    site.start()
    assert "every 30 min" in site.vcsctl("status", "one").stdout


def test_enable_refuses_masked_services_and_missing_programs(site: Site) -> None:
    site.unit("masked", "")
    site.unit("daemon", "schedule: daemon\nexec: [/nonexistent/daemon]\n")
    site.unit("missing", UNIT.replace("/bin/sleep", "/nonexistent/program"))
    start(site)
    for name, sentence in (
        ("masked", "masked is masked; "),
        ("daemon", "daemon: program missing: /nonexistent/daemon; install it first"),
        ("missing", "missing: program missing: /nonexistent/program; install it first"),
    ):
        refused = site.vcsctl("enable", "one", name)
        assert (refused.returncode, refused.stdout) == (5, "")
        assert refused.stderr.startswith(f"vcsctl: {sentence}")
    assert "status:    disabled\n" in site.vcsctl("status", "one").stdout
