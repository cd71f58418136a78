"""doctor --serve and --peer as two real processes: on one directory, on two views without common locks, and killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Site = Any
Side = subprocess.Popen[str]
PLAIN = "from vcsctl.cli.main import main\nmain()"
# Long enough at one trial to be met in the middle of it.
SLOW = "from vcsctl.runners import two_nodes\ntwo_nodes.NAMES = 20_000\n" + PLAIN
QUICK_TO_DESPAIR = "from vcsctl.store import exchange\nexchange.PATIENCE_S = 8.0\n" + SLOW


@pytest.fixture
def side() -> Iterator[Callable[..., Side]]:
    """Starts one side, as a terminal would: in a process group of its own, which Ctrl-C reaches as a whole."""
    started: list[Side] = []

    def start(root: Path, *arguments: str, code: str = PLAIN) -> Side:
        command = [sys.executable, "-c", code, "--root", str(root), "doctor", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.communicate(timeout=10)


@pytest.fixture
def fresh(tmp_path: Path, site_class: type[Any]) -> Site:
    site = site_class(tmp_path)
    site.shared.mkdir(parents=True)
    return site


def said(output: str) -> list[str]:
    """The lines without the time that each check took, which is each side's own."""
    return [re.sub(r" +[0-9.]+ m?s  ", "  ", line) for line in output.splitlines()]


def ends(side: Side) -> tuple[int, list[str], str]:
    output, faults = side.communicate(timeout=40)
    return side.returncode, said(output), faults


def reads_until(side: Side, words: str) -> None:
    assert side.stdout is not None
    for line in side.stdout:
        if words in line:
            return
    pytest.fail(f"it ended without saying {words!r}")


def is_empty(folder: Path, patience_s: float = 30) -> bool:
    give_up_s = time.monotonic() + patience_s
    while list(folder.iterdir()):
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("first", ["--serve", "--peer"])
def test_two_sides_come_to_the_same_verdicts_whoever_comes_first(
    fresh: Site, side: Callable[..., Side], first: str
) -> None:
    one = side(fresh.root, first)
    if first == "--peer":
        fresh.until(lambda: list(fresh.shared.glob("probe/session.*/*.peer.json")), "the peer waits")
    other = side(fresh.root, "--peer" if first == "--serve" else "--serve")
    (code, lines, _), (other_code, other_lines, _) = ends(one), ends(other)
    assert (code, other_code) == (0, 0), lines
    assert lines == other_lines
    assert [line.split("  ")[0] for line in lines if "other side  " not in line] == ["ok"] * 9
    assert any(re.match(r"ok +replaced files  each of 50 .* at most [0-9.]+ m?s", line) for line in lines), lines
    assert any(line.startswith("warning") and "both sides run on one machine" in line for line in lines)
    assert is_empty(fresh.shared), "nothing is left behind"


@pytest.fixture
def two_views(tmp_path: Path, site_class: type[Any]) -> Iterator[tuple[Site, Site]]:
    """Two roots whose shared directory is one, seen through two file systems that keep their locks to themselves.

    That is what a mount with nolock is, between two machines. And what they know of a file they believe for a minute.
    """
    if shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("needs bindfs and /dev/fuse")
    disk = tmp_path / "disk"
    disk.mkdir()
    believing = "attr_timeout=60,entry_timeout=60"
    sites, servers = [], []
    for name in ("one", "two"):
        site = site_class(tmp_path / name)
        site.shared.mkdir(parents=True)
        servers.append(subprocess.Popen(["bindfs", "-f", "-o", believing, str(disk), str(site.shared)]))
        site.until(lambda site=site: os.path.ismount(site.shared), "it is mounted")
        sites.append(site)
    yield sites[0], sites[1]
    for server in servers:
        server.terminate()
        server.wait(10)


def test_storage_that_keeps_its_locks_to_itself_and_believes_what_it_knew_fails_on_both_sides(
    two_views: tuple[Site, Site], side: Callable[..., Side]
) -> None:
    serving, peer = side(two_views[0].root, "--serve"), side(two_views[1].root, "--peer")
    (code, lines, _), (peer_code, peer_lines, _) = ends(serving), ends(peer)
    assert (code, peer_code) == (1, 1)
    assert lines == peer_lines
    *failed, replaced = (line for line in lines if line.startswith("FAILED"))
    assert len(failed) == 4, "each side's lock, and its child's"
    assert re.match(
        "FAILED +replaced files  .* neither the old nor the new content of a file that .* replaced", replaced
    )
    assert all("locks do not hold between the two; vcsctl doctor on each node says " in line for line in failed)
    assert any(line.startswith("skipped  hand-over") for line in lines)


# Between the two halves of each rename the name is gone for a moment, as where a file system replaces by removing.
REPLACES_BY_REMOVING = (
    """
import os, time
rename = os.rename
def apart(old, new):
    if os.path.exists(new):
        os.unlink(new)
        time.sleep(0.01)
    rename(old, new)
os.rename = apart
"""
    + PLAIN
)


