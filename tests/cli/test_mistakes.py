"""Mistakes and misfortunes: no traceback, the right exit code, and a message that names the thing and the way out."""

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
from terminals import Terminal

Site = Any
VCSCTL = (sys.executable, "-m", "vcsctl.cli.main")
UNIT = "title: Größe\nschedule: periodical\nperiod: 5\nenabled: false\nexec: [/bin/true]\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    """One vcsd for all tests that change nothing."""
    made = site_class(tmp_path_factory.mktemp("site"))
    made.unit("calculator", UNIT)
    made.start()
    yield made
    made.stop()


def shell(site: Site, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a script in which `$V` is vcsctl with this site's root."""
    return subprocess.run(
        ["/bin/bash", "-c", script],
        env={**os.environ, "V": f"{' '.join(VCSCTL)} --root {site.root}", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    ["status", "run", "enable", "disable", "stop", "cancel", "history", "logs", "why", "calendar", "revert"],
)
def test_an_unknown_service_is_exit_4_with_the_likely_name(shared: Site, command: str) -> None:
    done = shared.vcsctl(command, "calculater")
    expected = "vcsctl: unknown service calculater; did you mean calculator?\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, "", expected)
    far = shared.vcsctl(command, "xyz")
    assert (far.returncode, far.stderr) == (4, "vcsctl: unknown service xyz; `vcsctl status` lists them all\n")


def test_history_of_an_unknown_node_is_exit_4(shared: Site) -> None:
    own = os.uname().nodename
    done = shared.vcsctl("history", "calculator", "--node", f"{own}x")
    assert (done.returncode, done.stderr) == (4, f"vcsctl: unknown node {own}x; did you mean {own}?\n")
    done = shared.vcsctl("history", "calculator", "--node", own)
    assert (done.returncode, done.stderr) == (0, "")


def test_set_and_cat_know_unknown_services_too(shared: Site) -> None:
    assert shared.vcsctl("set", "calculater", "period=5").returncode == 4
    done = shared.vcsctl("cat", "calculater")
    assert (done.returncode, done.stderr) == (
        4,
        "vcsctl: there is no unit file for calculater on this machine; did you mean calculator?\n",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("stats",), "no such command 'stats'; did you mean status?"),
        (("frobnicate",), "no such command 'frobnicate'; `vcsctl --help` lists the commands"),
        (("queue", "a"), "unexpected extra argument"),
        (("run",), "Missing argument"),
        (("run", "calculator", "--within", "soon"), "--within cannot read 'soon' as a duration; write for example 90s"),
        (("history", "calculator", "-n", "0"), "not in the range"),
        (("history", "calculator", "--outcome", ""), "--outcome: '' is none of ok, failed"),
        (("history", "calculator", "--trigger", ""), "--trigger: '' is none of schedule"),
        (("calendar", "5/5"), "5/5: the period is from 1 to 60 minutes and align less than it"),
        (("calendar", "24:00"), "24:00: cannot read '24:00' as a time of day"),
        (
            ("calendar", "5/2", "--from", "noon"),
            "--from: cannot read 'noon' as a moment; write for example 14:30, 2026-03-29",
        ),
        (("calendar", "5/2", "--from", "9999-12-31T23:59"), "--from: cannot read '9999-12-31T23:59'"),
        (("status", "--output", "yaml"), "'yaml' is not one of 'table', 'wide', 'json'"),
        (("status", "--watch"), "--watch needs a terminal that can be redrawn"),
        (("status", "--watch", "-o", "json"), "--watch is for people"),
        (("status", "calculator", "-o", "wide"), "--output wide is for a table; `vcsctl status calculator` shows all"),
        (("status", "--interval", "1s"), "--interval is how often --watch looks; add --watch or leave it out"),
        (("nodes", "-o", "json", "forget", "c"), "--output is for the table of all nodes; leave it out before forget"),
        (("help", "status", "foo"), "vcsctl: vcsctl status has no command below it; `vcsctl help status` shows"),
        (("help", "nodes", "frob"), "vcsctl: no such command 'frob'; `vcsctl nodes --help` lists the commands"),
        (("help", "stats"), "vcsctl: no such command 'stats'; did you mean status?"),
        (("simulate", "--hours", "8h"), "--hours: '8h' is no number of hours; write for example 8 or 0.5"),
        *(
            ((command, "--hours", hours), f"--hours: {hours} is not from a minute (0.017) to 744")
            for command in ("timeline", "simulate", "advise")
            for hours in ("nan", "inf", "1e-12", "745", "-1")
        ),
        *(
            ((*command, "--from", ""), "--from: cannot read '' as a moment; write for example 14:30, 2026-03-29")
            for command in (("timeline",), ("simulate",), ("calendar", "5/2"))
        ),
        (("calendar", "04:05", "--timezone", ""), "--timezone: "),
        (("calendar", "04:05", "--days", ""), "--days: "),
        (("timeline", "--html", "page.html", "-o", "json"), "--html and --output json are two answers; choose one"),
        (("queue", "--output", "yaml"), "'yaml' is not one of 'table', 'json'"),
    ],
)
def test_bad_usage_is_exit_2(shared: Site, arguments: tuple[str, ...], sentence: str) -> None:
    done = shared.vcsctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_are_no_names_reach_no_file(shared: Site) -> None:
    for name in ("../calculator", "/etc/passwd", "a\nb", "", "x" * 300, "\udcff"):
        for command in ("status", "run", "logs", "history", "cat"):
            done = shared.vcsctl(command, name)
            assert done.returncode == 4, (command, name)
            assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_fault(shared: Site) -> None:
    for command in ("status", "--help", "cat calculator", "calendar 1 -n 10000", "history calculator"):
        done = shell(shared, f"$V {command} | true")
        assert (done.returncode, done.stderr) == (0, ""), command
    assert shell(shared, "$V calendar 1 -n 10000 | head -1 | wc -l").stdout.strip() == "1"


