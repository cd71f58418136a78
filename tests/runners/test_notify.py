"""What a daemon says of itself by the protocol of sd_notify, and what its runner makes of it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from rig import Rig

SAY = """
import socket
def say(*lines):
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1)
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto("\\n".join(lines).encode(), address)
def until(name):
    while not os.path.exists(name): time.sleep(0.01)
"""


def test_it_is_starting_until_it_says_ready(rig: Rig) -> None:
    program = rig.script(
        SAY + 'say("STATUS=warming up")\nuntil("go")\nsay("READY=1", "STATUS=42 calls")\nuntil("never")'
    )
    rig.start(*program, ready="notify")
    rig.until(lambda: (told := rig.told()) and told.says == "warming up", "its status is shown")
    told = rig.told()
    assert told is not None
    assert told.phase == "starting"
    (rig.root / "go").touch()
    assert rig.until_phase("up").pid == told.pid
    rig.until(lambda: (told := rig.told()) and told.says == "42 calls", "its new status is shown")


def test_one_that_never_says_ready_is_stopped(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000", ready="notify", start_timeout=0.3, restart="never")
    end = rig.until_over()
    assert (end.cause, end.outcome) == ("not-ready", "failed")
    assert end.why == "not ready within 0.3 s; restart: never"


def test_it_may_ask_for_more_time(rig: Rig) -> None:
    program = rig.script(SAY + 'say("EXTEND_TIMEOUT_USEC=15000000")\nuntil("go")\nsay("READY=1")\nuntil("never")')
    rig.start(*program, ready="notify", start_timeout=1.0)
    time.sleep(1.5)  # longer than its start_timeout: that nothing has happened then is what is tested
    (rig.root / "go").touch()
    assert rig.until_phase("up").restarts == 0


def test_a_message_of_a_foreign_process_does_not_count(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000", ready="notify")
    address = Path(rig.daemons) / "d.1.notify"
    rig.until(address.exists, "it listens")
    assert len(str(address)) < 108
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", str(address))
    rig.until(lambda: "is not of this run" in rig.said(), "the message was noticed")
    told = rig.until_phase("starting")
    assert told.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_daemon_that_changes_its_user_by_itself_can_say_that_it_is_ready(rig: Rig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        rig.daemons = f"{folder}/daemons"
        rig.start(*rig.script(SAY + 'os.setuid(65534)\nsay("READY=1")\nwhile True: time.sleep(1)'), ready="notify")
        rig.until_phase("up")
        rig.stop()
        rig.until_over()


def test_a_socket_that_was_removed_is_there_again_for_the_next_process(rig: Rig) -> None:
    rig.start(*rig.script(SAY + 'say("READY=1")\nuntil("never")'), ready="notify", restart_delay=0.01)
    first = rig.until_phase("up")
    (Path(rig.daemons) / "d.1.notify").unlink()
    os.kill(first.pid, signal.SIGKILL)
    rig.until(lambda: (told := rig.told()) and told.restarts == 1 and told.phase == "up", "it is up again")


def test_a_socket_that_vanishes_while_a_start_is_prepared_is_named(rig: Rig) -> None:
    answer = rig.root / "environment"
    os.mkfifo(answer)
    rig.start("/bin/sleep", "1000", ready="notify", restart="never", environment_files=(str(answer),))
    address = Path(rig.daemons) / "d.1.notify"
    rig.until(address.exists, "it listens")
    rig.until(lambda: "does not answer" in rig.said(), "its start waits")
    address.unlink()
    answer.write_text("")
    assert rig.until_over().why == f"cannot start it: {address}: no such file or directory; restart: never"


def test_a_flood_of_messages_holds_up_neither_a_childs_end_nor_a_stop(rig: Rig) -> None:
    rig.start(*rig.script(SAY + 'say("READY=1")\nuntil("never")'), ready="notify", restart_delay=0.01)
    first = rig.until_phase("up")
    address = str(Path(rig.daemons) / "d.1.notify")
    program = f"""
