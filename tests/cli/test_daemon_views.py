"""How commands show daemons, from files as vcsd and runners leave them; no vcsd runs here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from disks import SINCE, Files

from vcsctl.domain.daemon import Order
from vcsctl.domain.run import Claim
from vcsctl.domain.unit import Daemon, Health, Reload, Unit, from_plain, to_plain
from vcsctl.store import daemons, nodes, state

RADIUS = Daemon(name="radius", exec=("/bin/sleep", "1000"), reload=Reload(signal="HUP"))
WATCHER = Daemon(name="watcher", exec=("/bin/sleep", "1000"), run_on="any", health=Health(tcp="127.0.0.1:1"))
OFF = Daemon(name="off", exec=("/bin/sleep", "1000"), enabled=False)
TIMED: Unit = from_plain({"schedule": "periodical", "name": "calc", "period": 5, "exec": ["/bin/true"]})


@pytest.fixture
def disk(tmp_path: Path) -> Files:
    return Files(tmp_path, RADIUS, WATCHER, OFF, TIMED)


def test_an_each_daemon_is_one_line_with_those_that_are_not_up_named(disk: Files) -> None:
    disk.publish("b", disk.told("radius@b", "b", restarts=2))
    disk.publish("c", disk.told("radius@c", "c"))
    disk.tell_here(disk.told("radius@a", "a", restarts=1))
    assert disk.line("radius") == "up on 2 of 3 (a, b), 3 restarts; c unknown"
    disk.publish("b", disk.told("radius@b", "b", phase="waiting"))
    assert disk.line("radius") == "up on 1 of 3 (a), 1 restart; b waiting to restart since TIME, c unknown"


def test_nothing_is_up_that_only_a_silent_node_has_called_up(disk: Files) -> None:
    disk.publish("c", disk.told("radius@c", "c"))
    found = disk.instances("radius")
    assert found["c"]["state"] == "unknown"
    assert re.fullmatch(r"node c is silent since .*; it was up then, since .*", found["c"]["why"])
    assert "radius@c on c: unknown: node c is silent since TIME; it was up then, since TIME\n" in disk.shown(
        "status", "radius"
    )


def test_on_its_own_node_the_runners_word_counts_and_a_dead_runners_does_not(disk: Files) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    disk.publish("a", disk.told("radius@a", "a", memory_kib=2048, cpu_s=3.0))
    assert disk.instances("radius")["a"]["state"] == "not running", "published, and its runner has gone since"
    disk.tell_here(disk.told("radius@a", "a", phase="stopping"))
    found = disk.instances("radius")["a"]
    assert (found["state"], found["memory_kib"], found["cpu_s"]) == ("stopping", 2048, 3.0)
    disk.tell_here(disk.told("radius@a", "a", runner=ended.pid))
    assert disk.instances("radius")["a"]["state"] == "not running"


def test_any_daemon_is_shown_where_it_is_active_and_the_others_stand_by(disk: Files) -> None:
    disk.publish("b", disk.told("watcher", "b", restarts=1))
    assert disk.line("watcher") == "up on b since TIME, 1 restart"
    found = disk.instances("watcher")
    assert {node: one["state"] for node, one in found.items()} == {"b": "up", "a": "stands by", "c": "unknown"}
    assert "watcher on a: stands by: active on b\n" in disk.shown("status", "watcher")


@pytest.mark.parametrize(
    ("cause", "outcome", "state", "remedy"),
    [
        ("start-limit", "failed", "failed", "; `vcsctl reset-failed watcher` starts it again"),
        ("not-ready", "failed", "failed", "; `vcsctl restart watcher` starts it again"),
        ("stop-requested", "stopped", "stopped", ""),
        ("exited", "ok", "exited", ""),
        ("runner-died", "lost", "not running", ""),
    ],
)
def test_how_the_last_run_ended_says_how_a_daemon_is(
    disk: Files, cause: str, outcome: str, state: str, remedy: str
) -> None:
    disk.ended("watcher", "a", cause, outcome, "as it was")
    assert disk.instances("watcher")["a"]["state"] == state
    shown = disk.shown("status")
    if remedy:
        assert f"problem: watcher failed on a: as it was{remedy}\n" in shown
    else:
        assert "watcher failed" not in shown
    assert "  last run: watcher.1 on a, " in disk.shown("status", "watcher")


def test_what_keeps_a_daemon_down_is_named(disk: Files) -> None:
    assert disk.line("off") == "-", "its status says it"
    disk.declare(replace(WATCHER, exec=("/nonexistent",)), missing="/nonexistent")
    assert disk.line("watcher") == "program missing on a: /nonexistent"
    nodes.ask_to_drain(disk.paths, nodes.Drain("b", "eve", "new disk"))
    disk.declare(RADIUS)
    assert disk.instances("radius")["b"]["why"] == "node b is drained by eve (new disk)"


def test_all_that_is_known_of_one_daemon_is_shown(disk: Files) -> None:
    log = disk.site.root / "var/log/vcs/radius/radius@a.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(20)) + "\x1b]0;evil\x07\n")
    told = disk.told(
        *("radius@a", "a"),
        restarts=3,
        says="serving 7 switches",
        healthy=False,
        health_why="no answer within 5 s (3 times)",
        last_exit="killed by signal 9",
        last_exit_at=SINCE,
        log=str(log),
        memory_kib=12_595,
        cpu_s=61.0,
    )
    disk.tell_here(told)
    disk.publish("a", told)
    shown = re.sub(r"2h\d\dm ago", "2h ago", disk.shown("status", "radius"))
    assert "problem: radius is not healthy on a: no answer within 5 s (3 times)\n" in shown
    expected = f"""\
