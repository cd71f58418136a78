"""why, calendar, verify: what is said of a service without touching it."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from terminals import Terminal, assert_screen, steady

Site = Any
UNIT = "schedule: periodical\nperiod: 5\nalign: 2\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n"
FROM = ("--from", "2026-03-02T03:00+00:00")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    made = site_class(tmp_path_factory.mktemp("site"))
    made.configure("node: bill1\n")
    made.unit("calculator", UNIT)
    made.unit("backup", "schedule: fixed-time\nrun_at: [04:05]\ndays: [mon]\ntimezone: UTC\nexec: [/bin/true]\n")
    made.unit("lacking", UNIT.replace("/bin/sleep, 1000", f"/nonexistent/{'x' * 20}/program"))
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
    assert shared.vcsctl("why", "calculator").stdout == (
        "declared: disabled, every 5 min +2\nnow: disabled\n"
        "next: its slots count again after `vcsctl enable calculator`\n"
    )
    lines = dict(line.split(": ", 1) for line in shared.vcsctl("why", "backup").stdout.splitlines())
    assert lines["declared"] == "enabled, 04:05 on mon"
    assert re.fullmatch(r"\S+ \S+ \(in \S+\), then \S+ \S+", lines["next slot"])
    assert lines["counts"].endswith(", when its schedule or its status last changed")
    assert re.fullmatch(r"next slot \S+ 04:05:00", lines["now"])
    assert "now: disabled\n" in shared.vcsctl("why", "daemon").stdout
    answer = json.loads(shared.vcsctl("why", "backup", "--output", "json").stdout)
    assert answer["version"] == 1
    assert [link["link"] for link in answer["why"]] == ["declared", "next slot", "counts", "now"]
    (fact,) = (link["fact"] for link in answer["why"] if link["link"] == "now")
    assert re.fullmatch(r"next slot \S+T04:05:00Z", fact)


def test_why_at_a_time_that_is_no_slot_names_the_nearest_and_one_that_cannot_be_read_is_refused(shared: Site) -> None:
    no_slot = shared.vcsctl("why", "backup", "--at", "2027-01-05T04:05").stdout
    nearest = "by the schedule in force the nearest are 2027-01-04 04:05:00 and 2027-01-11 04:05:00"
    assert no_slot == f"slot: none is due at 2027-01-05 04:05:00; {nearest}\n"
    ahead = shared.vcsctl("why", "backup", "--at", "2027-01-04T05:05+01:00").stdout
    assert "\n  it is still to come; until then: next slot " in ahead
    disabled = shared.vcsctl("why", "calculator", "--at", "2027-01-04T05:02").stdout
    assert "\n  it does not count: disabled\n" in disabled
    for text in ("noon", "25:00", "9999-01-01T00:00"):
        refused = shared.vcsctl("why", "backup", "--at", text)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"vcsctl: --at: cannot read {text!r} as a moment; write for example 14:30")
    midnight = shared.vcsctl("why", "backup", "--at", "2027-01-04").stdout
    assert midnight.startswith("slot: none is due at 2027-01-04 00:00:00; ")
    refused = shared.vcsctl("why", "calc*")
    expected = (
        "calc* is no name of a service, and patterns are for `status`; `vcsctl status 'calc*'` lists those that match"
    )
    assert (refused.returncode, refused.stderr) == (4, f"vcsctl: {expected}\n")
    refused = shared.vcsctl("why", "daemon", "--at", "14:05")
    assert (refused.returncode, refused.stderr) == (2, "vcsctl: daemon is a daemon: it has no slots; leave --at out\n")


def test_why_names_the_zone_of_a_service_that_is_not_the_readers(shared: Site) -> None:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(shared.root)]

    def told(*arguments: str, by: str = "why") -> str:
        environment = {**shared.environment, "TZ": "Asia/Tokyo"}
        return subprocess.run(
            [*command, by, "backup", *arguments], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert told().startswith("declared: enabled, 04:05 on mon, UTC\n")
    assert re.search(r"\nnext slot: \S+ 13:05:00 \(in \S+\), 04:05 \+0000 in UTC, then \S+ 13:05:00\n", told())
    assert re.search(r"\nnow: next slot \S+ 13:05:00\n", told())
    assert re.search(r"\n  next: +\S+ 13:05:00 \(in \S+\), 04:05 \+0000 in UTC, then \S+ 13:05,", told(by="status"))
    assert told("--at", "2027-01-04T04:05").startswith("slot: 2027-01-04 13:05:00 (in ")
    assert "), 04:05 +0000 in UTC\n" in told("--at", "2027-01-04T04:05")
    no_slot = told("--at", "2027-01-05T20:05")
    assert no_slot.startswith(
        "slot: none is due at 2027-01-05 20:05:00 +0000 in UTC (2027-01-06 05:05:00 here); by the schedule "
    )
    assert no_slot.endswith("2027-01-04 13:05:00, 04:05 +0000 in UTC and 2027-01-11 13:05:00, 04:05 +0000 in UTC\n")


def test_moments_that_are_turned_round_or_on_the_wrong_side_of_now_are_named(shared: Site) -> None:
    turned = shared.vcsctl("history", "backup", "--since", "2h", "--until", "3h")
    assert (turned.returncode, turned.stdout) == (2, "")
    assert re.fullmatch(r"vcsctl: --since is \S+ \S+ and --until \S+ \S+: .*\n", turned.stderr)
    note = "vcsctl: it begins in the past, 2h00m ago; `--from +2h` is to come\n"
    for command in (("simulate", "--hours", "1"), ("calendar", "5/2")):
        assert shared.vcsctl(*command, "--from", "2h").stderr == note
        assert shared.vcsctl(*command, "--from", "+2h").stderr == ""
    assert shared.vcsctl("calendar", "5/2", "--past", "--from", "2h").stderr == ""
    ahead = shared.vcsctl("timeline", "--past", "--from", "+2h")
    assert (ahead.returncode, ahead.stdout) == (2, "")
    assert ahead.stderr.startswith("vcsctl: --past shows the hours before --from, and ")


def test_why_of_a_daemon_does_not_contradict_itself_and_names_the_way_out(site: Site) -> None:
    site.configure("node: bill1\n")
    site.unit("keeps", "schedule: daemon\nexec: [/bin/sleep, 1000]\n")
    site.unit("lacking", "schedule: daemon\nexec: [/nonexistent/program]\n")
    site.start()
    site.until(lambda: "up since" in site.vcsctl("why", "keeps").stdout, "it is up")
    told = site.vcsctl("why", "keeps").stdout
    reason = "the reason then: wanted, and not running; no outcome yet"
    assert re.search(rf"\n  last claim: (\S+) on bill1, \S+ \S+ \(.* ago\), {reason}\n  now: runs as \1\n", told), told
    site.until(lambda: "waiting to restart" in site.vcsctl("status", "lacking").stdout, "the other one cannot start")
    way_out = "program missing: /nonexistent/program; it starts when /nonexistent/program is installed on bill1"
    assert f"; {way_out}\n" in site.vcsctl("why", "lacking").stdout
    problem = "problem: lacking: program missing: /nonexistent/program; install it\n"
    assert site.vcsctl("status", "lacking").stdout.startswith(problem)
    assert site.vcsctl("drain", "bill1").returncode == 0
    now = "\n  now: node bill1 is drained; it starts when bill1 is drained no more (`vcsctl resume bill1`)\n"
    assert now in site.vcsctl("why", "keeps").stdout


@pytest.mark.parametrize("columns", [80, 200])
def test_why_fits_the_terminal(shared: Site, columns: int) -> None:
    reason = "--reason", "the new tape library is late, and until it is there nobody may be billed twice a day"
    shared.vcsctl("set", "lacking", "period=10", *reason)
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(shared.root), "why", "lacking"]
    with Terminal(command, shared.environment, columns) as terminal:
        assert terminal.end() == 0
        assert_screen(f"why-{columns}", steady(terminal.text).replace(f"by {getpass.getuser()} ", "by root "))
        assert b"\x1b[1mdeclared:\x1b[0m" in terminal.raw


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