import socket
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect({address!r})
while True: line.send(b"STATUS=x")
"""
    flood = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    try:
        rig.until(lambda: "is not of this run" in rig.said(), "the flood is there")
        os.kill(first.pid, signal.SIGKILL)
        rig.until(lambda: (told := rig.told()) and told.restarts == 1 and told.phase == "up", "it is up again")
        rig.stop()
        assert rig.until_over().cause == "stop-requested"
        rig.until(lambda: not Path(address).exists(), "the runner is gone")
    finally:
        for one in flood:
            one.kill()
            one.wait()


def test_another_main_process_by_mainpid(rig: Rig) -> None:
    program = rig.script(
        SAY
        + """
child = os.fork()
if child:
    say(f"MAINPID={child}", "READY=1")
    until("leave")
    os._exit(5)
until("never")
"""
    )
    rig.start(*program, ready="notify", restart="never")
    told = rig.until_phase("up")
    first = int((Path("/proc") / str(told.pid) / "stat").read_text().rpartition(")")[2].split()[1])
    assert first != rig.runner
    (rig.root / "leave").touch()
    rig.until(lambda: not (Path("/proc") / str(first)).exists(), "the first process has left")
    assert rig.end() is None
    os.kill(told.pid, signal.SIGTERM)
    end = rig.until_over()
    assert end.cause == "signal"
    assert end.signal == signal.SIGTERM


NEXT_PID = "/proc/sys/kernel/ns_last_pid"
ANOTHERS_NUMBER = f"""
import os, signal, sys
from vcsctl.runners.daemon_machine import DaemonMachine
reader, writer = os.pipe()
if os.fork() == 0:
    child = os.fork()
    if child == 0:
        signal.pause()
    os.write(writer, b"%d\\n" % child)
    os.waitpid(child, 0)
    os.write(writer, b"gone\\n")
    signal.pause()
told = open(reader)
main = int(told.readline())
machine = DaemonMachine(None)
assert machine.set_main(main)
os.kill(main, signal.SIGKILL)
assert told.readline() == "gone\\n"
for _ in range(500):
    open({NEXT_PID!r}, "w").write(str(main - 1))
    stranger = os.fork()
    if stranger == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.write(writer, b"there\\n")
        signal.pause()
    assert told.readline() == "there\\n"
    if stranger == main:
        break
    os.kill(stranger, signal.SIGKILL)
    os.waitpid(stranger, 0)
else:
    sys.exit("nobody could get its number")