radius@a on a: up since TIME
  main process: 4711, started TIME (2h ago)
  run: radius@a.1, restarts: 3
  last exit: killed by signal 9, at TIME
  memory: 12.3 MiB, CPU: 1m01s
  health: bad: no answer within 5 s (3 times)
  says: serving 7 switches
  log: {log}
    line 11
"""
    assert expected in shown
    assert "    line 19\n    ?]0;evil?\n" in shown
    answer = json.loads(disk.site.vcsctl("status", "radius", "--output", "json").stdout)
    assert answer["log_lines"]["radius@a"][0] == "line 11"
    one = answer["services"][0]["instances"][0]
    assert (one["pid"], one["restarts"], one["says"], one["healthy"]) == (4711, 3, "serving 7 switches", False)


def test_what_of_a_changed_unit_counts_only_after_a_restart_is_said(disk: Files) -> None:
    claim = Claim("watcher", 1, "watcher", "a", "daemon", "wanted", unit=to_plain(WATCHER))
    draft = state.draft_claim(disk.paths, claim)
    draft.link()
    draft.discard()
    told = disk.told("watcher", "a")
    disk.tell_here(told)
    disk.publish("a", told)
    sentence = "its unit changed since (restart, health); in force after `vcsctl restart watcher`\n"
    for command in ("status", "why"):
        assert "changed since" not in disk.shown(command, "watcher")
    disk.declare(replace(WATCHER, health=None, restart="never", title="Other"))
    for command in ("status", "why"):
        assert f"  {sentence}" in disk.shown(command, "watcher")


def test_while_the_share_is_away_status_says_what_the_runners_here_tell(disk: Files) -> None:
    disk.tell_here(disk.told("radius@a", "a"))
    disk.site.configure("node: a\ncell: not-this-one\n")
    done = disk.site.vcsctl("status")
    assert (done.returncode, done.stdout) == (5, ""), "the wrong directory is not one that is away"
    disk.site.configure("node: a\ncell: not-there\nshared_dir: /var/lib/vcs/away\n")
    done = disk.site.vcsctl("status")
    assert done.returncode == 75
    assert "does not hold cell not-there" in done.stderr
    assert re.search(r"daemons of this machine, as their runners tell:\n  radius@a on a: up since ", done.stdout)
    assert "radius@a" in disk.site.vcsctl("status", "--output", "json").stdout


def test_logs_of_a_daemon_go_on_over_its_runs_and_over_a_rotation(disk: Files) -> None:
    log = disk.site.root / "var/log/vcs/radius/radius@a.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n")
    assert disk.site.vcsctl("logs", "radius").stdout == "old\n"
    refused = disk.site.vcsctl("logs", "radius", "--run", "radius@a.1")
    assert refused.returncode == 2
    assert "goes on over all its runs; leave --run out" in refused.stderr
    seen = disk.site.root / "seen"
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(disk.site.root), "logs", "radius", "-f"]
    with seen.open("wb") as file:
        following = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        (disk.site.root / "vcsd.log").touch()
        disk.site.until(lambda: seen.read_text() == "old\n", "it is printed")
        log.rename(f"{log}.1")
        log.write_text("renamed\n")
        disk.site.until(lambda: seen.read_text() == "old\nrenamed\n", "it follows to the new file")
        os.truncate(log, 0)
        with log.open("a") as more:
            more.write("cut\n")
        disk.site.until(lambda: seen.read_text() == "old\nrenamed\ncut\n", "it follows where the file was emptied")
    finally:
        following.terminate()
        following.wait()


def test_of_a_daemons_log_those_files_are_shown_that_were_written_to_since_then(disk: Files) -> None:
    folder = disk.site.root / "var/log/vcs/radius"
    folder.mkdir(parents=True)
    for number, hours_ago in ((3, 9), (2, 5), (1, 3)):
        part = folder / f"radius@a.log.{number}"
        part.write_text(f"part {number}\n")
        os.utime(part, (time.time() - 3600 * hours_ago,) * 2)
    (folder / "radius@a.log").write_text("now\n")
    shown = disk.site.vcsctl("logs", "radius", "--since", "4h")
    assert shown.stdout == "part 1\nnow\n"
    assert shown.stderr.startswith(
        "vcsctl: the log of a daemon bears no times: shown are those of its files that were "
    )
    assert disk.site.vcsctl("logs", "radius", "--since", "6h", "-n", "9").stdout == "part 2\npart 1\nnow\n"
    assert disk.site.vcsctl("logs", "radius").stdout == "part 3\npart 2\npart 1\nnow\n"


MISTAKES = [
    (("restart", "radiu"), 4, "unknown service radiu; did you mean radius?"),
    (("reset-failed", "radiu"), 4, "unknown service radiu; did you mean radius?"),
    (("reload", "radiu"), 4, "unknown service radiu; did you mean radius?"),
    (("restart", "calc"), 5, "calc is no daemon: `vcsctl run calc` requests a run of it, `vcsctl stop calc` ends one"),
    (
        ("reset-failed", "calc"),
        5,
        "calc is no daemon: each of its slots starts anew, whatever became of the one before",
    ),
    (("reload", "calc"), 5, "calc is no daemon: `vcsctl reload` without a name reads the unit files again"),
    (
        ("reload", "watcher"),
        5,
        "watcher: its unit has no `reload`; `vcsctl restart watcher` does as much, with a pause",
    ),
    (("reload", "--node", "a"), 2, "--node goes with the name of a daemon"),
    (("restart", "off"), 5, "off is disabled; `vcsctl enable off` starts it"),
    (("run", "radius"), 5, "radius is a daemon: it is kept up, not run; `vcsctl restart radius` restarts it"),
    (("restart", "watcher", "--node", "a"), 5, "watcher runs on any one of its nodes, not on each; leave --node out"),
    (("restart", "radius", "--node", "x"), 4, "unknown node x; `vcsctl nodes` lists them all"),
    (("stop", "off"), 3, "off is not running"),
    (("stop", "radius", "--node", "b"), 3, "radius is not running on b"),
    (("restart", "radius", "--node", "c"), 3, "radius@c: vcsd on node c is silent for 1h0"),
    (("restart", "radius", "--node", "a"), 3, "radius@a: no vcsd answers on this machine"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES])
def test_a_mistake_is_answered_at_once_and_nothing_is_ordered(
    disk: Files, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = disk.site.vcsctl(*arguments)
    assert done.returncode == code, done
    assert sentence in done.stderr, done
    assert "Traceback" not in done.stderr
    assert not list(disk.site.shared.glob("queue/*"))


def test_an_order_that_nobody_takes_up_is_taken_back_when_its_node_falls_silent(disk: Files) -> None:
    disk.publish("b", disk.told("radius@b", "b"))
    disk.beat("b", heartbeat_s=1.0)
    done = disk.site.vcsctl("restart", "radius", "--node", "b")
    assert (done.returncode, done.stderr) == (
        1,
        "vcsctl: radius@b: vcsd on node b fell silent; the order was taken back\n",
    )
    assert not list(disk.site.shared.glob("queue/*"))


def test_an_order_names_what_is_wanted_of_which_daemon_and_by_whom(disk: Files) -> None:
    disk.publish("b", disk.told("radius@b", "b"))
    done = disk.site.vcsctl("restart", "radius", "--node", "b", "--no-wait", "--reason", "new secret")
    assert (done.returncode, done.stdout) == (0, "radius@b: restart asked for\n")
    (found,) = daemons.orders(disk.paths, daemons.Faults())
    assert isinstance(found.value, Order)
    assert (found.value.key, found.value.do, found.value.node) == ("radius@b", "restart", "a")
    assert found.value.reason == "new secret"


def test_enable_and_disable_say_what_follows(disk: Files) -> None:
    assert disk.shown("enable", "off") == ("off: enabled; starts on a, b; not now on c (silent for 1h00m)\n")
    disk.publish("b", disk.told("radius@b", "b"))
    shown = disk.shown("disable", "radius")
    assert shown.startswith("radius: disabled; stops on b; on c (node c is silent since TIME) when its vcsd is back")
    assert disk.shown("disable", "radius") == "radius: is disabled already\n"
    disk.ended("watcher", "a", "stop-requested", "stopped", "stopped by eve on a")
    assert "watcher: is enabled already; stopped on a" in disk.shown("enable", "watcher")
