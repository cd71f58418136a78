"""Daemons under real vcsds, as operators deal with them: in a cell of two nodes and from a machine that is none."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

Pair = Any
Site = Any
SLEEP = "schedule: daemon\nexec: [/bin/sleep, 1000]\n"
ANY = f"{SLEEP}run_on: any\n"
BAD = "schedule: daemon\nstart_limit: 2 in 60s\nrestart_delay: 50ms\nexec: [/bin/sh, -c, exit 3]\n"


def instances(site: Site, name: str) -> dict[str, dict[str, Any]]:
    answer = json.loads(site.vcsctl("status", name, "--output", "json").stdout)
    return {one["node"]: one for one in answer["services"][0]["instances"]}


def states(site: Site, name: str) -> dict[str, str]:
    return {node: one["state"] for node, one in instances(site, name).items()}


def up_on_both(pair: Pair, name: str = "radius") -> None:
    pair.a.until(lambda: states(pair.desk, name) == {"a": "up", "b": "up"}, "it is up on both nodes")


def test_a_daemon_is_seen_from_another_machine(pair: Pair) -> None:
    pair.unit("radius", SLEEP)
    pair.unit("watcher", ANY)
    pair.start()
    up_on_both(pair)
    pair.a.until(lambda: "up" in states(pair.desk, "watcher").values(), "one node has it")
    shown = pair.desk.vcsctl("status").stdout
    assert re.search(r"radius .* up on 2 of 2 since \d", shown)
    assert re.search(r"watcher .* up on [ab] since \d", shown)
    assert sorted(states(pair.desk, "watcher").values()) == ["stands by", "up"]
    why = pair.desk.vcsctl("why", "watcher").stdout
    assert re.search(r"stands by: active on [ab]\n", why)
    assert re.search(r"now: runs as watcher\.\d", why)


def test_a_daemon_of_a_dead_node_is_not_said_to_be_up(pair: Pair) -> None:
    pair.unit("radius", SLEEP)
    pair.start()
    up_on_both(pair)
    pair.b.power_off()
    pair.a.until(lambda: states(pair.desk, "radius")["b"] == "unknown", "the silence is seen")
    assert "up on 1 of 2 (a); b unknown" in pair.desk.vcsctl("status").stdout
    assert "node b is silent since " in pair.desk.vcsctl("why", "radius", "--node", "b").stdout
    refused = pair.desk.vcsctl("restart", "radius", "--node", "b")
    assert refused.returncode == 3
    assert "radius@b: vcsd on node b is silent for " in refused.stderr
    assert not list(pair.shared.glob("queue/*"))


def test_restart_rolls_over_the_nodes_and_waits_for_each(pair: Pair, tmp_path: Path) -> None:
    """Each says when it begins to start and when it is ready: they must not overlap."""
    log = tmp_path / "rolled"
    script = f"echo begin $VCS_NODE >> {log}; sleep 0.5; echo ready $VCS_NODE >> {log}; : > {tmp_path}/ready.$VCS_NODE; sleep 1000"
    ready = f"ready: {{exec: [/bin/sh, -c, 'test -e {tmp_path}/ready.$VCS_NODE']}}\n"
    pair.unit("radius", f"schedule: daemon\nexec: [/bin/sh, -c, '{script}']\nstop_timeout: 1s\n{ready}")
    pair.start()
    up_on_both(pair)
    log.unlink()
    for node in "ab":
        (tmp_path / f"ready.{node}").unlink()
    before = instances(pair.desk, "radius")
    done = pair.desk.vcsctl("restart", "radius")
    assert done.returncode == 0, done
    assert re.fullmatch(
        r"radius@a: restarted, up as radius@a\.\d+, process \d+\nradius@b: restarted, up as radius@b\.\d+, process \d+\n",
        done.stdout,
    )
    assert log.read_text().split() == ["begin", "a", "ready", "a", "begin", "b", "ready", "b"]
    after = instances(pair.desk, "radius")
    assert all(before[node]["pid"] != after[node]["pid"] for node in "ab")


def test_a_roll_stops_where_one_does_not_come_back(pair: Pair, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.touch()
    ready = f"ready: {{exec: [/bin/sh, -c, 'test -e {good}']}}\nstart_timeout: 1s\nrestart: never\n"
    pair.unit("radius", f"{SLEEP}{ready}")
    pair.start()
    up_on_both(pair)
    good.unlink()
    done = pair.desk.vcsctl("restart", "radius")
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert re.match(r"vcsctl: radius@a: .*; not restarted: radius@b\n$", done.stderr), done.stderr
    assert states(pair.desk, "radius")["b"] == "up", "it was left alone"


def test_ctrl_c_says_where_a_roll_was(pair: Pair, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.touch()
    pair.unit("radius", f"{SLEEP}ready: {{exec: [/bin/sh, -c, 'test -e {good}']}}\n")
    pair.start()
    up_on_both(pair)
    good.unlink()
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(pair.desk.root), "restart", "radius"]
    rolling = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pair.a.until(lambda: states(pair.desk, "radius")["a"] == "starting", "the first is being restarted")
    rolling.send_signal(signal.SIGINT)
    output, error = rolling.communicate(timeout=20)
    assert (rolling.returncode, output) == (-signal.SIGINT, "")
    assert error == "vcsctl: radius@a was asked to restart and goes on by itself; not restarted: radius@b\n"


def test_stop_holds_until_restart_and_from_any_machine(pair: Pair) -> None:
    pair.unit("radius", SLEEP)
    pair.unit("watcher", ANY)
    pair.start()
    up_on_both(pair)
    stopped = pair.desk.vcsctl("stop", "radius", "watcher", "--reason", "new disk")
    assert stopped.returncode == 0, stopped
    assert "radius@b: stopped (stopped by " in stopped.stdout or "radius@b: stopped\n" in stopped.stdout
    assert "radius: stays so until `vcsctl restart radius`, a changed unit or a reboot\n" in stopped.stdout
    pair.a.until(lambda: states(pair.desk, "radius") == {"a": "stopped", "b": "stopped"}, "both are on record")
    assert "new disk" in pair.desk.vcsctl("why", "radius").stdout
    assert pair.desk.vcsctl("stop", "radius").returncode == 3
    one = pair.desk.vcsctl("restart", "radius", "--node", "b")
    assert one.returncode == 0, one
    assert states(pair.desk, "radius") == {"a": "stopped", "b": "up"}


def test_a_failed_daemon_is_a_problem_until_it_is_reset(pair: Pair) -> None:
    pair.unit("bad", BAD)
    pair.start()
    pair.a.until(lambda: states(pair.desk, "bad") == {"a": "failed", "b": "failed"}, "both are given up")
    shown = pair.desk.vcsctl("status").stdout
    assert re.search(r"problem: bad failed on a: .*its start limit; `vcsctl reset-failed bad` starts it again\n", shown)
    assert "start limit" in pair.a.vcsctl("why", "bad", "--node", "a").stdout
    runs = {node: one["why"] for node, one in instances(pair.desk, "bad").items()}
    reset = pair.desk.vcsctl("reset-failed", "bad", "--node", "a")
    assert (reset.returncode, reset.stdout) == (0, "bad@a: reset; it is started again where it is wanted\n"), reset
    pair.a.until(lambda: len({row["id"] for row in pair.a.history("bad") if row["node"] == "a"}) > 1, "it ran anew")
    assert runs["b"] == instances(pair.desk, "bad")["b"]["why"]


def test_a_reload_that_fails_is_told(site: Site, tmp_path: Path) -> None:
    good, key = tmp_path / "good", f"radius@{os.uname().nodename}"
    script = f"sleep 0.3; test -e {good}"
    site.unit("radius", f'schedule: daemon\nreload: {{exec: [/bin/sh, -c, "{script}"]}}\nexec: [/bin/sleep, "600"]\n')
    site.start()
    site.until(lambda: states(site, "radius").get(os.uname().nodename) == "up", "it is up")
    failed = site.vcsctl("reload", "radius")
    assert (failed.returncode, failed.stderr) == (1, f"vcsctl: {key}: not reloaded: exited with code 1\n"), failed
    good.touch()
    done = site.vcsctl("reload", "radius")
    assert (done.returncode, done.stdout.partition(",")[0]) == (0, f"{key}: reloaded"), done


def test_a_reload_ordered_while_another_is_under_way_is_one_of_its_own(site: Site, tmp_path: Path) -> None:
    key, begun, go = f"radius@{os.uname().nodename}", tmp_path / "begun", tmp_path / "go"
    script = f"echo >> {begun}; n=$(wc -l < {begun}); until test -e {go}$n; do sleep 0.02; done; test $n = 1"
    site.unit("radius", f'schedule: daemon\nreload: {{exec: [/bin/sh, -c, "{script}"]}}\nexec: [/bin/sleep, "600"]\n')
    site.start()
    site.until(lambda: states(site, "radius").get(os.uname().nodename) == "up", "it is up")
    command, asked = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), "reload", "radius"], []
    for count in (1, 2):
        asked.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        site.until(
            lambda count=count: (site.root / "vcsd.log").read_text().count("is told to reload") == count,
            f"{count} are taken up",
        )  # type: ignore[misc]
        site.until(begun.exists, "the first is under way")
    Path(f"{go}1").touch()
    output = asked[0].communicate(timeout=60)[0]
    assert (asked[0].returncode, output.partition(",")[0]) == (0, f"{key}: reloaded")
    Path(f"{go}2").touch()
    error = asked[1].communicate(timeout=60)[1]
    assert (asked[1].returncode, error) == (1, f"vcsctl: {key}: not reloaded: exited with code 1\n")


def test_reload_reaches_the_process_and_keeps_it(site: Site, tmp_path: Path) -> None:
    script = f'trap "echo again >> {tmp_path}/seen" USR1; echo up > {tmp_path}/seen; while :; do sleep 0.05; done'
    site.unit("radius", f"schedule: daemon\nreload: {{signal: USR1}}\nexec: [/bin/sh, -c, '{script}']\n")
    site.start()
    site.until(lambda: (tmp_path / "seen").exists(), "it is up")
    site.until(lambda: states(site, "radius")[os.uname().nodename] == "up", "and is said to be")
    pid = instances(site, "radius")[os.uname().nodename]["pid"]
    done = site.vcsctl("reload", "radius")
    assert (done.returncode, done.stdout) == (0, f"radius@{os.uname().nodename}: reloaded, process {pid}\n"), done
    site.until(lambda: (tmp_path / "seen").read_text() == "up\nagain\n", "the signal has come")


def test_with_vcsd_dead_a_daemon_is_seen_and_can_be_stopped_here(site: Site) -> None:
    site.configure("heartbeat: 1s\n")
    site.unit("radius", SLEEP)
    site.unit("watcher", ANY)
    site.start()
    node = os.uname().nodename
    for name in ("radius", "watcher"):
        site.until(lambda name=name: states(site, name) == {node: "up"}, f"{name} is up")  # type: ignore[misc]
    site.kill()
    site.until(lambda: "has been silent" in site.vcsctl("status").stdout, "its silence is seen")
    assert states(site, "radius") == {node: "up"}, "its runner says so itself"
    refused = site.vcsctl("restart", "radius")
    assert refused.returncode == 3
    assert "no vcsd answers on this machine" in refused.stderr
    pids = [instances(site, name)[node]["pid"] for name in ("radius", "watcher")]
    assert site.vcsctl("stop", "radius", "watcher").returncode == 0
    site.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "both are gone")


def test_enable_and_disable_start_and_stop_a_daemon(site: Site) -> None:
    node = os.uname().nodename
    site.unit("radius", f"{SLEEP}enabled: false\n")
    site.start()
    enabled = site.vcsctl("enable", "radius")
    assert (enabled.returncode, enabled.stdout) == (0, f"radius: enabled; starts on {node}\n"), enabled
    site.until(lambda: states(site, "radius") == {node: "up"}, "it is started")
    disabled = site.vcsctl("disable", "radius")
    assert (disabled.returncode, disabled.stdout) == (0, f"radius: disabled; stops on {node}\n"), disabled
    site.until(lambda: states(site, "radius") == {node: "disabled"}, "it is stopped")
    assert "stopped by root on" not in site.vcsctl("why", "radius").stdout
