"""`why` names the true cause: each situation is made for real, in one cell. What needs storage that hangs: test_hanging."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cell import Cell
from slots import HOURS_AGO_S, hourly

MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"
BERLIN = (
    "schedule: fixed-time\nrun_at: 02:30\ntimezone: Europe/Berlin\nstart_within: 1s\nnodes: [a]\nexec: [/bin/true]\n"
)
BEFORE_THE_GAP = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
DUE = ("missed", "coalesced", "flaky", "lacking")


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """What was due for hours starts at once on a, but for what waits for `held`, which runs on b."""
    made = Cell(tmp_path_factory.mktemp("cell"), "a", "b")
    made.unit("held", f"{MANUAL}nodes: [b]\ngroups: [g]\nexec: [/bin/sleep, 1000]\n")
    made.unit("blocked", f"{MANUAL}nodes: [a]\ngroups: [g]\nexec: [/bin/true]\n")
    made.unit("only-b", f"{MANUAL}nodes: [b]\nexec: [/bin/true]\n")
    made.unit("missed", hourly("nodes: [a]\nstart_within: 1m\nexec: [/bin/true]\n"))
    made.unit("coalesced", hourly("nodes: [a]\ngroups: [g]\nexec: [/bin/true]\n"))
    made.unit("flaky", hourly("nodes: [a]\nretries: {attempts: 1, delay: 1h, max_delay: 2h}\nexec: [/bin/false]\n"))
    made.unit("lacking", hourly("nodes: [a]\nexec: [/nonexistent/program]\n"))
    made.unit("berlin", BERLIN)
    made.unit("nightly", "schedule: fixed-time\nrun_at: 04:05\ntimezone: Asia/Tokyo\nnodes: [b]\nexec: [/bin/true]\n")
    made.unit("overridden", "schedule: periodical\nperiod: 5\nexec: [/bin/true]\n")
    made.unit("masked", "")
    made.unit("broken", "schedule: periodical\nperod: 5\nexec: [/bin/true]\n")
    try:
        made.start()
        made["b"].request("held")
        made["b"].until(lambda: list(made.shared.glob("state/held/*.started")), "held runs on b")
        made["a"].stop()
        now = datetime.now(UTC).timestamp()
        for key, moment in (*((key, now - HOURS_AGO_S) for key in DUE), ("berlin", BEFORE_THE_GAP)):
            for path in made.shared.glob(f"state/{key}/since.*"):
                os.utime(path, (moment, moment))
        made.start("a")
        yield made
    finally:
        made.close()


def why(cell: Cell, *arguments: str) -> str:
    """As node b tells it, whose records are the same."""
    done = cell["b"].vcsctl("why", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def has_line(pattern: str, text: str) -> bool:
    return re.search(f"^{pattern}$", text, re.MULTILINE) is not None


def shown(instant: str) -> str:
    """As people are told it."""
    return datetime.fromisoformat(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def rows(cell: Cell, name: str) -> list[dict[str, Any]]:
    cell["a"].until(lambda: cell["a"].history(name), f"something of {name} is on record")
    return cell["a"].history(name)


def test_a_group_that_is_held_on_another_node_and_slots_that_are_coalesced_behind_it(cell: Cell) -> None:
    a = cell["a"]
    a.until(lambda: list(cell.shared.glob("queue/coalesced.slots.json")), "its slots wait")
    a.request("blocked")
    told = why(cell, "blocked")
    assert has_line(r"group g: held by held.1 of held on b for \S+( s)?", told), told
    assert has_line(
        r"queue: in queue since .*, number 2 of 2, behind coalesced in its groups: request r\w+ of test", told
    )
    assert has_line(r"now: requested \(r\w+\); waits for group g, held by held.1 on b", told)
    assert has_line(r"next: it starts when held.1 ends \(`vcsctl stop held` ends it\)", told)
    links = json.loads(cell["b"].vcsctl("why", "blocked", "--output", "json").stdout)["why"]
    group = next(link for link in links if link["link"] == "group")
    assert (group["run"], group["service"], group["node"], group["groups"]) == ("held.1", "held", "b", ["g"])
    assert [link["link"] for link in links] == ["declared", "nodes", "queue", "group", "now", "next"]

    first = json.loads(next(iter(cell.shared.glob("queue/coalesced.slots.json"))).read_text())["first"]
    assert has_line(
        r"  it is about to be recorded as skipped: coalesced into the run of slot \S+ \S+",
        why(cell, "coalesced", "--at", first),
    )
    assert a.vcsctl("stop", "held").returncode == 0
    a.until(lambda: any("+" not in row["id"] for row in a.history("coalesced")), "it has run")
    told = why(cell, "coalesced", "--at", first)
    assert has_line(
        r"  skipped: coalesced into the run of slot \S+ \S+, coalesced.1 \(2 slots.*\); ok: exited with code 0", told
    ), told
    assert has_line(r"skipped: coalesced into the run of slot .* \(2 slots, .*", why(cell, "coalesced"))
    newest = next(row["slot"] for row in a.history("coalesced") if "+" not in row["id"])
    told = why(cell, "coalesced", "--at", newest)
    assert has_line(r"  ran as coalesced.1 on a, \d+ s late, .* in the queue; ok: exited with code 0", told), told


def test_a_node_that_is_drained(cell: Cell) -> None:
    assert cell["a"].vcsctl("drain", "b", "--reason", "new disk").returncode == 0
    cell["a"].request("only-b")
    told = why(cell, "only-b")
    assert has_line(r"may run on: b \(drained\)", told), told
    assert has_line(r"now: requested \(r\w+\); no node can take it now: b \(drained\)", told), told
    assert has_line(r"next: it starts when b is drained no more \(`vcsctl resume b`\)", told), told
    told = why(cell, "nightly")
    assert has_line(r"now: next slot .*; no node can start the next as things are: b \(drained\)", told), told
    assert has_line(r"next: the next can start when b is drained no more \(`vcsctl resume b`\)", told), told
    assert cell["a"].vcsctl("resume", "b").returncode == 0
    assert rows(cell, "only-b")[0]["outcome"] == "ok"


def test_a_program_that_is_missing(cell: Cell) -> None:
    told = why(cell, "lacking")
    assert has_line(r"may run on: a \(program missing: /nonexistent/program\)", told), told
    missing = r"a \(program missing: /nonexistent/program\)"
    assert has_line(f"now: next slot .*; no node can start the next as things are: {missing}", told), told
    assert has_line("next: the next can start when /nonexistent/program is installed on a", told), told
    shown = cell["b"].vcsctl("status", "lacking").stdout
    assert has_line("problem: lacking: program missing on a: /nonexistent/program; install it there", shown), shown


def test_a_unit_that_is_broken(cell: Cell) -> None:
    told = why(cell, "broken")
    assert told.startswith(
        "now: nothing starts it: its unit file is broken and was never good; see `vcsctl cat broken`"
    )
    assert has_line(r"unit file: .*/broken.yaml:2:1: perod: unknown key; did you mean 'period'\?", told), told


def test_a_unit_that_is_masked(cell: Cell) -> None:
    assert why(cell, "masked").startswith("now: nothing starts it: an empty file masks it; see `vcsctl cat masked`")


def test_a_slot_that_was_missed(cell: Cell) -> None:
    row = rows(cell, "missed")[0]
    told = why(cell, "missed", "--at", row["slot"])
    assert has_line(r"  missed: could not start by \S+ \S+ \(start_within\).*", told), told
    assert has_line(r"missed: could not start by .*", why(cell, "missed"))
    assert not list(cell.shared.glob("state/missed/*.started"))


def test_a_run_that_failed_and_waits_for_its_retry(cell: Cell) -> None:
    slot = next(row["slot"] for row in rows(cell, "flaky") if "+" not in row["id"])
    told = why(cell, "flaky")
    assert has_line(r"last claim: flaky.1 on a, slot \S+ \S+ is due, .* ago\); failed: exited with code 1", told), told
    assert has_line(rf"now: attempt 2 of slot {shown(slot)} is due at \S+ \S+", told), told
    told = why(cell, "flaky", "--at", slot)
    assert has_line(r"  ran as flaky.1 on a, \d+ s late; failed: exited with code 1", told), told
    assert has_line(rf"  it waits: attempt 2 of slot {shown(slot)} is due at \S+ \S+", told), told


def test_what_an_operator_changed(cell: Cell) -> None:
    assert cell["a"].vcsctl("disable", "overridden", "--reason", "month end").returncode == 0
    told = why(cell, "overridden")
    assert has_line("declared: enabled, every 5 min", told)
    assert has_line(r"override: enabled=false by \w+ at \S+ \S+ \(month end\)", told), told
    assert has_line("effective: disabled, every 5 min", told)
    assert has_line("now: disabled", told)
    assert cell["a"].vcsctl("enable", "overridden").returncode == 0
    told = why(cell, "overridden", "--at", "00:00")
    assert has_line(r"  it does not count: only what comes after \S+ \S+ does, .*; nothing is retroactive", told), told


def test_a_time_that_the_clock_skips(cell: Cell) -> None:
    note = "clock: on {} at 02:00 the clocks of Europe/Berlin go one hour ahead: 02:30 runs at 03:30"
    rows(cell, "berlin")
    told = why(cell, "berlin", "--at", "2026-03-29T02:30")
    assert has_line(note.format("2026-03-29"), told), told
    assert has_line(r"slot: .* ago\)(, 03:30 \+0200 in Europe/Berlin)?", told), told
    assert has_line(r"  missed: could not start by \S+ \S+ \(start_within\) \(\d+ slots.*", told), told
    told = why(cell, "berlin", "--at", "2027-03-28T02:30")
    assert has_line(note.format("2027-03-28"), told), told
    assert has_line(r"  it is still to come; until then: next slot \S+ \d\d:30:00", told), told
    told = why(cell, "berlin", "--at", "2026-03-28T02:30")
    assert has_line(
        r"  it does not count: only what comes after 2026-03-28 \d\d:00:00 does, .*; nothing is retroactive", told
    )
