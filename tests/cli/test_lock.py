"""vcsctl lock as who calls it sees it: exit codes, what is said, signals, what is refused."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vcsctl.runners import proc

Site = Any
HELD = "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [billing]\nexec: [/bin/sleep, 1000]\n"


def lock(site: Site, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), "lock", *arguments]
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | popen
    return subprocess.Popen(command, env=site.environment, **given)


def over(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=40)
    return process.returncode, said


def start_held(site: Site) -> None:
    site.unit("held", HELD)
    site.start()
    site.vcsctl("run", "held")
    site.until(lambda: list(site.shared.glob("state/held/*.started")), "held has started")


def left(site: Site) -> list[str]:
    """What would be left behind of a call that ended."""
    return [path.name for folder in ("queue", "running") for path in (site.shared / folder).iterdir()]


def test_the_exit_code_is_the_commands_own(site: Site) -> None:
    site.unit("held", HELD)
    site.start()
    for script, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        done = site.vcsctl("lock", "billing", "--", "sh", "-c", script)
        assert (done.returncode, done.stderr) == (code, "")
    site.until(lambda: len(site.history("lock")) == 4, "all are recorded")
    assert [row["outcome"] for row in site.history("lock")] == ["ok", "failed", "failed", "failed"]
    assert "held billing for sh: exited with code 7" in site.vcsctl("history", "lock").stdout


def test_the_command_has_what_its_caller_has_and_the_fence_numbers_besides(site: Site, tmp_path: Path) -> None:
    site.start()
    site.environment["OF_THE_CALLER"] = "kept"
    script = "read line; echo $line $OF_THE_CALLER $PWD $(umask) $VCS_FENCE_BILLING $VCS_FENCE_RATES_EU $VCS_RUN_ID"
    process = lock(
        site, "billing", "rates-eu", "--", "sh", "-c", script, stdin=subprocess.PIPE, cwd=tmp_path, umask=0o027
    )
    told, said = process.communicate("asked\n", timeout=40)
    assert told == f"asked kept {tmp_path} 0027 1 1 lock@{os.uname().nodename}-1.1\n"
    assert said.splitlines() == [
        f"vcsctl: warning: no unit is in group {group}: it excludes other `vcsctl lock {group}` alone"
        for group in ("billing", "rates-eu")
    ]
    assert process.returncode == 0


def test_options_behind_the_dashes_are_the_commands(site: Site) -> None:
    site.unit("held", HELD)
    site.start()
    done = site.vcsctl("lock", "billing", "--", "echo", "--wait", "--", "-x")
    assert (done.returncode, done.stdout) == (0, "--wait -- -x\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("billing",), 2, "-- is missing before the command; write: vcsctl lock GROUP... -- COMMAND"),
        (("billing", "--"), 2, "the command is missing; write: vcsctl lock GROUP... -- COMMAND"),
        (("--", "true"), 2, "Missing argument 'GROUP...'"),
        (("Billing", "--", "true"), 2, "GROUP: bad name 'Billing'; write up to 63 of a-z, 0-9 and -"),
        (("billing", "--wait", "soon", "--", "true"), 2, "--wait cannot read 'soon' as a duration"),
        (("billing", "--", "no-such-program"), 127, "no-such-program: program missing, or not executable; nothing was"),
    ],
)
def test_a_mistake_is_told_and_locks_nothing(site: Site, arguments: tuple[str, ...], code: int, text: str) -> None:
    site.start()
    done = site.vcsctl("lock", *arguments)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert not list(site.shared.glob("locks/*/*illing*"))


def test_it_waits_as_long_as_it_may_and_says_for_whom(site: Site) -> None:
    start_held(site)
    node = os.uname().nodename
    done = site.vcsctl("lock", "billing", "--wait", "0", "--", "true")
    assert (done.returncode, done.stderr) == (75, f"vcsctl: cannot take group billing, held by held.1 on {node}\n")
    began_s = time.monotonic()
    done = site.vcsctl("lock", "billing", "--wait", "1s", "--", "true")
    assert time.monotonic() - began_s >= 1
    assert (done.returncode, done.stderr.splitlines()) == (
        75,
        [
            f"vcsctl: waits for group billing, held by held.1 on {node}",
            f"vcsctl: cannot take group billing, held by held.1 on {node}; waited 1 s",
        ],
    )
    assert left(site) == ["held.1.json"]
    assert not site.history("lock")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_waiting_and_leaves_nothing_behind(site: Site, number: int) -> None:
    start_held(site)
    process = lock(site, "billing", "--", "true")
    site.until(lambda: len(left(site)) == 2, "it waits")
    process.send_signal(number)
    code, said = over(process)
    assert (code, len(said.splitlines())) == (128 + number, 1)
    assert left(site) == ["held.1.json"]


def test_term_is_a_stop_of_the_command_and_of_all_it_started(site: Site, tmp_path: Path) -> None:
    site.unit("held", HELD)
    site.start()
    pids = tmp_path / "pids"
    process = lock(site, "billing", "--", "sh", "-c", f"sleep 1001 & echo $! > {pids}; echo $$ >> {pids}; wait")
    site.until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "the command runs")
    process.terminate()
    assert over(process)[0] == 143
    assert not [pid for pid in pids.read_text().split() if os.path.exists(f"/proc/{pid}")]
    site.until(lambda: site.history("lock"), "it is recorded")
    assert [(row["outcome"], row["cause"]) for row in site.history("lock")] == [("stopped", "runner-signalled")]


def test_at_a_terminal_ctrl_c_is_the_commands(site: Site) -> None:
    """It stays in the caller's session: its terminal is its own, and what is typed reaches it once."""
    site.unit("held", HELD)
    site.start()
    pid, terminal = pty.fork()
    if pid == 0:
        script = "trap 'echo caught; exit 9' INT; echo ready; while :; do read line < /dev/tty; done"
        os.chdir("/")
        arguments = ["-m", "vcsctl.cli.main", "--root", str(site.root), "lock", "billing", "--", "bash", "-c", script]
        os.execve(sys.executable, [sys.executable, *arguments], site.environment)
    told = b""

    def until(text: bytes) -> None:
        nonlocal told
        give_up = time.monotonic() + 40
        while text not in told:
            assert time.monotonic() < give_up, told
            told += os.read(terminal, 4096)

    until(b"ready")
    os.write(terminal, b"\x03")
    until(b"caught")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 9
    assert told.count(b"caught") == 1


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_ctrl_z_stops_the_command_but_not_who_proves_its_locks(site: Site, tmp_path: Path) -> None:
    """Stopped, it holds its groups as with flock(1); but were its locks lost, somebody has to end it."""
    site.unit("held", HELD)
    site.start()
    script = f"echo $$ > {tmp_path}/pid; while ! test -e {tmp_path}/go; do sleep 0.05; done; exit 9"
    process = lock(site, "billing", "--", "sh", "-c", script, process_group=0)
    pid = tmp_path / "pid"
    site.until(lambda: pid.exists() and pid.read_text(), "it runs")
    command = int(pid.read_text())
    runner = proc.parent_of(command)
    assert runner not in (None, process.pid)
    os.killpg(process.pid, signal.SIGTSTP)  # as the terminal does
    site.until(lambda: stopped(command) and stopped(process.pid), "it is stopped")
    assert not stopped(runner)
    assert site.vcsctl("lock", "billing", "--wait", "0", "--", "true").returncode == 75
    os.killpg(process.pid, signal.SIGCONT)
    (tmp_path / "go").touch()
    assert over(process) == (9, "")


