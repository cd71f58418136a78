"""The main job for real: real vcsd, real runners, real locks, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vcsctl import steps

Site = Any


def job(log: Path, seconds: float = 0.05) -> str:
    """A unit whose job writes its own start and end, taken inside the job."""
    script = f"echo start $(date +%s%N) $VCS_RUN_ID >> {log}; sleep {seconds}; echo end $(date +%s%N) >> {log}"
    return f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/sh, -c, '{script}']\n"


def test_two_services_of_one_group_run_one_after_the_other(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "times"
    site.unit("one", job(log, 0.3))
    site.unit("two", job(log, 0.3))
    site.start()
    assert site.vcsctl("run", "one", "two").returncode == 0
    site.until(
        lambda: "two" in site.vcsctl("queue").stdout or len(site.history("two")) == 1, "two is seen in the queue"
    )
    site.until(lambda: site.history("one") and site.history("two"), "both have run")
    words = [line.split()[0] for line in log.read_text().splitlines()]
    assert words == ["start", "end", "start", "end"]


def test_a_failed_run_says_its_exit_code(site: Site) -> None:
    site.unit("bad", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sh, -c, exit 7]\n")
    site.start()
    done = site.vcsctl("run", "bad", "--wait")
    assert (done.returncode, "failed: exited with code 7" in done.stdout) == (7, True)


def test_a_job_survives_vcsd_and_its_status_is_recorded(site: Site, tmp_path: Path) -> None:
    site.unit(
        "long",
        f"schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sh, -c, 'sleep 1.5; touch {tmp_path}/done; exit 4']\n",
    )
    site.start()
    site.vcsctl("run", "long")
    site.until(lambda: list(site.shared.glob("state/long/*.started")), "it has started")
    site.kill()
    site.until(lambda: list(site.shared.glob("state/long/*.end.json")), "the runner has recorded the outcome")
    assert (tmp_path / "done").exists()
    site.start()
    site.until(lambda: site.history("long"), "the history has it")
    assert [(row["outcome"], row["exit_code"]) for row in site.history("long")] == [("failed", 4)]


def test_a_timeout_is_kept_while_vcsd_is_dead(site: Site) -> None:
    site.unit("slow", "schedule: periodical\nperiod: 60\nenabled: false\ntimeout: 1s\nexec: [/bin/sleep, 60]\n")
    site.start()
    site.vcsctl("run", "slow")
    site.until(lambda: list(site.shared.glob("state/slow/*.started")), "it has started")
    site.kill()
    site.until(lambda: list(site.shared.glob("state/slow/*.end.json")), "the timeout is recorded", 10)
    site.start()
    site.until(lambda: site.history("slow"), "the history has it")
    assert site.history("slow")[0]["outcome"] == "timeout"


def test_a_job_that_ignores_term_is_killed_after_stop_timeout(site: Site) -> None:
    site.unit(
        "deaf",
        "schedule: periodical\nperiod: 60\nenabled: false\nstop_timeout: 500ms\n"
        "exec: [/bin/sh, -c, \"trap '' TERM; while :; do sleep 0.1; done\"]\n",
    )
    site.start()
    site.vcsctl("run", "deaf")
    site.until(lambda: list(site.shared.glob("state/deaf/*.started")), "it has started")
    assert site.vcsctl("stop", "deaf", "--reason", "test").returncode == 0
    site.until(lambda: site.history("deaf"), "it is over", 10)
    row = site.history("deaf")[0]
    assert (row["outcome"], row["signal"]) == ("stopped", signal.SIGKILL)


DOUBLE_FORK = """
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print("out", flush=True)
    os.write(writer, str(os.getpid()).encode())
    time.sleep(300)
