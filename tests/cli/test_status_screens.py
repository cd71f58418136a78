"""What an operator sees of `status`, `queue` and `nodes` on a terminal, and what a script reads through a pipe."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from disks import NOW, SINCE, Files
from terminals import Terminal, assert_screen, steady

from vcsctl.domain.unit import Daemon, from_plain

JOB = {"exec": ["/bin/true"]}
# At each run another time of day; here it is always about noon, so that what is today stays today.
ZONE = f"NOON{datetime.now(UTC).hour - 12:+d}"
BACKUP_AT = f"{NOW + timedelta(hours=3, minutes=30):%H:%M}"
UNITS = (
    Daemon(name="radius", title="RADIUS server", exec=("/bin/sleep", "1000")),
    from_plain(
        {
            "schedule": "periodical",
            "name": "calculator",
            "title": "Calculator",
            "description": "Processes all data collected from xDR files",
            "period": 5,
            "align": 2,
            "groups": ["billing"],
            **JOB,
        }
    ),
    from_plain(
        {
            "schedule": "periodical",
            "name": "invoicing",
            "period": 10,
            "groups": ["billing", "stats"],
            "nodes": ["a", "b", "label:any"],
            **JOB,
        }
    ),
    from_plain({"schedule": "periodical", "name": "rates-import", "period": 60, **JOB}),
    from_plain({"schedule": "fixed-time", "name": "backup", "run_at": [BACKUP_AT], "timezone": "UTC", **JOB}),
)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """One runs and holds what another waits for, one failed, one is changed by hand, a daemon is up on one node."""
    made = Files(tmp_path_factory.mktemp("cell"), *UNITS, environment={"TZ": ZONE, "LC_ALL": "C.UTF-8"})
    made.publish("b", made.told("radius@b", "b", restarts=2))
    made.ended("rates-import", "b", "exited", "ok", "exited with code 0", duration_s=12.1)
    for number in range(1, 8):
        at = SINCE - timedelta(minutes=50 - 5 * number)
        took_s = 10.0 + number
        made.ended("calculator", "a", "exited", "ok", "exited with code 0", number, at, duration_s=took_s)
    made.ended("backup", "a", "exit-code", "failed", "exited with code 1", 7, SINCE, duration_s=612.1)
    log = made.site.root / "var/log/vcs/backup/backup.7.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(12)) + f"{'long ' * 40}\n\x1b[2Jevil\n")
    made.runs("calculator", "b", 8, ("billing",), NOW - timedelta(minutes=15))
    made.waits("invoicing", NOW - timedelta(minutes=12))
    made.overridden("rates-import", "enabled", False, True, "new rates are wrong")
    return made


def terminal(cell: Files, columns: int, *arguments: str, rows: int = 50, **environment: str) -> Terminal:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(cell.site.root), *arguments]
    return Terminal(command, {**cell.site.environment, **environment}, columns, rows)


def screen(cell: Files, columns: int, *arguments: str) -> str:
    with terminal(cell, columns, *arguments) as shown:
        assert shown.end() == 0
    return still(cell, shown.text)


def still(cell: Files, text: str) -> str:
    """Without what is another at each run; nothing changes its width but that at noon the service's zone is the reader's."""
    text = re.sub(r" (\d{4}-\d\d-\d\d )?\d\d:\d\d \+0000 in UTC, then", "", text)
    text = re.sub(r"\b\d\d-\d\d \d\d:\d\d\b(?!:)", "MM-DD hh:mm", steady(text))
    text = text.replace(BACKUP_AT, "HH:MM").replace(str(cell.site.root), "ROOT")
    text = re.sub(r"\(in (\d+m\d\ds|\d+ s)\)", "(in a moment)", text)
    return re.sub(r"\d+[hm]\d\d[ms]", lambda found: re.sub(r"\d", "n", found[0]), text)


GOLDEN = {
    "status-80": (80, "status"),
    "status-200": (200, "status"),
    "status-wide-80": (80, "status", "-o", "wide", "backup", "rates-import", "radius"),
    "status-wide-200": (200, "status", "-o", "wide", "backup", "rates-import", "radius"),
    "status-one-80": (80, "status", "calculator"),
    "status-one-200": (200, "status", "backup"),
    "status-daemon-80": (80, "status", "radius"),
    "queue-80": (80, "queue"),
    "queue-200": (200, "queue"),
    "nodes-80": (80, "nodes"),
    "nodes-200": (200, "nodes"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_screen(cell: Files, name: str) -> None:
    columns, *arguments = GOLDEN[name]
    assert_screen(name, screen(cell, columns, *arguments))


def test_through_a_pipe_all_is_plain_and_whole(cell: Files) -> None:
    shown = cell.site.vcsctl("status").stdout
    assert "…" not in shown
    assert not re.search(r"[\x1b●▶◆×○]", shown)
    assert shown.splitlines()[1] == (
        f"override: rates-import: enabled=false by eve at {local(SINCE)} (new rates are wrong)"
    )
    assert re.search(r"^  enabled     invoicing  .*  since \S+ \S+, waits for group billing, held by", shown, re.M)
    assert "services:" not in shown


def local(instant: datetime) -> str:
    hours = int(ZONE.removeprefix("NOON"))
    return (instant - timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")


def test_colours_are_for_a_terminal_whose_user_wants_them(cell: Files) -> None:
    with terminal(cell, 80, "status", "backup") as shown:
        shown.end()
    assert b"\x1b[31m" in shown.raw
    with terminal(cell, 80, "status", "backup", NO_COLOR="1") as plain:
        plain.end()
    assert b"\x1b" not in plain.raw
    assert plain.text == shown.text
    with terminal(cell, 80, "status", "backup", PYTHONIOENCODING="ascii") as ascii_only:
        ascii_only.end()
    assert ascii_only.text.startswith("problem:")
    assert "\nx backup\n" in ascii_only.text
    assert "\\u" not in ascii_only.text
    assert any(line.startswith("  long") and line.endswith("...") for line in ascii_only.text.splitlines())


CHOICES = [
    (("rates-*", "calculator"), "calculator rates-import"),
    (("--failed",), "backup radius"),
    (("--queued", "--running"), "calculator invoicing radius"),
    (("--running", "--node", "a"), ""),
    (("--group", "billing", "inv*"), "invoicing"),
    (("--node", "c"), "backup calculator radius rates-import"),
]


@pytest.mark.parametrize(("arguments", "expected"), CHOICES, ids=[" ".join(row[0]) for row in CHOICES])
def test_services_are_chosen_by_name_and_by_how_they_are(
    cell: Files, arguments: tuple[str, ...], expected: str
) -> None:
    done = cell.site.vcsctl("status", *arguments, "--output", "json")
    assert done.returncode == 0, done
    assert " ".join(one["name"] for one in json.loads(done.stdout)["services"]) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("x*",), "no service matches x*; `vcsctl status` lists them all"),
        (("calculator", "backap"), "unknown service backap; did you mean backup?"),
        (("--node", "d"), "unknown node d; `vcsctl nodes` lists them all"),
        (("--group", "biling"), "no service is in a run group biling; did you mean billing?"),
    ],
)
def test_what_is_not_there_is_said(cell: Files, arguments: tuple[str, ...], sentence: str) -> None:
    done = cell.site.vcsctl("status", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", f"vcsctl: {sentence}\n")


def test_json_of_one_has_all_that_the_screen_has(cell: Files) -> None:
    answer: dict[str, Any] = json.loads(cell.site.vcsctl("status", "backup", "--output", "json").stdout)
    assert [row["id"] for row in answer["last_runs"]] == ["backup.7"]
    assert answer["durations"] == {"runs": 1, "average_s": 612.1, "longest_s": 612.1}
    assert answer["log"]["lines"][-1] == "?[2Jevil"
    assert len(answer["log"]["lines"]) == 10
    assert len(answer["next_slots"]) == 3
    assert answer["services"][0]["next_slot"] == answer["next_slots"][0]
    changed = json.loads(cell.site.vcsctl("status", "rates-import", "--output", "json").stdout)["services"][0]
    assert (changed["overrides"]["enabled"]["by"], changed["next_slot"]) == ("eve", None)


def test_nothing_chosen_is_said_on_a_terminal_only(cell: Files) -> None:
    assert "0 services: 0 running" in screen(cell, 80, "status", "--running", "--node", "a")
    assert cell.site.vcsctl("status", "--running", "--node", "a").stdout.count("\n") == 1, "the problem alone"


def test_screens_directory_holds_no_other_of_these_commands() -> None:
    found = {path.stem for path in (Path(__file__).parents[1] / "screens").glob("*.txt")}
    assert {name for name in found if name.partition("-")[0] in ("status", "queue", "nodes")} == set(GOLDEN)
