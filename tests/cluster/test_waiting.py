"""Commands that wait, and logs, in a cell: a share that hangs under them, and what lies on another node."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from cell import Cell, Node
from test_storage import Served, mounted

CellOf = Callable[..., Cell]
PATIENCE_S = 5.0
BY_HAND = "schedule: periodical\nperiod: 60\nenabled: false\n"


def begun(node: Node, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(node.root), *arguments]
    return subprocess.Popen(command, env=node.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def told(process: subprocess.Popen[bytes], text: bytes, patience_s: float) -> float:
    """Waits until it says that on standard error; how long it took."""
    assert process.stderr
    seen, began_s = b"", time.monotonic()
    while text not in seen:
        left_s = began_s + patience_s - time.monotonic()
        assert select.select([process.stderr], [], [], max(0.0, left_s))[0], f"not {text!r} in {patience_s} s: {seen!r}"
        data = os.read(process.stderr.fileno(), 4096)
        assert data, f"it has ended and said {seen!r}"
        seen += data
    return time.monotonic() - began_s


def test_who_waits_says_that_the_share_hangs_and_waits_on(cell_of: CellOf) -> None:
    cell = cell_of("a", configuration="fence_after: 180s\n")  # no run is stopped while the share hangs
    node = cell["a"]
    with mounted(cell, "a") as mount:
        gate = cell.root / "gate"
        script = f"while [ ! -e {gate} ]; do sleep 0.05; done; exit 7"
        node.unit("gated", f"{BY_HAND}exec: [/bin/sh, -c, '{script}']\n")
        cell.start()
        waiting = [begun(node, "run", "gated", "--wait")]
        told(waiting[0], b"gated.1 runs on a", 60)
        waiting.append(begun(node, "drain", "a", "--wait"))
        told(waiting[1], b"waiting for gated.1", 60)
        follows = [begun(node, "logs", "gated", "-f"), begun(node, "logs", "nothing-here", "-f")]
        told(follows[1], b"unknown service nothing-here", 60)
        mount.hang()
        for process in waiting:
            told(process, b"does not answer; waiting goes on", PATIENCE_S)
        told(follows[0], b"does not answer; following goes on", PATIENCE_S)
        commands = (("run", "gated", "--wait"), ("drain", "a"), ("resume", "a"), ("logs", "nothing-here", "-f"))
        (node.root / "var/log/vcs/elsewhere").symlink_to(mount.point)  # a log directory that hangs
        folder = begun(node, "logs", "elsewhere")
        late = [begun(node, *arguments) for arguments in commands]  # nothing is even asked for yet
        for process in late:
            told(process, b"does not answer; ", 60)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == -signal.SIGINT, "Ctrl-C works all the same"
        told(folder, b"/elsewhere did not answer within 4 s; see to its mount", 60)
        assert folder.wait(PATIENCE_S) == 75
        mount.answer()
        told(follows[0], b"answers again", 60)
        follows[0].send_signal(signal.SIGINT)
        assert follows[0].wait(PATIENCE_S) == -signal.SIGINT
        gate.touch()
        assert waiting[0].communicate(timeout=60)[0].splitlines()[-1] == b"gated.1: failed: exited with code 7"
        assert waiting[0].returncode == 7
        assert waiting[1].communicate(timeout=60)[0].splitlines()[-1] == b"a: nothing runs there"
        assert waiting[1].returncode == 0


def test_of_a_run_on_another_node_it_is_said_where_its_log_lies(cell_of: CellOf) -> None:
    cell = cell_of("a", "b")
    here, there = cell["a"], cell["b"]
    cell.unit("job", f"{BY_HAND}nodes: [b]\nexec: [/bin/echo, done]\n")
    cell.start()
    followed = begun(here, "run", "job", "--follow")
    said, faults = followed.communicate(timeout=60)
    log = there.root / "var/log/vcs/job/job.1.log"
    sentence = f"job.1 ran on b; its log lies there: {log}\n"
    assert (followed.returncode, said) == (0, b"")
    assert f"; its log lies there: {log}\n" in faults.decode()
    missing = here.vcsctl("logs", "job")
    assert (missing.returncode, missing.stdout, missing.stderr) == (3, "", f"vcsctl: {sentence}")
    named = here.vcsctl("logs", "job", "--run", "job.1")
    assert (named.returncode, named.stderr) == (3, f"vcsctl: {sentence}")

    folder = here.root / "var/log/vcs/job"
    folder.mkdir(parents=True)
    (folder / "job.0.log").write_text("of old\n")
    older = here.vcsctl("logs", "job")
    assert (older.returncode, older.stdout) == (0, "of old\n")
    assert older.stderr == f"vcsctl: this is not the newest: {sentence}"
    (folder / "job.0.log").unlink()
    folder.rmdir()
    folder.symlink_to(log.parent)  # a log directory that the nodes share
    assert here.vcsctl("logs", "job").stdout == "done\n"


def test_a_log_directory_that_hangs_hangs_nobody_who_follows(cell_of: CellOf) -> None:
    cell = cell_of("a", "b")
    node, gate = cell["a"], cell.root / "gate"
    script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo over; exit 7"
    cell.unit("gated", f"{BY_HAND}exec: [/bin/sh, -c, '{script}']\n")
    cell.start("a")
    (node.root / "var/log/vcs").mkdir(parents=True, exist_ok=True)
    served = Served(node.root / "var/log/vcs", cell["b"].root / "var/log/vcs")
    try:
        commands = (("run", "gated", "--follow"), ("logs", "gated", "-f"), ("logs", "gated", "--run", "gated.1", "-f"))
        following = [begun(cell["b"], *commands[0])]
        assert following[0].stdout and following[0].stdout.readline() == b"begun\n"
        following += [begun(cell["b"], *arguments) for arguments in (*commands[1:], commands[2])]
        for process in following[1:]:
            assert process.stdout and process.stdout.readline() == b"begun\n"
        served.hang()
        late = begun(cell["b"], "logs", "gated")
        for process, what in zip(following, (b"waiting", b"following", b"following", b"following"), strict=True):
            told(process, b"/gated does not answer; " + what + b" goes on", PATIENCE_S)
        for process in following[1:3]:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == -signal.SIGINT
        told(late, b"/gated did not answer within 4 s; see to its mount", 60)
        assert late.wait(PATIENCE_S) == 75
        gate.touch()
        rest, faults = following[0].communicate(timeout=60)
        assert (following[0].returncode, rest) == (7, b""), "the outcome is told all the same"
        assert b"gated.1: what it wrote since is not shown: the log directory " in faults
        assert faults.endswith(b"vcsctl: gated.1: failed: exited with code 7\n")
        served.answer()
        assert following[3].communicate(timeout=60)[0] == b"over\n"
        assert following[3].returncode == 0
    finally:
        served.end()