machine.signal_main(signal.SIGTERM)
os.kill(stranger, signal.SIGSTOP)  # a TERM that is on its way comes before it
print(os.WIFSTOPPED(os.waitpid(stranger, os.WUNTRACED)[1]), flush=True)
os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(NEXT_PID, os.W_OK), reason="only root may say which number the next process gets"
)
def test_the_number_of_a_main_process_that_is_gone_is_not_signalled() -> None:
    """Its own parent collects it: the number may be another's before the runner has seen that it ended."""
    command = [sys.executable, "-c", ANOTHERS_NUMBER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_main_process_that_is_none_of_its_own_is_refused(rig: Rig) -> None:
    rig.start(*rig.script(SAY + f'say("MAINPID={os.getpid()}", "READY=1")\nuntil("never")'), ready="notify")
    assert rig.until_phase("up").pid != os.getpid()


@pytest.mark.parametrize("pid", ["9" * 4088, "", "-1", "1.5", "\u0663", str(2**31)])
def test_a_main_process_that_cannot_be_one_harms_nobody(rig: Rig, pid: str) -> None:
    program = rig.script(SAY + f'say("MAINPID={pid}")\nsay("READY=1")\nuntil("never")')
    rig.start(*program, ready="notify")
    assert rig.until_phase("up").pid


def test_a_daemon_that_sends_descriptors_is_answered_by_their_end(rig: Rig) -> None:
    """As sd_notify_barrier(3): it waits until its runner has taken what it said before."""
    program = rig.script(
        SAY
        + """
import array
reader, writer = os.pipe()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))
line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
line.connect(os.environ["NOTIFY_SOCKET"])
line.sendmsg([b"BARRIER=1"], [rights])
os.close(writer)
assert os.read(reader, 1) == b""
say("READY=1")
until("never")
"""
    )
    rig.start(*program, ready="notify")
    assert rig.until_phase("up").restarts == 0


def test_the_watchdog_stops_one_that_falls_silent(rig: Rig) -> None:
    program = rig.script(
        SAY
        + """
say("READY=1")
for _ in range(5):
    say("WATCHDOG=1")
    time.sleep(0.2)
until("never")
"""
    )
    rig.start(*program, ready="notify", watchdog=0.8, restart="never")
    end = rig.until_over()
    assert end.cause == "unhealthy"
    assert end.why == "unhealthy: no WATCHDOG=1 within 0.8 s; restart: never"
    assert end.duration_s is not None
    assert end.duration_s > 1.5


def test_reloading_and_stopping_are_shown(rig: Rig) -> None:
    program = rig.script(
        SAY
        + 'say("READY=1")\nuntil("a")\nsay("RELOADING=1")\nuntil("b")\nsay("READY=1")\nuntil("c")\nsay("STOPPING=1")\nuntil("never")'
    )
    rig.start(*program, ready="notify")
    for phase, name in (("up", "a"), ("reloading", "b"), ("up", "c"), ("stopping", "d")):
        rig.until_phase(phase)
        (rig.root / name).touch()


def test_reload_by_a_signal_to_the_main_process(rig: Rig) -> None:
    program = rig.script(
        'signal.signal(signal.SIGHUP, lambda *_: open("got", "a").write("HUP\\n"))\nopen("x", "w").write("x")\nwhile True: time.sleep(1)'
    )
    rig.start(*program, reload={"signal": "HUP"})
    rig.until(lambda: rig.written("x"), "it is ready for the signal")
    rig.until_phase("up")
    rig.signal(signal.SIGUSR2)
    rig.until(lambda: rig.written("got") == ["HUP"], "the signal came")
    rig.until(lambda: (told := rig.told()) and told.last_reload == "reloaded by SIGHUP", "it is told")


def test_reload_by_a_command(rig: Rig) -> None:
    rig.start("/bin/sleep", "1000", reload={"exec": ("/bin/sh", "-c", f"test -e {rig.root}/good")})
    rig.until_phase("up")
    rig.signal(signal.SIGUSR2)
    rig.until(lambda: (told := rig.told()) and told.last_reload == "not reloaded: exited with code 1", "it failed")
    (rig.root / "good").touch()
    rig.signal(signal.SIGUSR2)
    rig.until(lambda: (told := rig.told()) and told.last_reload == "reloaded", "it is reloaded")


def test_a_reload_asked_for_while_one_is_under_way_follows_it(rig: Rig) -> None:
    script = f"cd {rig.root}; echo begun >> seen; until test -e go; do sleep 0.02; done; echo over >> seen"
    rig.start("/bin/sleep", "1000", reload={"exec": ("/bin/sh", "-c", script)})
    rig.until_phase("up")
    rig.signal(signal.SIGUSR2)
    rig.until(lambda: rig.written("seen") == ["begun"], "the first is under way")
    rig.signal(signal.SIGUSR2)
    (rig.root / "go").touch()
    rig.until(lambda: rig.written("seen") == ["begun", "over"] * 2, "a second one followed")
    rig.until(lambda: (told := rig.told()) and (told.reload_begun, told.reload_over) == (2, 2), "both are told")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_daemon_of_another_user_can_say_that_it_is_ready(rig: Rig) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")  # this one may lie where others may not look
    if python is None:
        pytest.skip("no python3 that every user may execute")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        rig.daemons = f"{folder}/daemons"
        rig.start(
            python,
            "-c",
            f"import os, time{SAY}say('READY=1'); time.sleep(1000)",
            ready="notify",
            user="nobody",
            working_directory="/",
        )
        told = rig.until_phase("up")
        nobody = pwd.getpwnam("nobody")
        assert (Path("/proc") / str(told.pid)).stat().st_uid == nobody.pw_uid
        shown = (Path(rig.daemons) / "d.1.notify").stat()
        assert (shown.st_uid, stat.S_IMODE(shown.st_mode)) == (nobody.pw_uid, 0o600)
        rig.stop()
        rig.until_over()
        assert not (Path(rig.daemons) / "d.1.notify").exists()
