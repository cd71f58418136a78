"""Services that run on each of their nodes, and commands given on a machine that runs no vcsd."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Pair = Any
EACH = "schedule: periodical\nperiod: 60\nenabled: false\nrun_on: each\nexec: [/bin/sleep, 1000]\n"
QUICK = "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/echo, done]\n"


def told(site: Any, *arguments: str) -> tuple[int, str, str]:
    done = site.vcsctl(*arguments)
    return done.returncode, done.stdout, done.stderr


def service(site: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.vcsctl("status", name, "--output", "json").stdout)["services"][0]
    return found


def run_everywhere(pair: Pair) -> None:
    pair.unit("each", EACH)
    pair.start()
    pair.desk.vcsctl("run", "each")
    pair.a.until(lambda: len(service(pair.desk, "each")["runs"]) == 2, "it runs on both")


def test_run_asks_each_node_and_wait_waits_for_all(pair: Pair) -> None:
    pair.unit("each", EACH.replace("/bin/sleep, 1000", "/bin/sh, -c, test $VCS_NODE = a"))
    pair.start()
    ran = pair.desk.vcsctl("run", "each", "--wait")
    assert ran.returncode == 1, "one of them failed"
    asked, outcomes = ran.stdout.splitlines()[:2], ran.stdout.splitlines()[2:]
    assert [line.partition(" (")[0] for line in asked] == ["each@a: requested", "each@b: requested"]
    assert sorted(outcomes) == ["each@a.1: ok: exited with code 0", "each@b.1: failed: exited with code 1"]
    one = pair.desk.vcsctl("run", "each", "--node", "a", "--wait")
    assert (one.returncode, one.stdout.splitlines()[1]) == (0, "each@a.2: ok: exited with code 0")
    history = json.loads(pair.desk.vcsctl("history", "each", "--output", "json").stdout)["history"]
    assert sorted(row["id"] for row in history) == ["each@a.1", "each@a.2", "each@b.1"]
    assert " ok " in pair.desk.vcsctl("status").stdout, "the newest of all nodes"
    lines = pair.desk.vcsctl("status", "each").stdout.splitlines()
    keys = lines.index(next(line for line in lines if line.split()[0] == "KEY")) + 1
    assert [line.split()[0] for line in lines[keys : keys + 2]] == ["each@a", "each@b"]
    assert [line.split()[3] for line in lines[keys : keys + 2]] == ["ok", "failed"]


def test_status_queue_and_why_tell_the_nodes_apart(pair: Pair) -> None:
    run_everywhere(pair)
    shown = pair.a.vcsctl("status").stdout
    assert re.search(r"running since \S+ \S+ on a, b ", shown)
    assert sorted(run["id"] for run in service(pair.a, "each")["runs"]) == ["each@a.1", "each@b.1"]
    pair.a.vcsctl("run", "each", "--node", "b")
    queued = json.loads(pair.a.vcsctl("queue", "--output", "json").stdout)["queue"]
    assert [(entry["key"], entry["waits_for"]) for entry in queued] == [("each@b", "its own run each@b.1 is not over")]
    assert "its own run each@b.1 is not over" in pair.a.vcsctl("status").stdout
    both = pair.a.vcsctl("why", "each").stdout.splitlines()
    assert both[:3] == ["declared: disabled, every 60 min", "may run on: a (can now), b (can now)", "each@a:"]
    assert "each@b:" in both
    only = pair.a.vcsctl("why", "each", "--node", "b").stdout
    assert "each@a.1" not in only
    assert "\nlast claim: each@b.1 on b, requested " in only
    cancelled = pair.a.vcsctl("cancel", "each", "--node", "a")
    assert (cancelled.returncode, cancelled.stderr) == (3, "vcsctl: each has no request in the queue on a\n")
    keys = json.loads(pair.a.vcsctl("status", "each", "--output", "json").stdout)["keys"]
    assert [(one["key"], one["running"], one["waits_for"]) for one in keys] == [
        ("each@a", "each@a.1", None),
        ("each@b", "each@b.1", "its own run each@b.1 is not over"),
    ]
    assert pair.a.vcsctl("cancel", "each").stdout.endswith(": cancelled\n")


def test_stop_and_disable_now_end_all_its_runs_or_that_of_one_node(pair: Pair) -> None:
    run_everywhere(pair)
    assert told(pair.desk, "stop", "each", "--node", "b") == (0, "each@b.1: stop requested\n", "")
    pair.a.until(lambda: len(service(pair.desk, "each")["runs"]) == 1, "that of b has ended")
    assert told(pair.desk, "stop", "each", "--node", "b") == (3, "", "vcsctl: each is not running on b\n")
    pair.desk.vcsctl("run", "each", "--node", "b")
    pair.a.until(lambda: len(service(pair.desk, "each")["runs"]) == 2, "it runs there again")
    pair.desk.vcsctl("enable", "each")
    goes_on = "each: each@{0} goes on; `vcsctl stop each` stops it\n"
    told_so = "each: disabled\n" + goes_on.format("a.1") + goes_on.format("b.2")
    assert told(pair.desk, "disable", "each") == (0, told_so, "")
    now = pair.desk.vcsctl("disable", "each", "--now").stdout
    assert now == "each: is disabled already\neach@a.1: stop requested\neach@b.2: stop requested\n"
    pair.a.until(lambda: not service(pair.desk, "each")["runs"], "both have ended")


def test_a_node_that_may_not_run_it_is_refused(pair: Pair) -> None:
    pair.unit("onlya", EACH + "nodes: [a]\n")
    pair.unit("any", QUICK)
    pair.start()
    for command in (("run", "onlya"), ("why", "onlya"), ("cancel", "onlya")):
        code, out, said = told(pair.desk, *command, "--node", "b")
        assert (code, out) == (5, "")
        assert re.match(r"vcsctl: onlya: node b may not run it", said)
        assert told(pair.desk, *command, "--node", "aa") == (4, "", "vcsctl: unknown node aa; did you mean a?\n")
        code, out, said = told(pair.desk, command[0], "any", "--node", "a")
        expected = "vcsctl: any runs on any one of its nodes, not on each; leave --node out\n"
        assert (code, out, said) == (5, "", expected)
    for command in ("stop", "cancel"):
        assert told(pair.desk, command, "onlya", "--node", "aa")[0] == 4
    assert not list(pair.shared.glob("queue/*"))


def test_a_program_is_missing_where_the_allowed_nodes_miss_it(pair: Pair, tmp_path: Path) -> None:
    """Nodes of one machine have the same programs, so what they published is edited."""
    pair.unit("each", EACH.replace("/bin/sleep, 1000", str(tmp_path / "program")))
    pair.start()
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    lacking = f"program missing: {tmp_path / 'program'}"
    refused = told(pair.desk, "run", "each")
    assert refused == (5, "", f"vcsctl: each: {lacking}; install it first on a, b\n")
    pair.a.vcsctl("reload")
    published = pair.shared / "nodes/a.units.json"
    content = json.loads(published.read_text())
    content["units"]["each"]["missing"] = None
    published.write_text(json.dumps(content, separators=(",", ":")))
    ran = pair.desk.vcsctl("run", "each", "--wait")
    assert ran.returncode == 0
    assert ran.stdout.endswith("each@a.1: ok: exited with code 0\n")
    assert ran.stderr == f"vcsctl: each@b: not requested, {lacking}\n"
    assert f"may run on: a (can now), b ({lacking})\n" in pair.desk.vcsctl("why", "each").stdout
    assert "problem" not in pair.desk.vcsctl("status").stdout, "no difference of the units"


def test_a_machine_without_vcsd_is_as_good_as_any_other(pair: Pair) -> None:
    pair.unit("quick", QUICK)
    pair.unit("broken", "schedule: periodical\n")
    pair.start()
    desk = pair.desk
    ran = desk.vcsctl("run", "quick", "--wait")
    assert (ran.returncode, ran.stderr) == (0, "")
    for command in (
        ("status",),
        ("status", "quick"),
        ("queue",),
        ("why", "quick"),
        ("history", "quick"),
        ("calendar", "quick"),
        ("nodes",),
        ("enable", "quick"),
        ("set", "quick", "period=30"),
        ("revert", "quick"),
        ("disable", "quick"),
    ):
        code, out, said = told(desk, *command)
        assert (code, said) == (0, ""), command
        assert out or command == ("queue",)
    problems = [line for line in desk.vcsctl("status").stdout.splitlines() if line.startswith("problem: ")]
    assert [re.match(r"problem: on (.): .*broken.yaml:1:1: ", line)[1] for line in problems[::2]] == ["a", "b"]
    reload = told(desk, "reload")
    assert reload == (3, "", "vcsctl: no vcsd answers on this machine; start it, it reads the units then\n")
    logs = told(desk, "logs", "quick")
    assert (logs[:2], re.match(r"vcsctl: quick\.1 ran on [ab]; its log lies there: /", logs[2]) is None) == (
        (3, ""),
        False,
    )


def test_a_vcsd_that_just_died_is_not_counted_on(pair: Pair) -> None:
    pair.unit("onlya", QUICK + "nodes: [a]\n")
    pair.start()
    pair.a.kill()
    code, _, said = told(pair.a, "run", "onlya")
    assert (code, said) == (0, "vcsctl: no vcsd answers on this machine; the request waits in the queue\n")
