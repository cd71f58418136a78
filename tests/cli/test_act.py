"""run, stop, cancel, logs, history, reload and cat, end to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

Site = Any
HELD = "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n"
QUICK = "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/echo, done]\n"


def start_held(site: Site) -> None:
    """`held` runs and has the group, `quick` waits for it."""
    site.unit("held", HELD)
    site.unit("quick", QUICK)
    site.start()
    site.vcsctl("run", "held")
    site.until(lambda: list(site.shared.glob("state/held/*.started")), "held has started")


def request_of(output: str) -> str:
    return output.partition("(")[2].partition(")")[0]


def outcomes(site: Site, name: str) -> list[tuple[str, str]]:
    return [(row["outcome"], row["cause"]) for row in site.history(name)]


def test_run_wait_ends_as_the_run_did(site: Site) -> None:
    site.unit("good", QUICK)
    site.unit("bad", QUICK.replace("/bin/echo, done", "/bin/sh, -c, exit 3"))
    site.start()
    good, bad = site.vcsctl("run", "good", "--wait"), site.vcsctl("run", "bad", "--wait")
    assert (good.returncode, bad.returncode) == (0, 3)
    assert good.stdout.splitlines()[1] == "good.1: ok: exited with code 0"
    assert bad.stdout.splitlines()[1] == "bad.1: failed: exited with code 3"
    assert site.vcsctl("run", "good", "bad", "--wait").returncode == 3


def test_run_within_gives_up_in_time_and_says_so(site: Site) -> None:
    start_held(site)
    waited = site.vcsctl("run", "quick", "--within", "1s", "--wait")
    assert waited.returncode == 80
    assert f"{request_of(waited.stdout)}: missed: could not start by " in waited.stdout
    assert outcomes(site, "quick") == [("missed", "too-late")]


def test_run_within_ends_though_nothing_is_claimed_that_could_record_it(site: Site) -> None:
    """Its own run goes on for long; then no vcsd is there. The request stays out of sight until the next claim."""
    start_held(site)
    behind_its_own = site.begin("run", "held", "--within", "1s", "--wait")
    site.until(lambda: list(site.shared.glob("queue/held.*.json")), "it waits for its own run")
    site.stop()
    without_vcsd = site.begin("run", "quick", "--within", "1s", "--wait")
    for command in (behind_its_own, without_vcsd):
        said, _ = command.communicate(timeout=30)
        assert command.returncode == 80, said
        assert re.search(r"r\w+: missed: could not start by \S+ \S+ \(--within\)$", said, re.MULTILINE), said
    assert not site.vcsctl("queue").stdout, "nothing waits any more"
    assert "(--within)" not in site.vcsctl("why", "quick").stdout
    assert site.vcsctl("cancel", "quick").returncode == 3, "what was told as missed is not cancelled afterwards"
    site.start()
    site.until(lambda: ("missed", "too-late") in outcomes(site, "quick"), "then it is on record too")


def test_several_requests_end_in_one_run_and_each_is_recorded(site: Site) -> None:
    start_held(site)
    asked = [request_of(site.vcsctl("run", "quick").stdout) for _ in range(3)]
    site.vcsctl("stop", "held")
    site.until(lambda: len(site.history("quick")) == 3, "all three are recorded")
    rows = {row["requests"][0]: row for row in site.history("quick")}
    assert sorted(rows) == sorted(asked)
    assert [rows[one]["cause"] for one in asked] == ["exited", "coalesced", "coalesced"]
    assert rows[asked[1]]["why"] == "coalesced into quick.1"


def test_a_request_waits_in_the_queue_while_no_vcsd_is_there(site: Site) -> None:
    site.unit("quick", QUICK)
    site.start()
    site.stop()
    asked = site.vcsctl("run", "quick")
    assert asked.returncode == 0
    assert asked.stderr == "vcsctl: no vcsd answers on this machine; the request waits in the queue\n"
    assert request_of(asked.stdout) in site.vcsctl("queue").stdout
    site.start()
    site.until(lambda: outcomes(site, "quick") == [("ok", "exited")], "it has run")


def test_cancel_takes_a_waiting_request_back(site: Site) -> None:
    start_held(site)
    asked = request_of(site.vcsctl("run", "quick").stdout)
    cancelled = site.vcsctl("cancel", "quick")
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{asked}: cancelled\n")
    assert site.vcsctl("queue").stdout == ""
    again = site.vcsctl("cancel", "quick")
    assert (again.returncode, again.stderr) == (3, "vcsctl: quick has no request in the queue\n")
    site.until(lambda: outcomes(site, "quick") == [("skipped", "cancelled")], "it is recorded")
    assert not list(site.shared.glob("queue/quick.*"))


def test_cancel_is_certain_with_vcsd_dead_too(site: Site) -> None:
    start_held(site)
    site.kill()
    asked = request_of(site.vcsctl("run", "quick").stdout)
    assert site.vcsctl("cancel", "quick").stdout == f"{asked}: cancelled\n"
    assert site.vcsctl("queue").stdout == ""
    assert site.vcsctl("stop", "held").returncode == 0
    site.start()
    site.until(lambda: outcomes(site, "quick") == [("skipped", "cancelled")], "it is recorded")


def test_cancel_says_when_a_claim_was_faster(site: Site) -> None:
    """The entry is still to be seen, though a claim lists it: its file is only on its way out."""
    site.unit("quick", QUICK)
    site.start()
    site.stop()
    asked = request_of(site.vcsctl("run", "quick").stdout)
    entry = site.shared / f"queue/quick.{asked}.json"
    content = entry.read_bytes()
    site.start()
    site.until(lambda: site.history("quick"), "it has run")
    site.stop()  # or it removes the entry before the command looks
    entry.write_bytes(content)
    late = site.vcsctl("cancel", "quick")
    assert late.returncode == 5
    assert late.stderr == "vcsctl: already started quick.1; stop it with: vcsctl stop quick\n"
    assert outcomes(site, "quick") == [("ok", "exited")]


def test_stop_ends_a_run_and_says_who_and_why(site: Site) -> None:
    site.unit("idle", QUICK)
    start_held(site)
    stopped = site.vcsctl("stop", "idle", "held", "--reason", "month end")
    assert stopped.stderr == "vcsctl: idle is not running\n"
    assert (stopped.returncode, stopped.stdout) == (3, "held.1: stop requested\n"), "what runs is stopped all the same"
    site.until(lambda: site.history("held"), "it is recorded")
    row = site.history("held")[0]
    assert (row["outcome"], row["cause"]) == ("stopped", "stop-requested")
    assert "month end" in row["why"]
    again = site.vcsctl("stop", "held")
    assert (again.returncode, again.stderr) == (3, "vcsctl: held is not running\n")


def test_history_is_listed_newest_last_and_as_json(site: Site) -> None:
    site.unit("quick", QUICK)
    site.start()
    for _ in range(3):
        site.vcsctl("run", "quick", "--wait")
    lines = site.vcsctl("history", "quick").stdout.splitlines()
    assert lines[0].split() == ["AT", "RUN", "NODE", "OUTCOME", "TRIGGER", "DURATION", "WHY"]
    node = os.uname().nodename
    assert [line.split()[2:4] for line in lines[1:]] == [[f"quick.{number}", node] for number in (1, 2, 3)]
    answer = json.loads(site.vcsctl("history", "quick", "-n", "2", "--output", "json").stdout)
    assert answer["version"] == 1
    assert [(row["id"], row["outcome"], row["exit_code"]) for row in answer["history"]] == [
        ("quick.2", "ok", 0),
        ("quick.3", "ok", 0),
    ]


def test_logs_prints_one_run_the_newest_or_the_one_named(site: Site) -> None:
    site.unit("quick", QUICK.replace("/bin/echo, done", "/bin/sh, -c, echo this is $VCS_RUN_ID"))
    site.start()
    for _ in range(2):
        twice = site.vcsctl("run", "quick", "quick", "--wait")
        assert twice.stdout.count("requested") == 1, "a name given twice is one request"
    assert site.vcsctl("logs", "quick").stdout == "this is quick.2\n"
    assert site.vcsctl("logs", "quick", "--run", "quick.1").stdout == "this is quick.1\n"
    for run, expected in (
        ("quick.3", "quick.3 has not started: the last run is quick.2; `vcsctl logs quick -f` follows the next one"),
        ("quick.0", "there is no run quick.0 on record; `vcsctl history quick` lists them"),
    ):
        missing = site.vcsctl("logs", "quick", "--run", run)
        assert (missing.returncode, missing.stdout, missing.stderr) == (3, "", f"vcsctl: {expected}\n")
    foreign = site.vcsctl("logs", "quick", "--run", "../../x.1")
    assert (foreign.returncode, foreign.stdout) == (2, "")


def test_logs_follow_goes_on_with_the_next_run_until_ctrl_c(site: Site) -> None:
    site.unit("quick", QUICK.replace("/bin/echo, done", "/bin/sh, -c, echo this is $VCS_RUN_ID"))
    site.start()
    site.vcsctl("run", "quick", "--wait")
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), "logs", "quick", "-f"]
    seen = site.root / "seen"
    with seen.open("wb") as file:
        following = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        site.until(lambda: seen.read_text() == "this is quick.1\n", "the log is printed")
        site.vcsctl("run", "quick", "--wait")
        site.until(lambda: "this is quick.2\n" in seen.read_text(), "the next one follows")
    finally:
        following.send_signal(signal.SIGINT)
    assert following.wait(10) == -signal.SIGINT
    first, head, second = seen.read_text().splitlines()
    assert (first, second) == ("this is quick.1", "this is quick.2")
    assert head.startswith("==> quick.2, ")


def test_reload_says_what_changed_and_cat_shows_every_fragment(site: Site) -> None:
    site.unit("quick", QUICK)
    site.unit("other", QUICK)
    site.start()
    assert site.vcsctl("reload").stdout == "changed: nothing\n"
    (site.units / "quick.yaml.d").mkdir()
    drop_in = site.units / "quick.yaml.d/10-slow.yaml"
    drop_in.write_text("period: 30\n")
    (site.units / "other.yaml").unlink()
    reloaded = site.vcsctl("reload")
    assert (reloaded.returncode, reloaded.stdout) == (0, "changed: quick; removed: other\n")
    assert "every 30 min" in site.vcsctl("status", "quick").stdout
    assert site.vcsctl("cat", "quick").stdout == (f"# {site.units}/quick.yaml\n{QUICK}\n# {drop_in}\nperiod: 30\n\n")
    assert site.vcsctl("status", "other").returncode == 4


def test_a_job_knows_its_run_by_its_environment(site: Site) -> None:
    site.unit("quick", QUICK.replace("/bin/echo, done", "/usr/bin/env"))
    site.start()
    site.vcsctl("run", "quick", "--wait")
    found = dict(line.split("=", 1) for line in site.vcsctl("logs", "quick").stdout.splitlines() if "=" in line)
    expected = {
        "VCS_UNIT": "quick",
        "VCS_SLOT": "",
        "VCS_TRIGGER": "manual",
        "VCS_RUN_ID": "quick.1",
        "VCS_NODE": os.uname().nodename,
        "VCS_ATTEMPT": "1",
        "VCS_MISSED": "0",
        "VCS_FENCE_BILLING": "1",
    }
    assert {key: value for key, value in found.items() if key.startswith("VCS_") and key != "VCS_ROOT"} == expected


@pytest.mark.parametrize("kind", ["daemon", "masked", "missing", "broken", "unknown"])
def test_run_refuses_what_cannot_run(site: Site, kind: str, tmp_path: Path) -> None:
    site.unit("daemon", "schedule: daemon\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    site.unit("masked", "")
    site.unit("missing", QUICK.replace("/bin/echo", "/nonexistent/program"))
    site.unit("broken", "schedule: periodical\n")
    site.unit("fine", QUICK)
    site.start()
    expected = {
        "daemon": (5, "vcsctl: daemon is a daemon: it is kept up, not run; `vcsctl restart daemon` restarts it\n"),
        "masked": (5, "vcsctl: masked is masked; `vcsctl cat masked` names the empty file that masks it\n"),
        "missing": (5, "vcsctl: missing: program missing: /nonexistent/program; install it first\n"),
        "broken": (5, "vcsctl: the unit file of broken is broken; `vcsctl status broken` says where\n"),
        "unknown": (4, "vcsctl: unknown service unknown; `vcsctl status` lists them all\n"),
    }
    refused = site.vcsctl("run", "fine", kind)
    assert (refused.returncode, refused.stderr) == expected[kind]
    assert refused.stdout == "", "none is requested when one is refused"
    assert site.vcsctl("queue").stdout == ""
    assert site.history("fine") == []