def test_what_would_wait_for_itself_is_refused_at_once(site: Site) -> None:
    site.unit("held", HELD)
    site.start()
    inner = [sys.executable, "-m", "vcsctl.cli.main", "lock"]
    done = site.vcsctl("lock", "billing", "--", *inner, "billing", "--", "true")
    assert done.returncode == 5
    assert "group billing is held already by lock@" in done.stderr
    assert "it would wait for itself; run the command without vcsctl lock" in done.stderr
    assert site.vcsctl("lock", "billing", "--", *inner, "rates", "--", "true").returncode == 0


def test_a_job_may_lock_a_group_that_it_is_not_in(site: Site, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"{sys.executable} -m vcsctl.cli.main lock billing -- sh -c 'echo $VCS_RUN_ID > {seen}'"
    site.unit("held", HELD)
    site.unit("job", f"schedule: periodical\nperiod: 60\nenabled: false\nexec:\n- /bin/sh\n- -c\n- |\n  {script}\n")
    site.start()
    assert site.vcsctl("run", "job", "--wait").returncode == 0
    assert seen.read_text() == f"lock@{os.uname().nodename}-1.1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_who_may_not_hold_locks_is_told_the_way_out(site: Site) -> None:
    site.start()
    for folder in (site.root, *site.root.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, getpass, vcsctl.cli.lock; from vcsctl.cli.main import main; from vcsctl.cli import commands\n"
        "os.setgroups(()); os.setgid(65534); os.setuid(65534); main()"  # what is to be loaded lies where root alone may go
    )
    command = [sys.executable, "-c", code, "--root", str(site.root), "lock", "billing", "--", "true"]
    done = subprocess.run(command, env=site.environment, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 5, done.stderr
    assert "only the user of vcsd may hold locks" in done.stderr
    assert "use sudo" in done.stderr


def test_the_help_begins_with_an_example(site: Site) -> None:
    told = site.vcsctl("lock", "--help").stdout
    assert told.startswith("Usage: vcsctl lock [OPTIONS] GROUP... -- COMMAND...\n")
    assert "Example:\n    vcsctl lock billing --wait 10m -- pg_dump" in told
