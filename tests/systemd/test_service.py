"""The shipped vcsd.service under a real systemd: what stopping, upgrading, reloading and a shutdown do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SLEEP = "exec: [/bin/sh, -c, 'echo $$ > {pid}; exec sleep 1000']\n"
JOB = "schedule: periodical\nperiod: 60\nenabled: false\nstop_timeout: 5s\n" + SLEEP
DAEMON = "schedule: daemon\n" + SLEEP


def pid_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def is_there(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def begun(systemd: Any) -> Callable[[], list[int]]:
    """Starts vcsd with one job and one daemon; what tells their pids."""
    site = systemd.site
    files = [site.root / "job.pid", site.root / "daemon.pid"]
    site.unit("job", JOB.format(pid=files[0]))
    site.unit("keeps", DAEMON.format(pid=files[1]))
    systemd.must("start", "vcsd")
    assert systemd.show("ActiveState") == "active"
    site.request("job")
    systemd.until(lambda: all(pid_in(path) for path in files), "both run")
    return lambda: [pid_in(path) for path in files]


def test_to_stop_or_restart_vcsd_leaves_runs_and_daemons_alone(systemd: Any) -> None:
    pids = begun(systemd)
    before, vcsd = pids(), systemd.show("MainPID")
    systemd.must("restart", "vcsd")
    assert systemd.show("MainPID") != vcsd
    adopted = lambda: systemd.site_log().count("lives on; watched from now on")  # noqa: E731
    systemd.until(lambda: adopted() == 2, "both were adopted")
    systemd.must("stop", "vcsd")
    assert systemd.show("ActiveState") == "inactive"
    assert all(is_there(pid) for pid in before)
    systemd.must("start", "vcsd")
    systemd.until(lambda: adopted() == 4, "both were adopted twice")
    assert pids() == before
    assert all(is_there(pid) for pid in before)


def test_a_killed_vcsd_is_started_again_however_often(systemd: Any) -> None:
    pids = begun(systemd)
    before = pids()
    for _ in range(6):  # systemd's own limit is five in ten seconds
        main = systemd.show("MainPID")
        systemd.must("kill", "--kill-whom=main", "--signal=KILL", "vcsd")
        systemd.until(lambda main=main: systemd.show("MainPID") not in (main, "0"), "a new one is there")
    systemd.until(lambda: systemd.show("ActiveState") == "active", "it is up")
    assert pids() == before
    assert all(is_there(pid) for pid in before)


def test_a_reload_reads_the_units_again_and_says_when_it_is_done(systemd: Any) -> None:
    begun(systemd)
    systemd.site.unit("new", "schedule: periodical\nperiod: 60\nexec: [/bin/true]\n")
    systemd.must("reload", "vcsd")
    systemd.until(lambda: "catalog: 3 units" in systemd.site_log(), "the new unit is known")
    systemd.until(lambda: systemd.show("ActiveState") == "active", "it is up again")


def test_while_it_waits_for_the_share_it_is_active_keeps_up_daemons_and_stops_them_at_shutdown(systemd: Any) -> None:
    site = systemd.site
    site.configure("cell: 0123456789abcdef\n")
    pid = site.root / "daemon.pid"
    site.unit("keeps", DAEMON.format(pid=pid))
    systemd.must("start", "vcsd")
    assert systemd.show("ActiveState") == "active"
    assert systemd.show("StatusText").startswith("waits for the shared directory")
    systemd.until(lambda: pid_in(pid), "the daemon runs")
    systemd.must("exit")
    systemd.process.wait(60)
    ends = [path.read_text() for path in (site.root / "var/lib/vcs").rglob("*.end.json")]
    assert len(ends) == 1, systemd.site_log()
    assert '"shutdown"' in ends[0], systemd.site_log()
    assert not is_there(pid_in(pid))


def test_when_the_machine_goes_down_runs_are_stopped_and_say_so(systemd: Any) -> None:
    site = systemd.site
    pids = begun(systemd)
    before = pids()
    systemd.must("exit")
    systemd.process.wait(60)
    assert "the machine goes down" in systemd.site_log()
    give_up = time.monotonic() + 10
    while any(is_there(pid) for pid in before) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not any(is_there(pid) for pid in before), os.getpid()
    ends = [path.read_text() for path in (site.root / "var/lib/vcs").rglob("*.end.json")]
    assert len(ends) == 2, systemd.site_log()
    assert all('"shutdown"' in end for end in ends), ends