os.wait()
open({path!r}, "w").write(os.read(reader, 20).decode())
"""
cgroups_or_not = pytest.mark.parametrize("with_cgroups", [True, False], ids=["cgroups", "no cgroups"])


@cgroups_or_not
def test_a_job_that_double_forks_and_keeps_its_stdout_ends_with_its_run(
    site: Site, tmp_path: Path, with_cgroups: bool
) -> None:
    (tmp_path / "fork.py").write_text(DOUBLE_FORK.format(path=str(tmp_path / "pid")))
    site.unit("fork", f"schedule: periodical\nperiod: 60\nenabled: false\nexec: [python3, {tmp_path}/fork.py]\n")
    site.start(with_cgroups=with_cgroups)
    assert site.vcsctl("run", "fork", "--wait").returncode == 0
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    assert site.vcsctl("logs", "fork").stdout == "out\n"


@cgroups_or_not
def test_a_killed_runner_leaves_nothing_and_is_recorded_as_lost(site: Site, tmp_path: Path, with_cgroups: bool) -> None:
    code = "import subprocess; subprocess.run(['sleep', '300'])"
    site.unit("py", f'schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: [python3, -c, "{code}"]\n')
    site.start(with_cgroups=with_cgroups)
    site.vcsctl("run", "py")
    site.until(lambda: list(site.shared.glob("state/py/*.started")), "it has started")
    runner = json.loads((site.shared / "state/py/1.started").read_text())["pid"]
    site.until(lambda: len(_descendants(runner)) >= 2, "the job has its child")
    family = _descendants(runner)
    os.kill(runner, signal.SIGKILL)
    site.until(lambda: site.history("py"), "it is recorded")
    assert site.history("py")[0]["outcome"] == "lost"
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def _descendants(root: int) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found: list[int] = []
    todo = [root]
    while todo:
        parent = todo.pop()
        children = [pid for pid, up in parents.items() if up == parent]
        found += children
        todo += children
    return found


def test_a_runner_keeps_nothing_of_vcsd_and_a_command_only_its_locks(site: Site) -> None:
    for name in ("a", "b"):
        site.unit(name, f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g{name}]\nexec: [/bin/sleep, 5]\n")
    site.start()
    site.vcsctl("run", "a", "b")
    site.until(lambda: len(list(site.shared.glob("state/*/*.started"))) == 2, "both have started")
    for name in ("a", "b"):
        runner = json.loads((site.shared / f"state/{name}/1.started").read_text())["pid"]
        site.until(lambda runner=runner: _descendants(runner), "the command is there")
        for pid in (runner, *_descendants(runner)):
            held = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
            files = {path for path in held if path.startswith(str(site.root))}
            assert files == {
                str(site.shared / f"locks/key/{name}"),
                str(site.shared / f"locks/group/g{name}"),
                str(site.root / f"var/log/vcs/{name}/{name}.1.log"),
            }
            assert not [path for path in held if "socket" in path or "eventpoll" in path]


@pytest.mark.parametrize("step", steps.STEPS, ids=lambda step: step.replace(" ", "-"))
def test_a_crash_after_any_step_is_resolved_once(site: Site, tmp_path: Path, step: str) -> None:
    log = tmp_path / "times"
    site.unit("one", job(log))
    site.start()
    site.stop()
    site.vcsctl("run", "one")
    site.start(crash_after=step)
    if step in steps.CLAIM or step in ("runner forked", "run reaped", "history written", "records pruned"):
        site.until(lambda: site.vcsd.poll() is not None or site.history("one"), f"vcsd is dead after {step}")
    else:
        site.until(lambda: site.history("one"), "vcsd has recorded what became of it")
    site.stop()
    assert (site.root / "crashed").exists(), f"the step {step} was never reached"
    site.start()
    site.until(lambda: site.history("one"), "the run has an outcome")
    rows = [row for row in site.history("one") if "+" not in row["id"]]
    starts = [line for line in log.read_text().splitlines() if line.startswith("start")] if log.exists() else []
    assert len(rows) == 1, rows
    assert len(starts) <= 1, starts
    assert rows[0]["outcome"] == "ok" or (rows[0]["outcome"] == "lost" and step in steps.START + steps.OUTCOME), rows
    assert site.vcsctl("queue").stdout == ""


@pytest.mark.parametrize("with_cgroups", [True, False])
def test_a_run_whose_lock_files_were_removed_stops_and_is_not_doubled(
    site: Site, tmp_path: Path, with_cgroups: bool
) -> None:
    """As somebody does who takes a lock file for stale."""
    log = tmp_path / "times"
    site.unit("one", job(log, 2.0))
    site.unit("two", job(log))
    site.start(with_cgroups=with_cgroups)
    site.vcsctl("run", "one")
    site.until(lambda: log.exists(), "it has begun")
    site.kill()
    for path in [*site.shared.glob("locks/key/*"), *site.shared.glob("locks/group/*")]:
        path.unlink()
    site.start(with_cgroups=with_cgroups)
    site.vcsctl("run", "two")
    site.until(lambda: site.history("one") and site.history("two"), "both have run")
    (one,), (two,) = site.history("one"), site.history("two")
    assert (one["cause"], "was removed" in one["why"]) == ("storage", True), one
    assert (two["outcome"], two["started_at"] > one["at"]) == ("ok", True), (one, two)


def test_enabling_after_a_month_or_moving_a_schedule_back_starts_nothing(site: Site) -> None:
    site.unit("daily", "schedule: fixed-time\nrun_at: 00:00\nstart_within: 100h\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    assert site.vcsctl("enable", "daily").returncode == 0
    assert site.vcsctl("set", "daily", "run_at=00:01").returncode == 0
    assert site.vcsctl("revert", "daily").returncode == 0
    assert site.vcsctl("enable", "daily").returncode == 0
    # A manual run goes through the same decisions: when it is over, vcsd has looked at all of the above.
    assert site.vcsctl("run", "daily", "--wait").returncode == 0
    assert [row["trigger"] for row in site.history("daily")] == ["manual"]


def test_a_foreign_file_is_named_and_stops_nobody(site: Site, tmp_path: Path) -> None:
    site.unit("one", job(tmp_path / "times"))
    site.start()
    (site.shared / "queue/one.r0000000000.json").write_text('{"version": 1, "id"')
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    site.until(lambda: "one.r0000000000.json" in site.vcsctl("status").stdout, "status names the file")


def test_an_override_dies_with_the_declaration_that_it_changed(site: Site) -> None:
    text = "schedule: periodical\nperiod: 60\nenabled: {}\nexec: [/bin/true]\n"
    site.unit("job", text.format("true"))
    site.start()
    assert site.vcsctl("disable", "job").returncode == 0
    override = site.shared / "overrides/job.json"
    assert "enabled" in json.loads(override.read_text())["fields"]
    site.unit("job", text.format("false"))
    assert site.vcsctl("reload").returncode == 0
    assert "enabled" not in json.loads(override.read_text()).get("fields", {})
    site.unit("job", text.format("true"))
    assert site.vcsctl("reload").returncode == 0
    assert "enabled" in site.vcsctl("status", "job").stdout
    assert "override of enabled removed" in (site.root / "vcsd.log").read_text()


def test_an_override_of_a_unit_that_is_gone_goes_too(site: Site) -> None:
    site.unit("job", "schedule: periodical\nperiod: 60\nexec: [/bin/true]\n")
    site.start()
    assert site.vcsctl("disable", "job").returncode == 0
    (site.units / "job.yaml").unlink()
    assert site.vcsctl("reload").returncode == 0
    assert not (site.shared / "overrides/job.json").exists()


def test_a_run_that_cannot_begin_is_tried_again_and_said_once(site: Site) -> None:
    site.unit("job", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    (site.root / "var/log").mkdir(parents=True)
    (site.root / "var/log/vcs").write_text("a file where the logs should go")
    site.start()
    site.vcsctl("run", "job")
    sentence = f"job.1: its log {site.root}/var/log/vcs/job/job.1.log cannot be opened: not a directory; tried again"
    site.until(lambda: sentence in site.vcsctl("status").stdout, "status says why nothing runs")
    (site.root / "var/log/vcs").unlink()
    site.until(lambda: site.history("job"), "it runs as soon as it can")
    assert [row["outcome"] for row in site.history("job")] == ["ok"]
    log = (site.root / "vcsd.log").read_text()
    assert log.count(sentence) == 1
    assert "Traceback" not in log
    site.until(lambda: sentence not in site.vcsctl("status").stdout, "the fault is over", 15)


def test_a_link_in_the_place_of_a_daemons_log_is_not_followed_and_named(site: Site, tmp_path: Path) -> None:
    key = f"radius@{os.uname().nodename}"
    log, target = site.root / f"var/log/vcs/radius/{key}.log", tmp_path / "target"
    log.parent.mkdir(parents=True)
    log.symlink_to(target)
    site.unit("radius", "schedule: daemon\nexec: [/bin/sleep, 1000]\n")
    site.start()
    sentence = (
        f"its log {log} cannot be opened: too many levels of symbolic links (a link is not followed); tried again"
    )
    site.until(lambda: sentence in site.vcsctl("status").stdout, "status says why nothing runs")
    log.unlink()
    site.until(lambda: "radius" in site.vcsctl("status").stdout and log.exists(), "it runs as soon as it can")
    said = (site.root / "vcsd.log").read_text()
    assert (said.count(sentence), said.count("Traceback")) == (1, 0)
    assert not target.exists()


def test_sighup_reloads(site: Site) -> None:
    site.start()
    site.unit("job", "schedule: periodical\nperiod: 60\nexec: [/bin/true]\n")
    site.vcsd.send_signal(signal.SIGHUP)
    site.until(lambda: "job" in site.vcsctl("status").stdout, "the unit is there")


def test_an_outcome_that_cannot_be_read_is_set_aside_and_blocks_nobody(site: Site, tmp_path: Path) -> None:
    site.unit("one", job(tmp_path / "times"))
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    site.stop()
    (site.shared / "state/one/1.end.json").write_text('{"version": 1, "cau')
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    assert (site.shared / "state/one/1.end.json.unreadable").exists()


def test_a_start_that_cannot_be_read_still_counts_as_a_start(site: Site, tmp_path: Path) -> None:
    site.unit("one", job(tmp_path / "times"))
    site.start()
    site.stop()
    site.vcsctl("run", "one")
    site.start(crash_after="outcome linked")
    site.until(lambda: site.history("one"), "vcsd has recorded what became of it")
    site.stop()
    for path in site.shared.glob("history/one/*"):
        path.unlink()
    (site.shared / "state/one/1.end.json").unlink()
    (site.shared / "state/one/1.started").write_text("")
    site.start()
    site.until(lambda: site.history("one"), "the run has an outcome")
    assert [row["outcome"] for row in site.history("one")] == ["lost"]
    assert (tmp_path / "times").read_text().count("start") == 1


def test_the_history_outlives_the_unit(site: Site) -> None:
    site.unit("job", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    assert site.vcsctl("run", "job", "--wait").returncode == 0
    (site.units / "job.yaml").unlink()
    assert site.vcsctl("reload").stdout == "changed: nothing; removed: job\n"
    assert "job.1" in site.vcsctl("history", "job").stdout
    assert site.vcsctl("history", "other").returncode == 4
    assert site.vcsctl("history", "../job").returncode == 4


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("queue/one.r1111111111.json", True),
        ("queue/one.slots.json", True),
        ("overrides/one.json", True),
        ("overrides/unknown.json", True),
        ("state/one/7.json", True),
        ("state/one/since.0123456789abcdef", False),
        ("state/stranger", False),
        ("running/one.json", False),
        ("nodes/other.json", False),
        ("nodes/other.units.json", False),
        ("nodes/other.runs.jsonl", False),
        ("history/one/2026-01.other.jsonl", False),
    ],
)
@pytest.mark.parametrize("content", ["text", "directory"])
def test_no_foreign_file_anywhere_stops_anybody(
    site: Site, tmp_path: Path, path: str, named: bool, content: str
) -> None:
    site.unit("one", job(tmp_path / "times"))
    site.start()
    foreign = site.shared / path
    foreign.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case "directory":
            foreign.mkdir()
        case _:
            foreign.write_text('{"version": 1, "id"')
    done = site.vcsctl("run", "one", "--wait")
    assert (done.returncode, "ok: exited with code 0" in done.stdout) == (0, True), done
    for command in (("status",), ("queue",), ("history", "one"), ("why", "one")):
        shown = site.vcsctl(*command)
        assert (shown.returncode, "fault of vcsctl" in shown.stderr) == (0, False), shown
    if named:
        site.until(lambda: foreign.name in site.vcsctl("status").stdout, "status names the file")


def test_a_run_that_no_node_may_take_is_refused(site: Site) -> None:
    site.unit("else", "schedule: periodical\nperiod: 60\nnodes: [elsewhere]\nexec: [/bin/true]\n")
    site.start()
    done = site.vcsctl("run", "else")
    assert (done.returncode, "no known node may run it (allowed: elsewhere)" in done.stderr) == (5, True)
    assert site.vcsctl("queue").stdout == ""


def test_an_empty_root_does_not_mean_the_machine(site: Site) -> None:
    for program in ("vcsctl.cli.main", "vcsctl.vcsd.main"):
        command = [sys.executable, "-m", program, "--root", "", *(["status"] if "cli" in program else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, "--root is empty" in done.stderr) == (2, True), done