def test_an_answer_that_cannot_be_written_says_so(shared: Site) -> None:
    for command in ("status", "--help", "cat calculator", "calendar 5/2"):
        done = shell(shared, f"$V {command} > /dev/full")
        assert (done.returncode, done.stderr) == (
            1,
            "vcsctl: cannot write the answer: no space left on device\n",
        ), command


def test_closed_streams_and_no_terminal_are_no_fault(shared: Site) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(shared, f"setsid -w $V status {closed}")
        assert (done.returncode, done.stderr) == (0, ""), closed


def test_any_locale_will_do(shared: Site) -> None:
    plain = shell(shared, "env -i LANG=C $V status calculator")
    assert (plain.returncode, plain.stderr) == (0, "")
    ascii_only = shell(shared, "$V status calculator", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (ascii_only.returncode, ascii_only.stderr) == (0, "")
    assert ": Gr" in ascii_only.stdout


def test_a_root_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "nowhere", tmp_path / "file"):
        for command in (("status",), ("run", "x"), ("reload",), ("cat", "x")):
            done = subprocess.run([*VCSCTL, "--root", str(root), *command], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith(f"vcsctl: {root} is no directory; ")


@pytest.mark.parametrize(("root", "code"), [("file", 75), ("run is a file", 75), ("long", 2)])
def test_vcsd_names_what_keeps_it_from_beginning(tmp_path: Path, root: str, code: int) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "run is a file").mkdir()
    (tmp_path / "run is a file/run").write_text("")
    (tmp_path / "long").mkdir()
    path = tmp_path / root if root != "long" else tmp_path / "long" / ("x" * 100)
    command = [sys.executable, "-m", "vcsctl.vcsd.main", "--root", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code
    last = done.stderr.splitlines()[-1]
    assert last.startswith("vcsd: ")
    assert "cannot " in last or "; use a shorter --root" in last
    assert str(path) in last
    assert "Traceback" not in done.stderr


def test_what_hangs_is_given_up() -> None:
    """The shared directory of a hung mount is a call that does not come back."""
    code = (
        "import time\nfrom vcsctl.cli import context\ncontext.READ_PATIENCE_S = 0.2\n"
        "context.in_time(lambda: time.sleep(60))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 75
    assert done.stderr == "vcsctl: the shared directory did not answer within 0.2 s; see to its mount\n"


def test_a_reader_that_is_killed_is_a_failure_that_says_so() -> None:
    code = "import os\nfrom vcsctl.cli import context\ncontext.in_time(lambda: os.kill(os.getpid(), 9))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == "vcsctl: what read the shared directory was ended by SIGKILL; try again\n"
    assert done.returncode == 1


def test_what_takes_its_time_after_it_has_read_or_because_nobody_reads_it_is_not_given_up() -> None:
    text = "import sys, time\nfrom vcsctl.cli import context\ncontext.READ_PATIENCE_S = 0.2\n"
    later = f"{text}context.in_time(lambda: (lambda: (time.sleep(0.5), print('found'), sys.exit(3))))"
    done = subprocess.run([sys.executable, "-c", later], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "found\n", "")
    much = f"{text}context.in_time(lambda: print('x' * 1_000_000))"
    slowly = subprocess.Popen([sys.executable, "-c", much], 0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert slowly.stdout is not None
    first = slowly.stdout.read(1)  # it has begun to print
    with pytest.raises(subprocess.TimeoutExpired):
        slowly.wait(0.5)  # the pipe is full, and it waits for longer than it would wait for storage
    rest, faults = slowly.communicate(timeout=20)
    assert (slowly.returncode, len(first + rest), faults) == (0, 1_000_001, b"")


def test_what_is_read_in_a_child_sees_the_terminal_and_nothing_else_that_is_open(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom vcsctl.cli import context\nfrom vcsctl.cli.terminal import columns\n"
        f"kept = open({str(tmp_path / 'lock')!r}, 'w')\n"
        "def look():\n    paths = [f'/proc/self/fd/{number}' for number in os.listdir('/proc/self/fd')]\n"
        "    print(columns(), *sorted(os.readlink(path)[:5] for path in paths if os.path.lexists(path)))\n"
        "context.in_time(look)"
    )
    with Terminal([sys.executable, "-c", code], os.environ, 100, 30) as it:
        assert it.end() == 0
        assert it.text == "100 /dev/ pipe: pipe: pipe:\n"


def test_without_a_cell_or_vcsd_each_command_says_so(tmp_path: Path, site_class: type[Any]) -> None:
    site = site_class(tmp_path)
    site.unit("calculator", UNIT)
    way_out = "mount the shared directory, or make one: start vcsd, or `vcsctl init`"
    for command in ("status", "queue", "run calculator", "stop calculator", "why calculator", "enable calculator"):
        done = site.vcsctl(*command.split())
        assert (done.returncode, done.stdout) == (75, ""), command
        assert done.stderr == f"vcsctl: {site.shared} holds no cell; {way_out}\n"
    site.configure("cell: 0123456789abcdef\n")
    expected = f"vcsctl: {site.shared} does not hold cell 0123456789abcdef; mount the shared directory\n"
    done = site.vcsctl("status")
    assert (done.returncode, done.stderr) == (75, expected), "no advice to make a second one"
    reload = site.vcsctl("reload")
    assert (reload.returncode, reload.stderr) == (
        3,
        "vcsctl: no vcsd answers on this machine; start it, it reads the units then\n",
    )
    assert site.vcsctl("cat", "calculator").returncode == 0
    assert site.vcsctl("verify").returncode == 0
    assert site.vcsctl("calendar", "5/2", "-n", "1").returncode == 0


def test_a_damaged_cell_is_refused_and_never_rewritten(tmp_path: Path, site_class: type[Any]) -> None:
    site = site_class(tmp_path)
    site.shared.mkdir(parents=True)
    cell = site.shared / "cell.json"
    for content, sentence in (
        ("xx", "is not complete JSON; restore it from a backup"),
        (json.dumps({"version": 1, "id": "a", "format": 99, "timezone": "UTC"}), "has format 99, this program knows 1"),
    ):
        cell.write_text(content)
        done = site.vcsctl("status")
        assert done.returncode == 5
        assert f"vcsctl: {cell} {sentence}" in done.stderr
        assert cell.read_text() == content


def test_a_bad_configuration_is_exit_2_with_its_place(tmp_path: Path, site_class: type[Any]) -> None:
    site = site_class(tmp_path)
    path = site.root / "etc/vcs/vcs.yaml"
    site.configure("pol: 1s\n")
    done = site.vcsctl("status")
    assert (done.returncode, done.stderr) == (2, f"vcsctl: {path}:1:1: pol: unknown key; did you mean 'poll'?\n")
    site.configure("poll: 1s\n")
    assert site.vcsctl("status").returncode == 75, "and its value is cached now"
    path.chmod(0o666)
    done = site.vcsctl("status")
    assert done.returncode == 2
    assert done.stderr == f"vcsctl: {path}: can be written by others; take that right away (chmod go-w)\n"


def test_a_unit_that_others_can_write_is_not_read(site: Site) -> None:
    site.unit("calculator", UNIT)
    (site.units / "calculator.yaml").chmod(0o666)
    site.start()
    place = f"{site.units}/calculator.yaml: can be written by others; take that right away (chmod go-w)"
    assert site.vcsctl("status").stdout.startswith(f"problem: {place}\n")
    assert site.vcsctl("run", "calculator").returncode == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_only_read_is_told_so(shared: Site) -> None:
    shared.root.chmod(0o755)
    for folder in shared.root.parents:
        if folder.stat().st_uid == 0 and folder.name.startswith("pytest"):
            folder.chmod(0o755)
    nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups -- "
    assert shell(shared, f"{nobody} $V status").returncode == 0
    changing = ("run calculator", "enable calculator", "disable calculator", "set calculator period=6", "init")
    for command in (*changing, f"drain {os.uname().nodename}"):
        done = shell(shared, f"{nobody} $V {command}")
        assert done.returncode == 75, command
        assert "permission denied; run the command as a user who may" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reason_is_one_line(shared: Site) -> None:
    """It is shown in the tables of others: a second line, or an escape sequence, would be theirs to read."""
    for command in ("disable calculator", "set calculator period=6", "stop calculator", f"drain {os.uname().nodename}"):
        for reason in ("two\nlines", "\x1b[31mred"):
            done = shared.vcsctl(*command.split(), "--reason", reason)
            expected = "vcsctl: --reason must be one line of printable characters\n"
            assert (done.returncode, done.stdout, done.stderr) == (2, "", expected), command


def test_ctrl_c_ends_a_command_that_waits_and_it_says_what_goes_on(site: Site) -> None:
    site.unit("slow", "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    site.start()
    waiting = subprocess.Popen(
        [*VCSCTL, "--root", str(site.root), "run", "slow", "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    site.until(lambda: list(site.shared.glob("state/slow/*.started")), "it runs")
    waiting.send_signal(signal.SIGINT)
    _, faults = waiting.communicate(timeout=10)
    assert waiting.returncode == -signal.SIGINT
    assert re.search(rb"vcsctl: slow(\.1 goes| waits) on; `vcsctl logs slow -f`.*\n$", faults), faults
    assert "running since" in site.vcsctl("status", "slow").stdout, "the run goes on"


def test_a_fault_of_the_program_itself_is_one_line(site: Site) -> None:
    site.unit("calculator", UNIT)
    site.start()
    path = next(site.shared.glob("nodes/*.units.json"))
    published = json.loads(path.read_text())
    published["units"]["calculator"]["plain"]["groups"] = 5
    path.write_text(json.dumps(published))
    done = shell(site, "$V status")
    assert done.returncode == 1
    assert done.stderr.startswith("vcsctl: a fault of vcsctl itself (TypeError: ")
    assert "Traceback" in shell(site, "$V status", VCS_DEBUG="1").stderr