def test_a_file_that_is_gone_while_it_is_replaced_fails_on_both_sides(fresh: Site, side: Callable[..., Side]) -> None:
    serving, peer = side(fresh.root, "--serve", code=REPLACES_BY_REMOVING), side(fresh.root, "--peer")
    (code, lines, _), (peer_code, peer_lines, _) = ends(serving), ends(peer)
    assert (code, peer_code) == (1, 1)
    assert lines == peer_lines
    (said,) = (line for line in lines if "replaced files" in line)
    assert re.match(r"FAILED +replaced files  the peer did not find a file that the serving side replaced", said)


def test_a_peer_that_nobody_answers_says_what_to_do(fresh: Site, side: Callable[..., Side]) -> None:
    code, lines, _ = ends(side(fresh.root, "--peer", "--within", "1s"))
    assert code == 1
    remedy = "run vcsctl doctor --serve on another node of this cell, on the same share"
    assert lines == [f"FAILED   other side  nobody answered in {fresh.shared} within 1 s; {remedy}"]
    assert is_empty(fresh.shared)


def test_a_server_that_nobody_comes_to_says_what_to_do(fresh: Site, side: Callable[..., Side]) -> None:
    code, lines, _ = ends(side(fresh.root, "--serve", "--within", "500ms"))
    assert code == 1
    assert "no peer came to" in lines[0]
    assert "run vcsctl doctor --peer on another node" in lines[0]


@pytest.mark.parametrize("killed", ["--serve", "--peer"])
def test_who_is_left_by_a_killed_partner_says_so_and_tidies_up(
    fresh: Site, side: Callable[..., Side], killed: str
) -> None:
    sides = {one: side(fresh.root, one, code=QUICK_TO_DESPAIR) for one in ("--serve", "--peer")}
    reads_until(sides[killed], "child's lock, peer")
    os.killpg(sides[killed].pid, signal.SIGKILL)
    (left,) = (one for name, one in sides.items() if name != killed)
    code, lines, _ = ends(left)
    assert code == 1
    assert lines[-1] == (
        "FAILED   exclusive create  the other side does not answer any more: it died, or sees nothing written here"
    )
    assert is_empty(fresh.shared)


@pytest.mark.parametrize("stopped", ["--serve", "--peer"])
def test_ctrl_c_in_the_middle_tells_the_other_side_and_leaves_nothing(
    fresh: Site, side: Callable[..., Side], stopped: str
) -> None:
    sides = {one: side(fresh.root, one, code=SLOW) for one in ("--serve", "--peer")}
    reads_until(sides[stopped], "child's lock, peer")
    os.killpg(sides[stopped].pid, signal.SIGINT)
    (left,) = (one for name, one in sides.items() if name != stopped)
    code, lines, _ = ends(left)
    assert code == 1
    assert lines[-1] == "FAILED   exclusive create  the other side was stopped; start both again"
    assert ends(sides[stopped])[0] == -signal.SIGINT
    assert is_empty(fresh.shared)


@pytest.mark.parametrize("arguments", [("--serve",), ("--peer",), ()])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_the_command_early_leaves_nothing(
    fresh: Site, side: Callable[..., Side], arguments: tuple[str, ...], number: int
) -> None:
    one = side(fresh.root, *arguments)
    if arguments == ("--peer",):
        fresh.until(lambda: list(fresh.shared.glob("probe/session.*/*.peer.json")), "the peer waits")
    elif arguments:
        assert one.stderr is not None
        one.stderr.readline()
    else:
        reads_until(one, "host names")
    one.send_signal(number)
    assert ends(one)[0] in (-number, 0), "a check of one machine may be over before the signal comes"
    assert is_empty(fresh.shared)


def test_a_dead_peers_session_is_recognised_and_removed(fresh: Site, side: Callable[..., Side]) -> None:
    dead = side(fresh.root, "--peer")
    fresh.until(lambda: list(fresh.shared.glob("probe/session.*/*.peer.json")), "the peer waits")
    os.killpg(dead.pid, signal.SIGKILL)
    serving = side(fresh.root, "--serve")
    fresh.until(lambda: list(fresh.shared.glob("probe/session.*/taken")), "the server takes it for a live one")
    living = side(fresh.root, "--peer")
    assert ends(living)[0] == 0
    assert ends(serving)[0] == 0
    assert is_empty(fresh.shared)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--serve", "--peer"), "--serve and --peer are for two different nodes"),
        (("--within", "3s"), "--within is for --serve and --peer"),
        (("--peer", "--within", "soon"), "--within cannot read 'soon' as a duration; write for example 90s"),
    ],
)
def test_what_makes_no_sense_is_bad_usage(fresh: Site, arguments: tuple[str, ...], sentence: str) -> None:
    done = fresh.vcsctl("doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
