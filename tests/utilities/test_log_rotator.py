"""log-rotator with the distribution's logrotate on real files."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vcsctl.domain.parsed import FieldError
from vcsctl.errors import UsageError
from vcsctl.utilities import signal_process
from vcsctl.utilities.log_rotator import LogRule, find_logrotate, large_run_logs
from vcsctl.utilities.logrotate_text import Stanza, configuration, exactly, parse_log_pattern


@pytest.fixture
def node(node: Any) -> Any:
    if shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("needs the distribution's package logrotate; .ci/run installs it")
    return node


def logs(node: Any, text: str) -> None:
    node.settings("log-rotator", f"logs:\n- {text}\n")


def test_a_log_beyond_its_size_is_rotated_and_compressed_the_next_time(node: Any) -> None:
    log = node.file("var/log/app/app.log", size=3000)
    logs(node, "paths: [/var/log/app/*.log]\n  max_size: 1K\n  keep: 2")
    done = node.utility("log-rotator")
    assert (done.returncode, done.stdout) == (0, "log-rotator: rotated 1 log\n")
    assert (log.stat().st_size, log.with_name("app.log.1").stat().st_size) == (0, 3000)
    node.file("var/log/app/app.log", size=2000)
    assert node.utility("log-rotator").returncode == 0
    assert gzip.decompress(log.with_name("app.log.2.gz").read_bytes()) == b"x" * 3000


def test_a_dry_run_names_what_would_be_rotated_and_changes_nothing(node: Any) -> None:
    log = node.file("var/log/app/app.log", size=3000)
    logs(node, "paths: [/var/log/app/*.log]\n  max_size: 1K")
    before = sorted(node.root.rglob("*"))
    done = node.utility("log-rotator", "--dry-run")
    assert done.stdout == f"would rotate {log}\nlog-rotator: would rotate 1 log\n"
    assert sorted(node.root.rglob("*")) == before
    assert log.stat().st_size == 3000


def test_this_projects_own_logs_are_rotated_without_settings(node: Any) -> None:
    node.settings("log-rotator", "own:\n  max_size: 1K\n")
    vcsd = node.file("var/log/vcs/vcsd.log", size=3000)
    large = node.file("var/log/vcs/import-manager/import-manager.4.log", size=3000)
    small = node.file("var/log/vcs/import-manager/import-manager.5.log", size=100)
    name = os.uname().nodename
    audit = node.file(f"var/lib/vcs/shared/audit/{name}.jsonl", size=50)
    others = node.file("var/lib/vcs/shared/audit/other.jsonl", size=50)
    state = node.state / "log-rotator.state"
    state.parent.mkdir(exist_ok=True)
    # As if the last rotation had been long ago: logrotate waits a period from the day it first sees a log.
    state.write_text(f'logrotate state -- version 2\n"{audit}" 2001-1-1-0:0:0\n"{others}" 2001-1-1-0:0:0\n')
    done = node.utility("log-rotator")
    assert (done.returncode, done.stdout) == (0, "log-rotator: rotated 3 logs\n")
    assert [path.stat().st_size for path in (vcsd, large, small, audit, others)] == [0, 0, 100, 0, 50]
    assert audit.with_name(f"{name}.jsonl.1").stat().st_size == 50


def test_a_log_that_is_held_open_goes_on_in_the_same_file(node: Any) -> None:
    path = node.file("var/log/vcs/vcsd.log", size=3000)
    node.settings("log-rotator", "own:\n  max_size: 1K\n  compress: false\n")
    with path.open("ab") as held:
        assert node.utility("log-rotator").returncode == 0
        held.write(b"after")
    assert path.read_bytes() == b"after"
    assert path.with_name("vcsd.log.1").stat().st_size == 3000


def test_the_command_after_a_rotation_gets_its_words_as_they_are(node: Any) -> None:
    node.file("var/log/app/app.log", size=3000)
    words = ["$(touch injected)", "a'b", "; touch injected", "endscript", "%s *"]
    out = node.root / "out"
    script = f"import sys; open({str(out)!r}, 'w').write(repr(sys.argv[1:]))"
    quoted = ", ".join('"' + word.replace('"', '\\"') + '"' for word in (sys.executable, "-c", script, *words))
    logs(node, f"paths: [/var/log/app/app.log]\n  max_size: 1K\n  after: [{quoted}]")
    done = node.utility("log-rotator")
    assert done.returncode == 0, done.stderr
    assert out.read_text() == repr(words)
    assert not list(node.root.rglob("injected*"))


def test_a_program_is_told_by_a_signal_to_open_its_log_anew(node: Any) -> None:
    node.file("var/log/app/app.log", size=3000)
    code = (
        "import signal; signal.signal(signal.SIGHUP, lambda *_: exit(42)); print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        node.file("run/app.pid").write_text(f"{program.pid}\n")
        logs(node, "paths: [/var/log/app/app.log]\n  max_size: 1K\n  signal: HUP\n  pid_file: /run/app.pid")
        try:
            done = node.utility("log-rotator")
            assert done.returncode == 0, done.stderr
            assert program.wait(20) == 42
        finally:
            program.kill()


@pytest.mark.parametrize("text", ["-1", "0", "1", "", "12 13", "x"])
def test_a_pid_file_that_names_no_single_process_signals_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert "which is no process to signal" in str(signal_process.main(str(tmp_path / "pid"), "TERM"))


def test_a_program_that_is_not_running_needs_no_signal(tmp_path: Path) -> None:
    assert signal_process.main(str(tmp_path / "pid"), "HUP") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a PID file that belongs to somebody else")
def test_a_pid_file_of_another_user_cannot_point_at_this_users_process(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    os.chown(tmp_path / "pid", 65534, 65534)
    assert "does not belong to the file's owner" in str(
        signal_process.main(str(tmp_path / "pid"), signal.SIGHUP.name[3:])
    )


@pytest.mark.parametrize(
    "text", ["/var/log/a\nb", '/var/log/a"b', "/x{", "/x}", "/x\\", "/x'", "x.log", "/", "/a/../b"]
)
def test_no_path_can_carry_a_directive_of_logrotate(text: str) -> None:
    with pytest.raises(ValueError):
        parse_log_pattern(text)


def test_odd_but_honest_names_are_rotated(node: Any) -> None:
    log = node.file("var/log/app one #1 $x;~&(y)/l.log", size=3000)
    logs(node, "paths: ['/var/log/app one #1 $x;~&(y)/*.log']\n  max_size: 1K")
    assert node.utility("log-rotator").stdout == "log-rotator: rotated 1 log\n"
    assert log.with_name("l.log.1").exists()


def test_a_pattern_that_must_be_exact_matches_no_other_name(tmp_path: Path) -> None:
    assert exactly("/x/a[1]*?") == "/x/a[[]1][*][?]"
    with pytest.raises(UsageError):
        exactly("/x/{a}")


def test_what_is_given_to_logrotate() -> None:
    text = configuration([Stanza(("/a/*.log", "/b.log"), 3, True, "weekly", 1024, account=("app", "adm"))])
    assert text == (
        '"/a/*.log"\n"/b.log" {\n  missingok\n  notifempty\n  rotate 3\n  weekly\n  maxsize 1024\n'
        "  create\n  compress\n  delaycompress\n  su app adm\n}\n"
    )


def test_only_regular_run_logs_with_honest_names_are_large_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a.1.log").write_bytes(b"x" * 100)
    (tmp_path / "a/b\nc.log").write_bytes(b"x" * 100)
    (tmp_path / "a/link.log").symlink_to(tmp_path / "a/a.1.log")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert list(large_run_logs(str(tmp_path), 10)) == [str(tmp_path / "a/a.1.log")]


def test_a_log_that_cannot_be_rotated_is_named_and_the_others_are_rotated(node: Any) -> None:
    good = node.file("var/log/app/app.log", size=3000)
    bad = node.file("var/log/open/app.log", size=3000)
    bad.parent.chmod(0o777)
    logs(node, "paths: [/var/log/app/app.log]\n  max_size: 1K\n- paths: [/var/log/open/app.log]\n  max_size: 1K")
    done = node.utility("log-rotator")
    assert good.with_name("app.log.1").exists()
    if os.geteuid() == 0:  # only root has reason to fear a directory that others can write
        assert done.returncode == 1
        assert str(bad.parent) in done.stderr


def test_an_unknown_user_is_refused_before_anything_is_rotated(node: Any) -> None:
    good = node.file("var/log/app/app.log", size=3000)
    logs(node, "paths: [/var/log/app/app.log]\n  max_size: 1K\n- paths: [/b]\n  user: no-such\n  group: no-such")
    done = node.utility("log-rotator")
    assert done.returncode == 2
    assert "unknown user 'no-such'" in done.stderr
    assert good.stat().st_size == 3000


def test_without_logrotate_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="logrotate is not installed; install the distribution's package logrotate"):
        find_logrotate(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("logs:\n- paths: []\n", ":2:3: paths: is an empty list"),
        ("logs:\n- period: daily\n", "paths: is required"),
        ("logs:\n- paths: [/a]\n  compres: no\n", ":3:3: compres: unknown key; did you mean 'compress'?"),
        ("logs:\n- paths: [/a, 'b']\n", ":2:15: paths: 'b' is not an absolute path"),
        ("logs:\n- paths: [/a]\n  after: reload\n", ":3:3: after: 'reload' is not an absolute path"),
        ("logs:\n- paths: [/a]\n  signal: HUP\n", ":3:3: signal: needs signal and pid_file together"),
        ("own:\n  keep: many\n", ":2:3: keep: cannot read 'many' as a whole number"),
        ("own: yes\n", ":1:1: own: must be a map of max_size, keep, compress, audit_keep"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_their_place(node: Any, text: str, says: str) -> None:
    path = node.settings("log-rotator", text)
    done = node.utility("log-rotator")
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert says in done.stderr


def test_user_and_group_come_together() -> None:
    with pytest.raises(FieldError):
        LogRule(paths=("/a",), user="app")
