"""The promises under load and under attack: a thousand launches, hundreds of kills, frozen clocks, a full disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vcsctl.cli.context import Context
from vcsctl.cli.overview import Overview
from vcsctl.runners import proc

Site = Any
# `make hard-times` does more of the same.
LAUNCHES = int(os.environ.get("VCS_LAUNCHES", "250"))
KILLS = int(os.environ.get("VCS_KILLS", "50"))


def timed_job(times: Path, wait: str = "sleep 0.02") -> str:
    """A job in group billing that writes its own start and end, taken inside the job."""
    script = f"echo start $(date +%s%N) $VCS_RUN_ID >> {times}; {wait}; echo end $(date +%s%N) $VCS_RUN_ID >> {times}"
    return f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/sh, -c, '{script}']\n"


def started_runs(times: Path) -> list[str]:
    """The runs in the order of their starts, having checked that none overlaps another and none came twice."""
    lines = [line.split() for line in times.read_text().splitlines()]
    assert [word for word, _, _ in lines] == ["start", "end"] * (len(lines) // 2)
    assert all(int(one[1]) <= int(other[1]) for one, other in pairwise(lines))
    runs = [run for word, _, run in lines if word == "start"]
    assert len(runs) == len(set(runs))
    return runs


def outcomes_by_request(site: Site, *names: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        for row in site.history(name):
            for request in row.get("requests", ()):
                if row["cause"] != "coalesced":
                    found.setdefault(request, []).append(row["outcome"])
    return found


def test_two_of_a_group_run_one_after_the_other_again_and_again(site: Site, tmp_path: Path) -> None:
    times, gate = tmp_path / "times", tmp_path / "gate"
    for name in ("one", "two"):
        site.unit(name, timed_job(times, f"while ! [ -e {gate} ]; do sleep 0.005; done"))
    site.start()
    for number in range(1, LAUNCHES + 1):
        gate.unlink(missing_ok=True)
        site.request("one", "two")
        site.until(lambda: waits(site) in ({"one"}, {"two"}), f"one of launch {number} waits for the other")
        gate.touch()
        site.until(lambda number=number: is_over(site, number), f"launch {number} is over")
    assert len(started_runs(times)) == 2 * LAUNCHES
    site.until(
        lambda: [len(site.history(name)) for name in ("one", "two")] == [LAUNCHES] * 2,
        "all launches are in the history",
    )
    for name in ("one", "two"):
        assert {row["outcome"] for row in site.history(name)} == {"ok"}


def waits(site: Site) -> set[str]:
    """Who is in the queue for the group and says since when, as `status` and `queue` show it."""
    overview = Overview(Context(str(site.root)))
    return {
        line.name
        for line in overview.lines()
        if line.queued_since and line.waits_for.startswith("waits for group billing, held by ")
    }


def is_over(site: Site, number: int) -> bool:
    return all((site.shared / f"state/{name}/{number}.end.json").exists() for name in ("one", "two"))


def test_vcsd_killed_at_random_instants_doubles_loses_and_overlaps_nothing(site: Site, tmp_path: Path) -> None:
    times = tmp_path / "times"
    for name in ("one", "two"):
        site.unit(name, timed_job(times))
    chance = random.Random(2)
    site.start()
    requests: list[str] = []
    for _ in range(KILLS):
        requests += site.request("one", "two")
        time.sleep(chance.uniform(0, 0.12))  # another instant of the protocol each time, not a wait for something
        site.kill()
        if chance.random() < 0.2:
            site.start("no such step")  # killed while it starts up, too
            time.sleep(chance.uniform(0, 0.4))
            site.kill()
        site.start()
    site.until(lambda: len(outcomes_by_request(site, "one", "two")) == len(requests), "each request has an outcome")
    started_runs(times)
    outcomes = outcomes_by_request(site, "one", "two")
    assert outcomes == {request: ["ok"] for request in requests}
    for name in ("one", "two"):
        rows = [row for row in site.history(name) if "+" not in row["id"]]
        assert len(rows) == len({row["id"] for row in rows})
        assert all(row["exit_code"] == 0 for row in rows)


def test_a_runner_killed_after_vcsd_was_restarted_is_noticed(site: Site) -> None:
    site.unit("job", "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: [/bin/sleep, 300]\n")
    site.start()
    site.request("job")
    site.until(lambda: list(site.shared.glob("state/job/*.started")), "it has started")
    site.kill()
    site.start()
    runner = json.loads((site.shared / "state/job/1.started").read_text())["pid"]
    os.kill(runner, signal.SIGKILL)
    site.until(lambda: site.history("job"), "it is recorded", 10)
    assert site.history("job")[0]["outcome"] == "lost"


def test_a_vcsd_stopped_over_a_due_minute_starts_one_late_run(site: Site) -> None:
    site.unit("minutely", "schedule: periodical\nperiod: 1\nexec: [/bin/true]\n")
    site.start()
    site.vcsd.send_signal(signal.SIGSTOP)
    now = time.time()
    time.sleep(60 - now % 60 + 11)  # over a due minute, and longer than what still counts as in time
    site.vcsd.send_signal(signal.SIGCONT)
    site.until(lambda: site.history("minutely"), "the late run is recorded", 10)
    rows = site.history("minutely")
    assert [(row["trigger"], row["outcome"]) for row in rows] == [("late", "ok")]
    assert datetime.fromisoformat(rows[0]["slot"]).timestamp() == now - now % 60 + 60


def test_seven_days_down_are_one_run_and_one_row_of_missed_slots(site: Site) -> None:
    site.unit("minutely", "schedule: periodical\nperiod: 1\nexec: [/bin/true]\n")
    site.start()
    site.until(lambda: list(site.shared.glob("state/minutely/since.*")), "the schedule is on record")
    site.stop()
    for path in site.shared.glob("state/minutely/*"):
        assert path.name.startswith("since."), "a slot came in between; run the test again"
        week_ago = time.time() - timedelta(days=7).total_seconds()
        os.utime(path, (week_ago, week_ago))
    site.start()
    site.until(lambda: len(site.history("minutely")) >= 2, "the run and the missed slots are recorded")
    rows = site.history("minutely")[:2]
    assert [row["outcome"] for row in rows] == ["missed", "ok"]
    assert rows[0]["count"] in range(7 * 1440 - 2, 7 * 1440 + 1)
    assert rows[1]["trigger"] == "late"


def test_a_file_that_moves_the_schedule_back_starts_nothing(site: Site) -> None:
    now = datetime.now(UTC)
    site.unit(
        "daily", f"schedule: fixed-time\ntimezone: UTC\nrun_at: {now + timedelta(hours=2):%H:%M}\nexec: [/bin/true]\n"
    )
    site.start()
    earlier = now - timedelta(minutes=5)
    site.unit("daily", f"schedule: fixed-time\ntimezone: UTC\nrun_at: {earlier:%H:%M}\nexec: [/bin/true]\n")
    assert site.vcsctl("reload").returncode == 0
    assert site.vcsctl("run", "daily", "--wait").returncode == 0
    assert [row["trigger"] for row in site.history("daily")] == ["manual"]


def test_a_full_disk_is_said_loses_nothing_and_is_over_when_there_is_room(site: Site) -> None:
    site.unit("quick", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.unit("slow", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sleep, 1]\n")
    with small_disk(site.root / "var"):
        site.start()
        assert site.vcsctl("run", "quick", "--wait").returncode == 0
        before = site.history("quick")
        site.request("slow")
        site.until(lambda: list(site.shared.glob("state/slow/*.started")), "it has started")
        fill(site.root / "var/ballast")
        site.until(lambda: "no space left" in (site.root / "vcsd.log").read_text(), "vcsd says so")
        runner = json.loads((site.shared / "state/slow/1.started").read_text())["pid"]
        site.until(lambda: not proc.children_of(runner), "the job has ended on a full disk")
        assert not site.history("slow")
        (site.root / "var/ballast").unlink()
        site.until(lambda: site.history("slow"), "the outcome is recorded when there is room")
        assert site.history("slow")[0]["outcome"] == "ok"
        assert site.history("quick") == before
        assert site.vcsctl("run", "quick", "--wait").returncode == 0
        site.stop()


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of 4 MiB; where none can be mounted the test is skipped and says so."""
    path.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_outcomes_are_pruned_only_when_the_history_holds_them(site: Site) -> None:
    site.unit("one", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    (site.shared / "history/one").write_text("in the way")
    for number in range(1, 5):
        site.request("one")
        site.until(
            lambda number=number: (site.shared / f"state/one/{number}.end.json").exists(), f"run {number} is over"
        )
    pruned_at = time.monotonic() + 2.5
    site.until(lambda: time.monotonic() > pruned_at, "vcsd has had its turns at pruning")
    (site.shared / "history/one").unlink()
    site.until(lambda: len(site.history("one")) >= 4, "all are in the history")
    assert [row["id"] for row in site.history("one")] == ["one.1", "one.2", "one.3", "one.4"]


def test_what_a_killed_writer_left_of_a_record_is_removed_with_it(site: Site) -> None:
    site.unit("one", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    left = [site.shared / f"state/one/.tmp.{number}.end.json.0123456789ab" for number in (1, 2, 9)]
    for path in left:
        path.touch()
    for _ in range(2):
        assert site.vcsctl("run", "one", "--wait").returncode == 0
    site.until(lambda: not left[0].exists() and not left[1].exists(), "those of runs that are over are gone")
    assert left[2].exists(), "that may be somebody's work in progress"


GROUPED = "schedule: periodical\nperiod: 60\nenabled: false\n{}exec: [/bin/sleep, 3]\n"


@pytest.mark.parametrize("crash_after", [None, "claim linked"], ids=["it runs", "it is only claimed"])
def test_a_group_gained_by_a_push_while_vcsd_is_dead_excludes(site: Site, crash_after: str | None) -> None:
    site.unit("a", GROUPED.format(""))
    site.unit("b", GROUPED.format("groups: [g]\n"))
    site.start()
    if crash_after:
        site.stop()
        site.request("a")
        site.start(crash_after=crash_after)
        site.until(lambda: site.vcsd.poll() is not None, "vcsd is dead")
    else:
        site.request("a")
        site.until(lambda: list(site.shared.glob("state/a/*.started")), "a runs")
        site.kill()
    site.unit("a", GROUPED.format("groups: [g]\n"))
    site.request("b")
    site.start()
    site.until(lambda: site.history("a") and site.history("b"), "both have run")
    a, b = site.history("a")[0], site.history("b")[0]
    first, second = sorted((a, b), key=lambda row: row["started_at"])
    assert datetime.fromisoformat(second["started_at"]) >= datetime.fromisoformat(first["at"]) - timedelta(seconds=0.1)


ODD = {
    "folder": ("state/one~/x", "x"),
    "endless request": (
        "queue/one.r1.json",
        '{"version":1,"id":"r1","key":"one","service":"one","by":"x","node":"x","within_s":1e30}',
    ),
    "first day": ("queue/one.slots.json", '{"version":1,"key":"one","first":"0001-01-01T00:00:00+05:00"}'),
    "path in a request": (
        "queue/one.r2.json",
        '{"version":1,"id":"../x","key":"one","service":"one","by":"x","node":"x"}',
    ),
    "request under another name": (
        "queue/one.rcopy.json",
        '{"version":1,"id":"rA","key":"one","service":"one","by":"x","node":"x"}',
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_no_odd_name_or_number_ends_vcsd_or_runs_twice(site: Site, odd: str) -> None:
    site.unit("one", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    site.stop()
    path = site.shared / ODD[odd][0]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(ODD[odd][1])
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    assert [row["id"] for row in site.history("one")] == ["one.1", "one.2"]
    assert site.vcsctl("status").returncode == 0


def test_a_schedule_whose_mark_is_gone_counts_from_now(site: Site) -> None:
    site.unit("daily", "schedule: fixed-time\nrun_at: 00:00\nstart_within: 100h\nexec: [/bin/true]\n")
    site.start()
    site.until(lambda: list(site.shared.glob("state/daily/since.*")), "the schedule is on record")
    site.stop()
    for path in site.shared.glob("state/daily/*"):
        path.unlink()
    site.start()
    assert site.vcsctl("run", "daily", "--wait").returncode == 0
    assert [row["trigger"] for row in site.history("daily")] == ["manual"]


def test_a_claim_that_never_began_does_not_begin_long_after_its_slot(site: Site) -> None:
    site.unit("minutely", "schedule: periodical\nperiod: 1\nexec: [/bin/true]\n")
    site.start()
    site.until(lambda: list(site.shared.glob("state/minutely/since.*")), "the schedule is on record")
    site.stop()
    long_ago = time.time() - 90
    for path in site.shared.glob("state/minutely/since.*"):
        os.utime(path, (long_ago, long_ago))
    site.start(crash_after="claim linked")
    site.until(lambda: site.vcsd.poll() is not None, "vcsd is dead")
    claim_path = max(site.shared.glob("state/minutely/[0-9]*.json"))
    claim = json.loads(claim_path.read_text())
    claim["slot"] = (datetime.fromisoformat(claim["slot"]) - timedelta(minutes=10)).isoformat()
    claim_path.write_text(json.dumps(claim))
    site.start()
    site.until(lambda: site.history("minutely"), "it is on record")
    rows = {row["id"]: row for row in site.history("minutely")}
    assert rows["minutely.1"]["outcome"] == "missed", rows
    assert "start_within" in rows["minutely.1"]["why"]


def test_the_outcome_of_a_later_version_ends_nothing(site: Site) -> None:
    site.unit("one", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/true]\n")
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    site.stop()
    end = site.shared / "state/one/1.end.json"
    end.write_text(json.dumps({**json.loads(end.read_text()), "cause": "eclipse"}))
    for path in site.shared.glob("history/one/*"):
        path.unlink()
    site.start()
    assert site.vcsctl("run", "one", "--wait").returncode == 0
    assert [row["cause"] for row in site.history("one")] == ["eclipse", "exited"]
