"""calendar and timeline as they stand on a terminal, go through a pipe, and are drawn as a page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from terminals import Terminal, assert_screen

from vcsctl.cli import timeline_text
from vcsctl.domain.history import Row
from vcsctl.domain.timeline import Cell
from vcsctl.store import history
from vcsctl.store.paths import Paths

Site = Any
NODE = os.uname().nodename
FIRST = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
PAST = ("--from", "2026-03-02T03:00+00:00", "--hours", "2")
MINUTE = timedelta(minutes=1)


def row(name: str, number: int, due: float, waited: float, ran: float, outcome: str = "ok", **beside: Any) -> Row:
    """One run that was due `due` minutes after three, waited and ran so many minutes."""
    slot, start = FIRST + due * MINUTE, FIRST + (due + waited) * MINUTE
    cause = {"ok": "exited", "failed": "exit-code"}[outcome]
    return Row(
        f"{name}.{number}", name, name, outcome, cause, f"exit code {int(outcome != 'ok')}", start + ran * MINUTE, NODE,
        "schedule", slot, started_at=start, duration_s=ran * 60, queue_wait_s=waited * 60, **beside,
    )  # type: ignore[arg-type]  # fmt: skip


def rows() -> Iterator[Row]:
    waits = {15: 36.5, 90: 10}  # for billing; the slots between are coalesced
    dues = (0, 5, 10, 15, *range(55, 95, 5), *range(105, 120, 5))
    for number, due in enumerate(dues, 1):
        yield row("calculator", number, due, waits.get(due, 0), 1.5)
    yield row("charger", 1, 10, 1.5, 40)
    yield row("charger", 2, 70, 20, 10, "failed")
    yield row("rating", 1, 10, 41.5, 25)
    yield row("cleaner", 1, 30, 0, 0.1)
    at = FIRST + 100 * MINUTE
    yield Row("cleaner.2+1", "cleaner", "cleaner", "missed", "too-late", "no node was free", at, NODE, "schedule", at)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    """Nothing of it starts by itself: the only slots are half an hour away from now."""
    made = site_class(tmp_path_factory.mktemp("site"), environment={"TZ": "UTC", "LANG": "C.UTF-8"})
    away = (datetime.now(UTC).minute + 30) % 60
    hourly = f"schedule: periodical\nperiod: 60\nalign: {away}\nexec: [/bin/true]\n"
    made.unit("calculator", hourly + "groups: [billing]\ntimezone: UTC\n")
    made.unit("charger", hourly + "groups: [billing, rating]\n")
    made.unit("rating", hourly + "groups: [rating]\n")
    made.unit(
        "cleaner",
        "schedule: fixed-time\nrun_at: ['04:05']\ntimezone: Europe/Berlin\nenabled: false\nexec: [/bin/true]\n",
    )
    made.unit("server", "schedule: daemon\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    made.start()
    made.vcsctl("set", "rating", "period=30", f"align={away % 30}")
    made.stop()
    beat = made.shared / f"nodes/{NODE}.json"
    os.utime(beat, (beat.stat().st_mtime - 3600,) * 2)  # it has been gone for long
    by_name: dict[str, list[Row]] = {}
    for one in rows():
        by_name.setdefault(one.service, []).append(one)
    for found in by_name.values():
        history.append(Paths(str(made.shared)), NODE, found, check=False)
    return made


def screen(site: Site, columns: int, *arguments: str, lang: str = "C.UTF-8", zone: str = "UTC") -> str:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), *arguments]
    environment = {**site.environment, "LC_ALL": lang, "TZ": zone, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal(command, environment, columns, 60) as terminal:
        assert terminal.end() == 0
        assert max(map(len, terminal.text.splitlines())) <= columns
        return terminal.text


def steadied(text: str) -> str:
    """How far away a slot is differs at each run."""
    return re.sub(r"(?m)  (in \S+( s)?|\S+( s)? ago)$", "  AWAY", text)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_calendar_on_a_terminal(shared: Site, columns: int) -> None:
    some = ("cleaner", "02:30", "60/30", "-n", "3", "--from", "2027-03-27T22:00", "--timezone", "Europe/Berlin")
    assert_screen(f"calendar-{columns}", steadied(screen(shared, columns, "calendar", *some)))


def test_calendar_through_a_pipe_and_as_json(shared: Site) -> None:
    assert "\n  override: period=30\n" in shared.vcsctl("calendar", "rating").stdout
    ask = ("calendar", "02:30", "--timezone", "Europe/Berlin", "--from", "2026-10-26T00:00", "--past", "-n", "2")
    done = shared.vcsctl(*ask)
    assert steadied(done.stdout) == (
        "02:30, Europe/Berlin\n"
        "  SLOT                           WHEN\n"
        "  Sat 2026-10-24 02:30:00 +0200  AWAY\n"
        "  Sun 2026-10-25 02:30:00 +0200  AWAY\n"
        "  on 2026-10-25 at 03:00 the clocks of Europe/Berlin go one hour back: 02:00 to 03:00 comes twice, "
        "02:30 runs at its first time only\n"
    )
    found = json.loads(shared.vcsctl(*ask, "--output", "json").stdout)["calendar"][0]
    assert found["slots"][1] == {"at": "2026-10-25T00:30:00Z", "in_zone": "2026-10-25T02:30:00+02:00"}
    assert (found["what"], found["schedule"], found["timezone"]) == ("02:30", "02:30", "Europe/Berlin")
    days = json.loads(shared.vcsctl("calendar", "02:30", "--days", "mon,last", "-n", "9", "--output", "json").stdout)
    assert days["calendar"][0]["schedule"] == "02:30 on mon,last"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("5/7",), "5/7: the period is from 1 to 60 minutes"),
        (("04:05", "--days", "someday"), "--days: cannot read"),
        (("5/2", "--days", "mon"), "--days is for times of day such as 04:05, not for 5/2"),
        (("rating", "--days", "mon"), "rating has days of its own"),
        (("5/2", "--timezone", "Europe/Nowhere"), "--timezone: unknown time zone"),
        (("server",), "server is a daemon: it has no slots"),
        (("5/2", "--from", "soon"), "--from: cannot read 'soon'"),
    ],
)
def test_calendar_says_what_it_cannot_read(shared: Site, arguments: tuple[str, ...], said: str) -> None:
    done = shared.vcsctl("calendar", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_timeline_on_a_terminal(shared: Site, columns: int) -> None:
    assert_screen(f"timeline-{columns}", screen(shared, columns, "timeline", *PAST))


def test_timeline_on_a_terminal_that_knows_letters_alone(shared: Site) -> None:
    assert_screen("timeline-ascii", screen(shared, 80, "timeline", *PAST, lang="C"))


def test_timeline_of_the_coming_hours_is_foreseen(shared: Site) -> None:
    text = screen(shared, 80, "timeline", "--hours", "3")
    billing, calculator, charger = text.splitlines()[3:6]
    assert (billing.split()[0], calculator.split()[0], charger.split()[0]) == ("billing", "calculator", "charger")
    assert {"░", "█"} <= set(charger)
    assert re.match(r" +▼[─┬]", text.splitlines()[2])
    answer = json.loads(shared.vcsctl("timeline", "charger", "--hours", "3", "--output", "json").stdout)
    assert answer["notes"] == [f"taken for up: {NODE}, without a heartbeat now"] == [text.splitlines()[-1]]
    found = answer["timeline"]
    assert {span["key"] for span in found} == {"charger"}
    assert {span["state"] for span in found} <= {"planned", "waiting"}
    assert found[0]["start"] > found[0]["due"], "it waits for its groups"


@pytest.mark.parametrize(("waiting", "running", "shown"), [(0.02, 0.01, "▁"), (0.5, 0.1, "░"), (0.02, 0.0, "░")])
def test_a_wait_that_is_nothing_hides_no_run(waiting: float, running: float, shown: str) -> None:
    assert timeline_text._sign(Cell(running, waiting), timeline_text._SIGNS[True], holds=False)[1] == shown


def test_timeline_through_a_pipe_is_a_table_of_all(shared: Site) -> None:
    lines = shared.vcsctl("timeline", *PAST).stdout.splitlines()
    assert lines[0].split() == [
        "DUE",
        "START",
        "END",
        "WAITED",
        "RAN",
        "STATE",
        "KEY",
        "GROUPS",
        "SLOTS",
        "NODE",
        "WHY",
    ]
    assert len(lines) == 1 + len(list(rows()))
    charger = next(line for line in lines if " charger " in line).split()
    assert charger[:6] == ["2026-03-02", "03:10:00", "2026-03-02", "03:11:30", "2026-03-02", "03:51:30"]
    assert charger[6:11] == ["1m30s", "40m00s", "ok", "charger", "billing,rating"]


def test_what_held_groups_that_are_not_on_record_is_shown_and_told(site: Site) -> None:
    site.unit("rating", "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [rating]\nexec: [/bin/true]\n")
    site.start()
    for key, name in (("lock@n1:1", "lock"), ("gone", "gone")):
        start = FIRST + MINUTE
        row = Row(
            f"{key}.1", key, name, "ok", "exited", "exit code 0", start + 9 * MINUTE, NODE, "manual", started_at=start
        )
        history.append(Paths(str(site.shared)), NODE, [row], check=False)
    done = site.vcsctl("timeline", *PAST, "--output", "json")
    answer = json.loads(done.stdout)
    assert {(span["key"], *span["groups"]) for span in answer["timeline"]} == {("lock@n1:1",), ("gone",)}
    note = "in no group here, as theirs are not on record: gone, lock"
    assert answer["notes"] == [note]
    group = json.loads(site.vcsctl("timeline", *PAST, "--group", "rating", "--output", "json").stdout)
    assert (group["timeline"], group["notes"]) == ([], [note])
    named = json.loads(site.vcsctl("timeline", *PAST, "rating", "--output", "json").stdout)
    assert (named["timeline"], named["notes"]) == ([], [])
    assert screen(site, 80, "timeline", *PAST).splitlines()[-1] == note


def test_timeline_of_some(shared: Site) -> None:
    def keys(*arguments: str) -> set[str]:
        answer = json.loads(shared.vcsctl("timeline", *PAST, *arguments, "--output", "json").stdout)
        return {span["key"] for span in answer["timeline"]}

    assert keys("c*") == {"calculator", "charger", "cleaner"}
    assert keys("--group", "rating") == {"charger", "rating"}
    assert keys("rating", "--group", "billing") == set()
    assert keys("--hours", "1", "--past") == set()
    unknown = shared.vcsctl("timeline", "ratin")
    assert (unknown.returncode, unknown.stderr) == (4, "vcsctl: unknown service ratin; did you mean rating?\n")
    none = shared.vcsctl("timeline", "ratin-*")
    told = "vcsctl: no service matches ratin-*; `vcsctl status` lists them all\n"
    assert (none.returncode, none.stderr) == (4, told)
    group = shared.vcsctl("timeline", "--group", "bilin")
    assert (group.returncode, group.stderr.startswith("vcsctl: no service is in group bilin; ")) == (4, True)
    far = shared.vcsctl("timeline", "--from", "2999-01-01")
    assert (far.returncode, "more than 31 days" in far.stderr) == (2, True)


@pytest.mark.parametrize(
    ("zone", "start", "hours", "axis", "told"),
    [
        ("Europe/Berlin", "2026-10-25T00:00", "6", "Sun 25 01:00 02:00 02:00 03:00 04:00",
         "on 2026-10-25 at 03:00 the clock goes one hour back"),
        ("Europe/Berlin", "2026-03-29T00:00", "6", "Sun 29 01:00 03:00 04:00 05:00 06:00",
         "on 2026-03-29 at 02:00 the clock goes one hour ahead"),
        ("Australia/Lord_Howe", "2025-04-06T00:00", "3", "Sun 06 00:30 01:00 01:30 01:30 02:00",
         "on 2025-04-06 at 02:00 the clock goes 30 minutes back"),
    ],
)  # fmt: skip
def test_the_axis_is_right_over_a_clock_change(
    shared: Site, zone: str, start: str, hours: str, axis: str, told: str
) -> None:
    lines = screen(shared, 80, "timeline", "rating", "--from", start, "--hours", hours, zone=zone).splitlines()
    assert " ".join(lines[1].split()) == axis
    assert lines[-1] == told


def test_a_daemon_that_is_up_and_a_lock_that_is_over_have_their_bars(site: Site) -> None:
    site.unit("server", "schedule: daemon\nexec: [/bin/sleep, 1000]\n")
    site.unit("held", "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: [/bin/true]\n")
    site.start()
    site.until(lambda: "Up" in site.vcsctl("status").stdout or " up" in site.vcsctl("status").stdout, "it is up")
    assert site.vcsctl("lock", "g", "--", "true").returncode == 0
    for past in ((), ("--past",)):
        answer = json.loads(site.vcsctl("timeline", "server", *past, "--output", "json").stdout)
        (span,) = answer["timeline"]
        assert (span["state"], span["end"]) == ("running", None)
    site.until(lambda: list((site.shared / "history").glob("lock/*")), "the lock is in the history")
    answer = json.loads(site.vcsctl("timeline", "--past", "--output", "json").stdout)
    assert [(span["service"], span["groups"]) for span in answer["timeline"]] == [("lock", ["g"])]
    assert answer["notes"] == []
    group = json.loads(site.vcsctl("timeline", "--past", "--group", "g", "--output", "json").stdout)
    assert [span["service"] for span in group["timeline"]] == ["lock"]
    site.vcsctl("stop", "server")


def test_what_runs_and_waits_now_is_in_the_past_and_in_what_comes(site: Site) -> None:
    for name in ("held", "behind"):
        site.unit(name, "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: [/bin/sleep, 1000]\n")
    site.start()
    site.request("held")
    site.until(lambda: list(site.shared.glob("running/held*.json")), "one runs")
    site.request("behind")
    site.until(lambda: list(site.shared.glob("queue/behind*.json")), "the other one waits")

    def spans(*arguments: str) -> dict[str, dict[str, Any]]:
        answer = json.loads(site.vcsctl("timeline", "--hours", "1", *arguments, "--output", "json").stdout)
        return {span["key"]: span for span in answer["timeline"]}

    was, comes = spans("--past"), spans()
    assert [(was[key]["state"], was[key]["end"]) for key in ("held", "behind")] == [
        ("running", None),
        ("waiting", None),
    ]
    assert was["behind"]["why"] == f"waits for group g, held by held.1 on {NODE}"
    assert (was["held"]["run"], was["held"]["groups"]) == ("held.1", ["g"])
    assert [comes[key]["state"] for key in ("held", "behind")] == ["running", "planned"]
    assert comes["held"]["run"] == "held.1"
    assert comes["behind"]["start"] == comes["held"]["end"], "it is foreseen to start when the other one ends"
    assert comes["behind"]["due"] == was["behind"]["due"]
