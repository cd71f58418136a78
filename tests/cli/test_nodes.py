"""nodes, nodes forget, drain, resume, and what status and why say of nodes that are silent, drained or different."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vcsctl.store.nodes import NodeState, drains, publish_state
from vcsctl.store.paths import Paths

Pair = Any
HELD = "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n"
QUICK = HELD.replace("/bin/sleep, 1000", "/bin/true")


def told(site: Any, *arguments: str) -> tuple[int, str, str]:
    done = site.vcsctl(*arguments)
    return done.returncode, done.stdout, done.stderr


def answered(site: Any, answer: bytes, *arguments: str) -> tuple[int, str]:
    """As somebody at a terminal, who answers a question."""
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), *arguments]
    asked = subprocess.Popen(command, stdin=inner, stdout=subprocess.PIPE, text=True)
    os.close(inner)
    os.write(terminal, answer + b"\n")
    said, _ = asked.communicate(timeout=20)
    os.close(terminal)
    return asked.returncode, said.partition("]: ")[2]


def nodes(site: Any) -> dict[str, dict[str, Any]]:
    answer = json.loads(site.vcsctl("nodes", "--output", "json").stdout)
    assert answer["version"] == 1
    return {one["node"]: one for one in answer["nodes"]}


def rows(site: Any) -> list[list[str]]:
    """The table's cells."""
    return [re.split(r"  +", line) for line in site.vcsctl("nodes").stdout.splitlines()]


def test_nodes_shows_each_node_its_runs_and_its_clock(pair: Pair) -> None:
    pair.b.configure("node: b\nlabels: [big, fast]\nheartbeat: 1s\npoll: 200ms\n")
    pair.unit("held", HELD.replace("groups", "nodes: ['label:big']\ngroups"))
    pair.start()
    pair.desk.vcsctl("run", "held")
    pair.a.until(lambda: nodes(pair.desk)["b"]["runs"] == ["held.1"], "b runs it")
    header, a, b = rows(pair.desk)
    assert header == ["NODE", "STATE", "UP FOR", "HOST", "LABELS", "CLOCK", "RUNS", "UNITS"]
    assert a[:2] + a[3:] == ["a", "up", "a.example", "-", "+0.0 s", "-", "as most"]
    assert b[:2] + b[3:] == ["b", "up", "b.example", "big, fast", "+0.0 s", "held.1", "as most"]
    found = nodes(pair.a)["b"]
    assert found["up"] is True
    assert (found["silent_s"], found["drained"], found["claims_nothing"]) == (None, False, "")
    assert abs(found["clock_offset_s"]) < 1
    assert (found["labels"], found["host"], found["units_differ"]) == (["big", "fast"], "b.example", {})


def test_a_node_that_dies_is_shown_with_its_age_and_can_be_forgotten(pair: Pair) -> None:
    pair.unit("onlyb", QUICK.replace("groups", "nodes: [b]\ngroups"))
    pair.start()
    refused = told(pair.desk, "nodes", "forget", "b", "--yes")
    assert refused == (
        5,
        "",
        "vcsctl: b is up; stop its vcsd first, and wait until `vcsctl nodes` shows it as silent\n",
    )
    pair.b.kill()
    pair.a.until(lambda: not nodes(pair.desk)["b"]["up"], "its silence is seen")
    assert rows(pair.desk)[2][1].startswith("silent for ")
    assert 3 < nodes(pair.desk)["b"]["silent_s"] < 60
    assert re.match(r"problem: vcsd on node b has been silent for \d+ s\n", pair.a.vcsctl("status").stdout)
    code, _, said = told(pair.desk, "run", "onlyb")
    assert code == 0
    assert re.fullmatch(
        r"vcsctl: no node can take onlyb now: b \(silent for \d+ s\); the request waits in the queue\n", said
    )
    assert "no node can take it now: b (silent for " in pair.a.vcsctl("queue").stdout
    assert "may run on: b (silent for " in pair.a.vcsctl("why", "onlyb").stdout
    assert told(pair.desk, "nodes", "forget", "c") == (4, "", "vcsctl: unknown node c; `vcsctl nodes` lists them all\n")
    asked = told(pair.desk, "nodes", "forget", "b")
    assert asked == (2, "", "vcsctl: nodes forget: nobody to ask; add --yes to forget b\n")
    assert answered(pair.desk, b"n", "nodes", "forget", "b") == (1, "")
    assert list(nodes(pair.desk)) == ["a", "b"]
    forgotten = "b: forgotten; when its vcsd runs again it is known again\n"
    assert answered(pair.desk, b"y", "nodes", "forget", "b") == (0, forgotten)
    assert list(nodes(pair.desk)) == ["a"]
    assert "no known node may run it" in pair.desk.vcsctl("queue").stdout
    refused = told(pair.desk, "run", "onlyb")
    assert refused == (5, "", "vcsctl: onlyb: no known node may run it (allowed: b); see to its `nodes`\n")
    pair.b.start()
    pair.a.until(lambda: "b" in nodes(pair.desk), "it is known again")
    pair.a.until(lambda: pair.b.history("onlyb"), "what waited for it has run")


