"""A child that can be given up holds nothing that anybody waits for, and lives no longer than its parent."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from vcsctl.cli.child import Child, begin, write_all

PATIENCE_S = 10.0


def descriptors(pipe: int) -> int:
    """In the child."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}"):  # not that of the listing itself
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    write_all(pipe, json.dumps(found).encode())
    return 7


def all_of(child: Child) -> bytes:
    data = b""
    while select.select([child.pipe], [], [], PATIENCE_S)[0]:
        part = child.take()
        if not part:
            return data
        data += part
    pytest.fail("its pipe has no end")


def test_it_holds_its_pipe_and_nothing_else() -> None:
    reader, writer = os.pipe()
    child = begin(descriptors)
    held = json.loads(all_of(child))
    assert child.end() == 7
    os.close(reader)
    os.close(writer)
    pipes = {name: target for name, target in held.items() if target.startswith("pipe:")}
    assert {name: target for name, target in held.items() if name not in pipes} == dict.fromkeys("012", "/dev/null")
    assert len(pipes) == 1


def test_it_does_so_where_the_standard_input_is_closed() -> None:
    """The place is taken by a pipe then."""
    program = "from tests.cli.test_child import *; child = begin(descriptors); held = json.loads(all_of(child))"
    command = [sys.executable, "-c", f"{program}; raise SystemExit(len(held) != 4)"]
    assert subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_what_the_terminal_sends_is_for_its_parent(number: signal.Signals) -> None:
    def work(pipe: int) -> int:
        os.kill(os.getpid(), number)
        write_all(pipe, b"lives")
        return 0

    child = begin(work)
    assert (all_of(child), child.end()) == (b"lives", 0)


def test_one_that_is_given_up_is_killed_and_not_waited_for() -> None:
    child = begin(lambda _: time.sleep(1000) or 0)  # type: ignore[func-returns-value]
    began_s = time.monotonic()
    child.give_up()
    assert (child.given_up, time.monotonic() - began_s < 1) == (True, True)
    assert (all_of(child), child.end()) == (b"", -signal.SIGKILL)


def test_a_fault_ends_it_with_a_code_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    child = begin(lambda _: 1 // 0)
    assert (all_of(child), child.end()) == (b"", 1)
    assert capfd.readouterr() == ("", "")


def test_it_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = begin(lambda pipe: write_all(pipe, b"here") or time.sleep(1000) or 0)  # type: ignore[func-returns-value]
        child.take()
        os.write(writer, str(child.pid).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    pid = int(os.read(reader, 100))
    os.close(reader)
    os.close(writer)
    give_up = time.monotonic() + PATIENCE_S
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < give_up:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "Z":  # nobody here reaps what is init's
                break
        time.sleep(0.01)
    else:
        assert not os.path.exists(f"/proc/{pid}")
