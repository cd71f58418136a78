"""A child that looks again and again: whether it is heard, by what name its storage goes, and that nothing is left of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from vcsctl.cli import lookout as lookout_module
from vcsctl.cli.child import begin
from vcsctl.cli.doctor_steps import Step, carried_out
from vcsctl.cli.log_follow import Wanted, follow, follow_one
from vcsctl.cli.lookout import Lookout, Message
from vcsctl.errors import UsageError, VcsError

PATIENCE_S = 10.0


def silent() -> Iterator[Message]:
    yield {"pid": os.getpid()}
    time.sleep(1000)


def state_of(pid: int) -> str:
    """As the kernel has it; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def until(holds: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up, what
        time.sleep(0.01)


def said_by(program: Callable[[], None], begun: str, stopped_s: float) -> str:
    """By a process that is stopped for so long once it has said that, as by Ctrl-Z and fg."""
    command = [sys.executable, "-c", f"from tests.cli import test_lookout; test_lookout.{program.__name__}()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{begun}\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(stopped_s)
        process.send_signal(signal.SIGCONT)
        return process.communicate(timeout=60)[0]


def listens() -> None:
    lookout_module.DEAF_AFTER_S = 1.0
    with Lookout(silent) as lookout:
        lookout.messages(PATIENCE_S)
        print("begun", flush=True)
        lookout.messages(1.0)
        print("deaf" if lookout.is_deaf else "waited for", flush=True)
        give_up = time.monotonic() + PATIENCE_S
        while not lookout.is_deaf and time.monotonic() < give_up:
            lookout.messages(0.1)
        print("deaf" if lookout.is_deaf else "never found deaf")


def test_a_time_in_which_the_command_itself_was_stopped_is_no_silence() -> None:
    assert said_by(listens, "begun", 2.5) == "waited for\ndeaf\n"


def checks() -> None:
    def steps() -> Generator[Step, None, None]:
        yield Step("one", 3.0, lambda: time.sleep(4.5) or [("ok", "fine")])  # type: ignore[func-returns-value]

    print(*(line.text for line in carried_out(steps())))


def test_doctor_does_not_count_that_time_either() -> None:
    assert said_by(checks, "still at: one", 2.0) == "fine\n", "of 4.5 s it has waited for 2.5 at most"


def test_what_is_killed_is_named_by_what_it_looked_at() -> None:
    def look() -> Iterator[Message]:
        yield {}
        os.kill(os.getpid(), signal.SIGKILL)

    said = "what looked at the log directory /l was killed by SIGKILL"
    with Lookout(look, storage="the log directory /l") as lookout, pytest.raises(VcsError, match=said):
        while True:
            lookout.messages(PATIENCE_S)


def test_one_with_a_time_to_live_dies_when_its_parent_cannot_kill_it_any_more() -> None:
    program = "import os, sys, time\nfrom vcsctl.cli.child import begin\n"
    program += "child = begin(lambda _: time.sleep(1000), dies_after_s=0.5)\nprint(child.pid, flush=True)\nos._exit(0)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    until(lambda: state_of(int(done.stdout)) in ("", "Z"), "it has ended")  # nobody here reaps what is init's


def test_who_ignores_alarms_passes_that_on_to_no_child() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        child = begin(lambda _: time.sleep(1000) or 0, dies_after_s=0.1)  # type: ignore[func-returns-value]
        assert child.take() == b""
        assert child.end() == -signal.SIGALRM
    finally:
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_left_of_one_that_has_raised_a_fault() -> None:
    def look() -> Iterator[Message]:
        yield {"pid": os.getpid()}
        raise UsageError("no")

    with Lookout(look) as lookout:
        pid = lookout.messages(PATIENCE_S)[0]["pid"]
        until(lambda: state_of(pid) == "Z", "it has ended")
    assert state_of(pid) == ""


def test_following_outlives_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "calc"
    folder.mkdir()
    (folder / "calc.1.log").write_text("one\n")
    following = follow(Wanted(str(tmp_path), "calc", None, None, None))
    seen = [next(message for message in following if "data" in message)]
    (folder / "calc.2.log").symlink_to(folder / "calc.2.log")  # whose opening fails
    fault = next(message["fault"] for message in following if "fault" in message)
    assert fault == f"cannot read {folder}/calc.2.log: too many levels of symbolic links"
    (folder / "calc.2.log").unlink()
    (folder / "calc.2.log").write_text("two\n")
    seen.append(next(message for message in following if "data" in message))
    assert [message["data"] for message in seen] == ["one\n", "two\n"]
    assert next(message["fault"] for message in following if "fault" in message) == "", "told that it goes on"


def test_so_does_following_one(tmp_path: Path) -> None:
    log = tmp_path / "calc.1.log"
    log.symlink_to(log)
    following = follow_one(str(log), 0.01)
    assert "too many levels" in next(message["fault"] for message in following if "fault" in message)
    log.unlink()
    log.write_text("one\n")
    assert next(message["data"] for message in following if "data" in message) == "one\n"


def test_a_log_removed_on_another_node_gives_way_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS answers then, which no file system of this machine does."""
    folder = tmp_path / "calc"
    folder.mkdir()
    old, new = folder / "calc.1.log", folder / "calc.2.log"
    old.write_text("one\n")
    following = follow(Wanted(str(tmp_path), "calc", None, None, None))
    assert next(message["data"] for message in following if "data" in message) == "one\n"
    next(message for message in following if "read_s" in message)
    fstat, removed = os.fstat, os.stat(old).st_ino

    def stale(descriptor: int) -> os.stat_result:
        if fstat(descriptor).st_ino == removed:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", stale)
    fault = next(message["fault"] for message in following if "fault" in message)
    assert fault == f"cannot read {folder}: stale file handle"
    new.write_text("two\n")
    assert next(message["data"] for message in following if "data" in message) == "two\n"
    assert next(message["fault"] for message in following if "fault" in message) == ""
