"""A shared directory that hangs: whoever asks gets an answer within five seconds, and learns what does not answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cell import Cell, Node
from reading import ACTING, ASIDE, DAEMON, JOB, OF_THE_SHARE, OF_THIS_MACHINE
from test_storage import mounted

from vcsctl.cli.commands import COMMANDS

CellOf = Callable[..., Cell]
FENCED = "fenced"
PATIENCE_S = 5.0
GIVE_UP_S = 30.0


def test_every_command_is_among_those_that_are_asked_or_those_that_act() -> None:
    known = {arguments[0] for arguments in (*OF_THE_SHARE, *OF_THIS_MACHINE)} | ACTING | ASIDE
    assert known == set(COMMANDS), "tests/reading.py names each command there is, and no other"


def test_a_share_whose_server_is_stopped_is_named_within_five_seconds(cell_of: CellOf) -> None:
    cell = cell_of("a", configuration="fence_after: 6s\n")
    node = cell["a"]
    node.unit(FENCED, "schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: [/bin/sleep, 1000]\n")
    with mounted(cell, "a") as mount:
        prepare(cell)
        node.request(FENCED)
        node.until(lambda: list(cell.shared.glob(f"state/{FENCED}/*.started")), "what needs the share runs")
        mount.hang()
        assert_all_answer(node)
        mount.answer()
        node.until(lambda: node.history(FENCED), "it was fenced meanwhile, and that is on record")
        told = node.vcsctl("why", FENCED).stdout
        assert re.search(
            rf"^last claim: {FENCED}\.1 on a, .*; lost: no proof of the locks for .* the shared directory does not answer",
            told,
            re.MULTILINE,
        ), told


def test_a_share_that_has_taken_the_request_is_named_within_five_seconds(cell_of: CellOf) -> None:
    """The process that asked it cannot even be killed: it must not keep what others wait for, as the end of a pipe."""
    cell = cell_of("a")
    prepare(cell)
    cell["a"].stop()
    with silent_share(cell.root / "silent") as taken:
        cell["a"].shared.unlink()
        cell["a"].shared.symlink_to(cell.root / "silent")
        assert_all_answer(cell["a"])
    assert taken() >= len(OF_THE_SHARE) // 2, "it was asked"


def test_doctor_ends_for_who_reads_what_it_says(cell_of: CellOf) -> None:
    """Its checks are done by a child that cannot be killed either, and cat reads until the last writer is gone."""
    cell = cell_of("a")
    prepare(cell)
    cell["a"].stop()
    with silent_share(cell.root / "silent"):
        cell["a"].shared.unlink()
        cell["a"].shared.symlink_to(cell.root / "silent")
        command = ask(cell["a"], "doctor")
        try:
            said, _ = command.communicate(timeout=GIVE_UP_S)
        except subprocess.TimeoutExpired:
            pytest.fail("its output has no end")
        assert (command.returncode, "HUNG" in said) == (75, True), said


def prepare(cell: Cell) -> None:
    node = cell["a"]
    node.unit(JOB, "schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/echo, done]\n")
    node.unit(DAEMON, "schedule: daemon\nexec: [/bin/sleep, 1000]\n")
    cell.start()
    node.request(JOB)
    node.until(lambda: node.history(JOB), "the job has run")
    node.until(lambda: list(node.root.glob("run/vcs/daemons/*.json")), "the daemon runs")


def assert_all_answer(node: Node) -> None:
    """All at once, so each has to wait for a processor as well: that long again as as many need that say their help."""
    asked = (*OF_THE_SHARE, *OF_THIS_MACHINE)
    starting_s = min(all_at_once_s(node, len(asked)) for _ in range(2))
    began_s = time.monotonic()
    started = [(arguments, ask(node, *arguments)) for arguments in asked]
    for arguments, command in started:
        left_s = began_s + GIVE_UP_S - time.monotonic()
        try:
            said, faults = command.communicate(timeout=max(0.1, left_s))
        except subprocess.TimeoutExpired:
            pytest.fail(f"vcsctl {' '.join(arguments)} has not answered, or its output has no end")
        told = (arguments, command.returncode, said, faults)
        if arguments in OF_THIS_MACHINE:
            assert (command.returncode, faults) == (0, ""), told
            continue
        assert command.returncode == 75, told
        assert f"the shared directory {node.shared} did not answer within 4 s" in faults, told
        if arguments == ("status",) or DAEMON in arguments:
            assert DAEMON in said, f"what this machine knows by itself is told: {told}"
    took_s = time.monotonic() - began_s
    assert took_s < PATIENCE_S + 2 * starting_s, f"{took_s:.1f} s, beside {starting_s:.1f} s to start as many"
    print(f"\n{len(asked)} commands at once: {took_s:.1f} s; as many that say their help: {starting_s:.1f} s")


def all_at_once_s(node: Node, count: int) -> float:
    began_s = time.monotonic()
    for command in [ask(node, "status", "--help") for _ in range(count)]:
        command.communicate()
    return time.monotonic() - began_s


def ask(node: Node, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(node.root), *arguments]
    return subprocess.Popen(
        command,
        env=node.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def silent_share(point: Path) -> Iterator[Callable[[], int]]:
    """A mount whose server takes requests and answers none; how many processes it has heard from."""
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0 or shutil.which("umount") is None:
        pytest.skip("needs /dev/fuse, root and umount")
    point.mkdir()
    script = str(Path(__file__).with_name("silent_share.py"))
    taken = point.with_name("taken")
    with taken.open("wb") as output:
        server = subprocess.Popen([sys.executable, script, str(point)], stdout=output, stderr=subprocess.PIPE)
    try:
        give_up = time.monotonic() + 10
        while not taken.read_text() and server.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        if server.poll() is not None:
            pytest.skip(f"no file system can be mounted: {server.communicate()[1].decode()}")
        assert taken.read_text() == "mounted\n"
        yield lambda: len(set(taken.read_text().splitlines()[1:]))
    finally:
        server.kill()  # who waits for it gets an error then
        server.communicate()
        subprocess.run(["umount", "--lazy", str(point)], check=False)
