"""What `status` says where it is not as it seems: overrides that do not fit, reservations, several KEYs of one service."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import Any

import pytest
from disks import NOW, Files
from terminals import Terminal

from vcsctl.cli.tables import local, readable
from vcsctl.domain.outcome import Started
from vcsctl.domain.run import CANCELLED, Claim, Dropped
from vcsctl.domain.unit import from_plain
from vcsctl.store import state


def timed(name: str, **more: Any) -> Any:
    return from_plain({"schedule": "periodical", "name": name, "period": 5, "exec": ["/bin/true"], **more})


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """`older` waits for what `runs` holds, and has kept `other` for itself for long."""
    units = (
        timed("misfit"),
        timed("runs", groups=["held"]),
        timed("older", groups=["held", "other"]),
        timed("younger", groups=["other"]),
        timed("nowhere", groups=["free"], nodes=["d"]),
        timed("next", groups=["free"]),
        timed("quiet", enabled=False),
        timed("silent", groups=["held"], nodes=["c"]),
        timed("each", run_on="each", nodes=["a", "b"]),
    )
    made = Files(tmp_path_factory.mktemp("cell"), *units, environment={"LC_ALL": "C.UTF-8"})
    made.overridden("misfit", "align", 7, 0)
    made.runs("runs", "b", 1, ("held",))
    for name, minutes in (
        ("older", 40),
        ("nowhere", 40),
        ("silent", 1),
        ("younger", 1),
        ("next", 1),
        ("each@a", 1),
        ("each@b", 1),
    ):
        made.waits(name, NOW - timedelta(minutes=minutes))
    made.waits("next", NOW, "r0000000002")
    return made


def service(cell: Files, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cell.site.vcsctl("status", name, "-o", "json").stdout)["services"][0]
    return found


def test_an_override_that_does_not_fit_is_told_and_does_not_count(cell: Files) -> None:
    misfit = service(cell, "misfit")
    assert (misfit["schedule"], misfit["overrides"]) == ("every 5 min", {})
    (note,) = misfit["notes"]
    assert note.startswith("the override of misfit is left out: must be less than the period (5), not 7")
    assert "at minutes 00, 05, 10, ..." in cell.shown("status", "misfit")
    assert "override: misfit" not in cell.shown("status")


def test_what_an_older_entry_has_reserved_is_waited_for(cell: Files) -> None:
    assert service(cell, "older")["waits_for"] == "waits for group held, held by runs.1 on b"
    reserved = service(cell, "younger")["waits_for"]
    assert re.fullmatch(r"waits for group other, reserved for older, in the queue since \S+", reserved)
    on_screen = f"{readable(reserved)}\n"
    assert re.search(r"older, in the queue since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", on_screen), "as all else there"
    for command in ("why", "status"):
        assert on_screen in cell.site.vcsctl(command, "younger").stdout
    assert on_screen in cell.site.vcsctl("queue").stdout
    why = "waits for group held, held by runs.1 on b; `vcsctl stop runs` ends runs.1"
    step = f"\nnext: it starts when older has run, for which group other is kept ({why})"
    assert step in cell.site.vcsctl("why", "younger").stdout
    assert service(cell, "next")["waits_for"] == "starts next", "what no node can start reserves nothing"


def test_that_no_node_can_take_it_is_told_beside_the_run_that_holds_its_group(cell: Files) -> None:
    """Or somebody stops that run for nothing."""
    both = r"no node can take it now: c \(silent for .*\); waits for group held, held by runs.1 on b"
    for found in (service(cell, "silent")["waits_for"], cell.site.vcsctl("queue").stdout):
        assert re.search(both, found), found
    told = cell.site.vcsctl("why", "silent").stdout
    assert re.search(rf"\nnow: .*; {both}\n", told), told
    assert re.search(r"\nnext: it starts when vcsd runs on c again and runs\.1 ends(; at .*)?\n", told), told


def test_a_claim_is_shown_with_its_start_and_never_before_its_slot(cell: Files) -> None:
    """The file server's clock, by which claims are dated, may be a second behind."""
    slot = NOW.replace(microsecond=0) - timedelta(hours=1)
    claim = Claim("misfit", 1, "misfit", "a", "schedule", "it is due", watermark=slot, slot=slot, unit={})
    cell.claimed(claim, slot - timedelta(seconds=1))

    def last_claim() -> str:
        told = cell.site.vcsctl("why", "misfit").stdout
        return next(line for line in told.splitlines() if line.startswith("last claim: "))

    assert f", it is due, {local(slot)} (" in last_claim()
    start = slot + timedelta(seconds=7)
    state.write_started(cell.paths, "misfit", 1, Started(1, 1, "boot a", start, "log"))
    assert f", it is due, {local(start)} (" in last_claim()


def test_what_was_disposed_of_is_told_by_its_name_with_its_time_and_only_the_newest(cell: Files) -> None:
    for fence in range(1, 6):
        dropped = (Dropped("cancelled", CANCELLED, f"r000000000{fence}"),)
        claim = Claim("quiet", fence, "quiet", "a", "none", CANCELLED, dropped=dropped)
        cell.claimed(claim, NOW - timedelta(minutes=10 - fence))
    told = [line for line in cell.site.vcsctl("why", "quiet").stdout.splitlines() if " cancelled" in line]
    moments = {number: local(NOW - timedelta(minutes=10 - number)) for number in (3, 4, 5)}
    for line, (number, moment) in zip(told, moments.items(), strict=True):
        assert line.startswith(f"request r000000000{number}: skipped, {CANCELLED}, {moment} ("), line
    more = "before: 2 more were disposed of; `vcsctl history quiet` lists them\n"
    assert more in cell.site.vcsctl("why", "quiet").stdout


def test_coalesced_is_what_a_run_stands_for_beside_its_own_entry(cell: Files) -> None:
    shown = cell.site.vcsctl("status", "-o", "wide").stdout
    header, *rows = shown[shown.index("  STATUS") :].splitlines()
    column = header.index("COALESCED")
    found = {row.split()[1]: row[column:].split()[0] for row in rows if row.startswith("  ")}
    assert (found["each"], found["younger"], found["next"]) == ("-", "-", "1")


def test_only_what_waits_is_coloured_so(cell: Files) -> None:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(cell.site.root), "status", "misfit", "next"]
    with Terminal([*command, "runs"], cell.site.environment, 200, 50) as shown:
        assert shown.end() == 0
    coloured = re.findall(r"\x1b\[33m([^\x1b]*)", shown.raw.decode())
    assert len([text for text in coloured if text.startswith("since ")]) == 1
    assert "-" not in [text.strip() for text in coloured]
