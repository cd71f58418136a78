"""What only a slot of its own can show: retries, and a slot that waits. And an operator who comes too late."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import select
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

Site = Any
_IN_OPEN = 0x20


def test_retries_a_waiting_slot_and_its_end_by_disable(site: Site, tmp_path: Path) -> None:
    """One test for all that needs the next full minute."""
    log = tmp_path / "attempts"
    script = f"echo $VCS_ATTEMPT $VCS_TRIGGER $VCS_SLOT >> {log}; test $VCS_ATTEMPT = 3"
    every_minute = "schedule: periodical\nperiod: 1\ngroups: [{}]\nexec: {}\n"
    site.unit(
        "flaky",
        every_minute.format("flaky", f"[/bin/sh, -c, '{script}']") + "retries: {attempts: 2, delay: 100ms}\n",
    )
    site.unit("behind", every_minute.format("held", "[/bin/true]"))
    site.unit("held", "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [held]\nexec: [/bin/sleep, 1000]\n")
    site.start()
    site.vcsctl("run", "held")
    site.until(lambda: len(site.history("flaky")) >= 3, "its third attempt is over", 75)
    attempts = [line.split() for line in log.read_text().splitlines()][:3]
    slot = attempts[0][2]
    assert attempts == [["1", "schedule", slot], ["2", "retry", slot], ["3", "retry", slot]]
    rows = site.history("flaky")[:3]
    assert [(row["outcome"], row.get("attempt", 1), row["slot"]) for row in rows] == [
        ("failed", 1, slot),
        ("failed", 2, slot),
        ("ok", 3, slot),
    ]

    node = os.uname().nodename
    site.until(lambda: list(site.shared.glob("queue/behind.slots.json")), "the slot of the other one is in the queue")
    waiting = site.vcsctl("status", "behind").stdout
    assert f"waits for group held, held by held.1 on {node}\n" in waiting
    assert "\n  queue:     in queue since " in waiting
    waits = json.loads(site.vcsctl("queue", "--output", "json").stdout)["queue"][0]
    assert waits["entries"] == [f"slot {slot}"]
    site.environment["TZ"] = "Asia/Tokyo"
    local = datetime.fromisoformat(slot).astimezone(ZoneInfo("Asia/Tokyo")).strftime("%Y-%m-%d %H:%M:%S")
    assert f"slot {local}" in site.vcsctl("queue").stdout
    assert f"now: slot {local} is due; waits for group held" in site.vcsctl("why", "behind").stdout
    for command in (("why", "behind"), ("status", "behind"), ("why", "flaky"), ("history", "flaky")):
        screen = site.vcsctl(*command).stdout
        assert not re.search(r"\dT\d|\d:\d\d\.\d", screen), f"one notation, one zone: {screen}"
    del site.environment["TZ"]
    explained = site.vcsctl("why", "behind").stdout
    assert "in queue since " in explained
    assert f"is due; waits for group held, held by held.1 on {node}\n" in explained
    refused = site.vcsctl("cancel", "behind")
    assert refused.returncode == 3
    assert "its slot waits there: `vcsctl disable behind` drops it" in refused.stderr
    assert site.vcsctl("disable", "behind").stdout == "behind: disabled\n"
    site.until(lambda: site.history("behind"), "what waited is recorded")
    assert [(row["outcome"], row["cause"]) for row in site.history("behind")] == [("skipped", "disabled")]
    site.until(lambda: site.vcsctl("queue").stdout == "", "the queue is empty")


def test_disable_says_when_a_run_was_faster(site: Site) -> None:
    site.unit("one", "schedule: periodical\nperiod: 60\nalign: 59\nexec: [/bin/sleep, 1000]\n")
    site.unit("other", "schedule: periodical\nperiod: 60\nalign: 59\nexec: [/bin/true]\n")
    site.start()
    site.vcsctl("disable", "other")  # makes the lock file
    lock = site.shared / "overrides/.lock"
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), "disable", "one", "other"]
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with opened(lock) as watch:
            disabling = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert select.select([watch], [], [], 20)[0], "it has come as far as the lock"
        site.vcsctl("run", "one")
        site.until(lambda: list(site.shared.glob("state/one/*.started")), "the run has started", 4)
    output, faults = disabling.communicate(timeout=20)
    assert (disabling.returncode, output) == (5, "one: disabled\nother: is disabled already\n")
    assert faults == "vcsctl: already started one.1; stop it with: vcsctl stop one\n"
    assert "\n  disabled *  one " in site.vcsctl("status").stdout


@pytest.mark.parametrize("declared", ["true", "false"])
def test_a_slot_that_is_about_to_be_claimed_is_recalled_by_disable(site: Site, declared: str) -> None:
    """vcsd has decided to start it on what it knew a moment ago; disable has written, looked and returned."""
    site.unit("one", f"schedule: periodical\nperiod: 1\nenabled: {declared}\nexec: [/bin/sleep, 1000]\n")
    site.start()
    site.vcsctl("enable", "one")
    site.kill()
    put_back(site, "one")
    site.start(hold_at="claim drafted")
    held = site.root / "held"
    site.until(held.exists, "a late slot is about to be claimed")
    done = site.vcsctl("disable", "one")
    assert (done.returncode, done.stdout) == (0, "one: disabled\n")
    held.unlink()
    site.until(lambda: any("+" not in row["id"] for row in site.history("one")), "what became of it is recorded")
    row = next(row for row in site.history("one") if "+" not in row["id"])
    assert (row["outcome"], row["cause"]) == ("skipped", "recalled")
    assert not list(site.shared.glob("state/one/*.started"))


def put_back(site: Site, name: str) -> None:
    """As if its schedule and its status were an hour old: a slot is due at once."""
    past = time.time() - 3600
    for path in site.shared.glob(f"state/{name}/since.*"):
        os.utime(path, (past, past))
    for path in site.shared.glob(f"overrides/{name}.json"):
        content = json.loads(path.read_text())
        if "moment" in content:
            content["moment"] = datetime.fromtimestamp(past, UTC).isoformat()
        path.write_text(json.dumps(content))


def opened(path: Path) -> Any:
    """A file that becomes readable when somebody opens `path`."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    assert watch >= 0
    assert libc.inotify_add_watch(watch, bytes(path), _IN_OPEN) >= 0
    return os.fdopen(watch, "rb", buffering=0)