AN_HOUR_AHEAD = """
import datetime, sys, time
real = time.time
time.time = lambda: real() + 3600
from vcsctl.cli import cell_nodes
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return datetime.datetime.now(zone) + datetime.timedelta(hours=1)
cell_nodes.datetime = Ahead
from vcsctl.cli.main import main
sys.argv[0] = "vcsctl"
main()
"""


def test_a_living_node_is_not_forgotten_where_the_clock_is_ahead_and_a_drained_one_stays_so(pair: Pair) -> None:
    pair.start()

    def an_hour_ahead(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", AN_HOUR_AHEAD, "--root", str(pair.desk.root), *arguments]
        done = subprocess.run(
            command, env=pair.desk.environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert an_hour_ahead("drain", "b") == (0, "b: drained\n")
    code, said = an_hour_ahead("nodes", "forget", "b", "--yes")
    assert (code, said[:18]) == (5, "vcsctl: b is up; s")
    pair.b.kill()
    pair.a.until(lambda: not nodes(pair.desk)["b"]["up"], "its silence is seen")
    assert an_hour_ahead("nodes", "forget", "b", "--yes")[0] == 0
    assert list(drains(Paths(str(pair.shared)))) == ["b"]


def test_a_node_with_live_runs_is_not_forgotten_and_why_says_what_holds_them(pair: Pair) -> None:
    pair.unit("held", HELD.replace("groups", "nodes: [b]\ngroups"))
    pair.unit("quick", QUICK)
    pair.start()
    pair.desk.vcsctl("run", "held")
    pair.a.until(lambda: nodes(pair.desk)["b"]["runs"], "b runs it")
    pair.b.kill()
    pair.a.until(lambda: not nodes(pair.desk)["b"]["up"], "its silence is seen")
    code, _, said = told(pair.desk, "nodes", "forget", "b", "--yes")
    assert (code, said) == (5, "vcsctl: b has live runs: held.1; `vcsctl why NAME` says what holds their locks\n")
    pair.desk.vcsctl("run", "quick")
    explained = pair.desk.vcsctl("why", "quick").stdout
    assert "waits for group billing, held by held.1 on b\n" in explained
    assert re.search(
        r"^held.1: vcsd on its node b has been silent for .*; its lock is still held, or it would be recorded lost",
        explained,
        re.MULTILINE,
    )
    pair.a.kill()
    pair.a.until(lambda: not nodes(pair.desk)["a"]["up"], "nobody is up")
    assert "and no other node is up that could look whether its lock is free" in pair.desk.vcsctl("why", "quick").stdout
    stopped = told(pair.desk, "stop", "held", "--reason", "from elsewhere")
    assert stopped == (0, "held.1: stop requested\n", "")
    pair.b.until(lambda: list(pair.shared.glob("state/held/1.end.json")), "its runner has seen the wish")


def test_drain_and_resume_are_acknowledged_and_said_twice(pair: Pair) -> None:
    pair.unit("held", HELD.replace("groups", "nodes: [b]\ngroups"))
    pair.unit("onlyb", QUICK.replace("groups: [billing]", "nodes: [b]"))
    pair.start()
    pair.desk.vcsctl("run", "held")
    pair.a.until(lambda: nodes(pair.desk)["b"]["runs"], "b runs it")
    unknown = told(pair.desk, "drain", "bb")
    assert unknown == (4, "", "vcsctl: unknown node bb; did you mean b?\n")
    assert not list(pair.shared.glob("overrides/*"))
    drained = told(pair.desk, "drain", "b", "--reason", "new disk")
    assert drained == (0, "b: drained\nb: held.1 goes on; --wait waits for the end\n", "")
    by = pair.desk.vcsctl("status").stdout.partition("is drained by ")[2].partition(" (")[0]
    again = told(pair.a, "drain", "b")
    assert again[:2] == (
        0,
        f"b: is drained already by {by} (new disk)\nb: held.1 goes on; --wait waits for the end\n",
    )
    assert rows(pair.desk)[2][1] == f"draining (1 run) by {by} (new disk)"
    problem = f"problem: node b is drained by {by} (new disk); `vcsctl resume b` ends it\n"
    assert pair.desk.vcsctl("status").stdout.startswith(problem)
    code, _, said = told(pair.desk, "run", "onlyb")
    assert (code, said) == (0, "vcsctl: no node can take onlyb now: b (drained); the request waits in the queue\n")
    assert "may run on: b (drained)" in pair.desk.vcsctl("why", "onlyb").stdout

    waiting = subprocess.Popen(
        [sys.executable, "-m", "vcsctl.cli.main", "--root", str(pair.desk.root), "drain", "b", "--wait"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout
    assert waiting.stdout.readline().startswith("b: is drained already")
    assert waiting.poll() is None, "held goes on"
    pair.desk.vcsctl("stop", "held")
    assert (waiting.communicate(timeout=20)[0], waiting.returncode) == ("b: nothing runs there\n", 0)
    assert rows(pair.desk)[2][1] == f"drained by {by} (new disk)"
    found = nodes(pair.desk)["b"]
    assert (found["drained"], found["drain"]["reason"], found["asked_to_drain"]) == (True, "new disk", True)
    assert pair.b.history("onlyb") == [], "it starts nothing"

    assert told(pair.desk, "resume", "b") == (0, "b: resumed\n", "")
    assert told(pair.desk, "resume", "b") == (0, "b: is not drained\n", "")
    pair.b.until(lambda: pair.b.history("onlyb"), "what waited has run")
    lines = [json.loads(line) for line in (pair.shared / "audit/desk.jsonl").read_text().splitlines()]
    assert [(line["node"], line["did"], line.get("reason")) for line in lines] == [
        ("b", "drain", "new disk"),
        ("b", "resume", None),
    ]


def test_a_silent_node_is_drained_for_when_it_is_back(pair: Pair) -> None:
    pair.unit("onlyb", QUICK.replace("groups", "nodes: [b]\ngroups"))
    pair.start()
    pair.b.kill()
    pair.a.until(lambda: not nodes(pair.desk)["b"]["up"], "its silence is seen")
    code, said, _ = told(pair.desk, "drain", "b", "--wait")
    assert code == 0
    assert re.fullmatch(
        r"b: drained; it is silent for \d+ s, and will start nothing when it is back\nb: nothing runs there\n", said
    )
    pair.desk.vcsctl("run", "onlyb")
    pair.b.start()
    pair.a.until(lambda: nodes(pair.desk)["b"]["drained"], "it is back and drained")
    assert pair.b.history("onlyb") == []


def test_ctrl_c_ends_the_waiting_and_leaves_the_drain(pair: Pair) -> None:
    pair.unit("held", HELD.replace("groups", "nodes: [b]\ngroups"))
    pair.start()
    pair.desk.vcsctl("run", "held")
    pair.a.until(lambda: nodes(pair.desk)["b"]["runs"], "b runs it")
    terminal, inner = pty.openpty()
    waiting = subprocess.Popen(
        [sys.executable, "-m", "vcsctl.cli.main", "--root", str(pair.desk.root), "drain", "b", "--wait"],
        stdout=subprocess.DEVNULL,
        stderr=inner,
    )
    os.close(inner)
    seen = _read_until(terminal, b"waiting for held.1")
    assert seen == b"\rwaiting for held.1", "a line that is drawn anew in its place"
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(20) == -signal.SIGINT
    assert b"vcsctl: b stays drained; `vcsctl resume b` ends it" in _read_until(terminal, b"ends it")
    os.close(terminal)
    assert nodes(pair.desk)["b"]["drained"]


def _read_until(terminal: int, text: bytes, patience_s: float = 20) -> bytes:
    seen, give_up = b"", time.monotonic() + patience_s
    while text not in seen:
        if not select.select([terminal], [], [], max(0.0, give_up - time.monotonic()))[0]:
            pytest.fail(f"waited in vain for {text!r} after {seen!r}")
        seen += os.read(terminal, 4096)
    return seen.partition(text)[0] + text


def test_what_differs_between_nodes_is_named_and_groups_are_united(pair: Pair) -> None:
    pair.unit("held", HELD)
    pair.unit("same", QUICK)
    pair.start()
    pair.b.unit("held", HELD.replace("billing", "billing, stats").replace("period: 60", "period: 30"))
    pair.b.unit("extra", QUICK.replace("groups", "nodes: [b]\ngroups"))
    pair.b.vcsctl("reload")
    shown = pair.a.vcsctl("status")
    assert shown.stdout.startswith("problem: node b differs: extra (only there), held (groups, period)\n")
    assert "\n  disabled *  extra" in shown.stdout
    assert "problem: node b differs: held (groups, period)\n" in pair.a.vcsctl("status", "held").stdout
    assert "problem" not in pair.a.vcsctl("status", "same").stdout
    assert nodes(pair.desk)["b"]["units_differ"] == {"extra": "only there", "held": "groups, period"}
    assert rows(pair.desk)[1][-1] == "as most"
    assert rows(pair.desk)[2][-1] == "differ: extra (only there), held (groups, period)"
    explained = pair.a.vcsctl("why", "held").stdout
    assert "\nnode b differs: groups, period\n" in explained
    assert "\ngroups: the nodes disagree; a run takes those of all known nodes: billing, stats\n" in explained
    ran = pair.a.vcsctl("run", "extra", "--wait")
    assert (ran.returncode, ran.stderr) == (0, ""), "what only another node declares can be run from here"
    pair.b.unit("held", "")
    pair.b.vcsctl("reload")
    assert "problem: node b differs: held (masked there)\n" in pair.a.vcsctl("status", "held").stdout
    pair.b.unit("held", HELD)
    (pair.b.units / "extra.yaml").unlink()
    pair.b.vcsctl("reload")
    assert "problem" not in pair.a.vcsctl("status").stdout


def test_a_node_that_claims_nothing_says_why_and_its_clock_judges_nobody(pair: Pair) -> None:
    """What a node with a wrong clock publishes, on a server that lets the writer stamp the file."""
    pair.unit("onlyc", QUICK.replace("groups", "nodes: ['label:odd']\ngroups"))
    pair.start()
    why = "the clock of node c is 3600 s ahead of the file server's: it claims nothing; set it right"
    now = datetime.now(UTC)
    wrong = NodeState("c", 1, "boot", 1, now, 1.0, ("odd",), ("one fault",), "h", "m", 3600.0, 0.1, False, why)
    publish_state(Paths(str(pair.shared)), wrong)
    ahead = time.time() + 3600
    os.utime(pair.shared / "nodes/c.json", (ahead, ahead))
    a, b, c = rows(pair.desk)[1:]
    assert (a[1], b[1]) == ("up", "up")
    assert c[:2] == ["c", f"claims nothing: {why}"]
    assert c[3:] == ["h", "odd", "+3600.0 s", "-", "none to be read"]
    shown = pair.a.vcsctl("status").stdout.splitlines()
    assert shown[:2] == ["problem: on c: one fault", f"problem: {why}"]
    answer = json.loads(pair.a.vcsctl("status", "--output", "json").stdout)
    assert answer["problems"] == shown[:2]
    publish_state(Paths(str(pair.shared)), replace(wrong, node="d", claims_nothing=""))
    assert pair.a.vcsctl("status").stdout.startswith("problem: on c, d: one fault\n"), "what two say is said once"
    assert "*  onlyc" not in pair.a.vcsctl("status").stdout
    for gone in ("c", "d"):
        (pair.shared / f"nodes/{gone}.json").unlink()
    assert "\n  no known node may run it (allowed: label:odd)\n" in pair.a.vcsctl("status", "onlyc").stdout


def test_strangers_among_the_nodes_files_hinder_nobody(site: Any) -> None:
    site.configure("node: a\nheartbeat: 1s\n")
    site.unit("quick", QUICK)
    site.start()
    folder = site.shared / "nodes"
    (folder / "x y.units.json").write_text("{}")
    (folder / "d.json").mkdir()
    (folder / "e.units.json").write_text("not json")
    (folder / "f.json").write_text('{"version": 1, "node": "a"}')
    (folder / "g.units.json").symlink_to("/etc/passwd")
    os.mkfifo(folder / "h.units.json")
    (site.shared / "overrides/k.drained").write_text("")
    assert [row[0] for row in rows(site)] == ["NODE", "a", "e", "g", "h"]
    assert [row[-1] for row in rows(site)[2:]] == ["none to be read"] * 3
    shown = site.vcsctl("status").stdout.splitlines()  # and by its next heartbeat a tells of d.json, perhaps
    gone = "problem: node {0} has no heartbeat; its vcsd is only just starting, or it is gone: vcsctl nodes forget {0}"
    assert [line for line in shown if line.startswith("problem: node")] == [gone.format(node) for node in "egh"]
    ran = site.vcsctl("run", "quick", "--wait")
    assert (ran.returncode, ran.stderr) == (0, "")
    for node in "egh":
        assert told(site, "nodes", "forget", node, "--yes")[0] == 0
    assert [row[0] for row in rows(site)] == ["NODE", "a"]
    assert told(site, "resume", "k") == (0, "k: resumed; it is not known here\n", "")
    assert told(site, "resume", "k")[0] == 4
    for name in ("../a", "", "a/b", "x" * 300):
        for command in (("drain",), ("resume",), ("nodes", "forget")):
            code, _, said = told(site, *command, name)
            assert (code, "Traceback" in said) == (4, False), (command, name)
