"""vcsd's handle of what keeps up the daemons that need no share: when it cannot be started, or is away for a moment."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cell import Cell, Node
from test_local_daemons import AWAY, Kept
from test_storage import mounted

from vcsctl.vcsd.control import ask

CellOf = Callable[..., Cell]
# The machine has none to give as long as that file is there.
NO_DESCRIPTOR = """
import errno, os
_pidfd_open = os.pidfd_open
def pidfd_open(*arguments):
    if os.path.exists({path!r}):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return _pidfd_open(*arguments)
os.pidfd_open = pidfd_open
"""


def test_a_keeper_that_could_not_be_started_at_a_reload_is_tried_again(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    none_left = node.root / "none-left"
    node.preamble += NO_DESCRIPTOR.format(path=str(none_left))
    node.start()
    kept = Kept(node)
    none_left.touch()
    answer = ask(str(node.root / "run/vcs/vcsd.sock"), {"do": "reload"}, timeout_s=60)
    assert answer is not None
    assert "Too many open files" in answer["error"]
    none_left.unlink()
    kept.until_up()


def test_no_descriptor_to_be_had_for_a_reload_does_not_end_a_vcsd_that_waits_for_the_share(cell_of: CellOf) -> None:
    cell = cell_of("a", configuration="fence_after: 6s\n")
    node, kept = cell["a"], Kept(cell["a"])
    with mounted(cell, "a") as mount:
        mount.hang()
        node.start(until_it_answers=False)
        kept.until_up()
        node.until(lambda: "does not answer; trying again" in node.log(), "it waits")
        assert node.vcsd is not None
        limits = resource.prlimit(node.vcsd.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.vcsd.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        (node.units / "keeps.yaml").unlink()
        node.vcsd.send_signal(signal.SIGHUP)
        node.until(lambda: "cannot reload: too many open files" in node.log(), "vcsd says so")
        resource.prlimit(node.vcsd.pid, resource.RLIMIT_NOFILE, limits)
        node.vcsd.send_signal(signal.SIGHUP)
        kept.until_down()
        assert node.vcsd.poll() is None


@pytest.fixture
def node_that_goes_down(cell_of: CellOf, tmp_path: Path) -> Node:
    """Whoever is told to end on it is told so since the machine does."""
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\necho stopping\n")
    systemctl.chmod(0o755)
    node = cell_of("a", configuration=AWAY)["a"]
    node.environment |= {"INVOCATION_ID": "1", "PATH": f"{systemctl.parent}:{os.environ['PATH']}"}
    return node


def go_down(kept: Kept) -> None:
    assert kept.node.vcsd is not None
    kept.node.vcsd.terminate()
    assert kept.node.vcsd.wait(30) == 0, "the daemon stops at once, and vcsd then"
    ends = [path.read_text() for path in Path(kept.local.root).rglob("*.end.json")]
    assert len(ends) == 1, ends
    assert '"shutdown"' in ends[0]
    kept.until_down()


def test_a_shutdown_between_two_keepers_stops_the_daemons(node_that_goes_down: Node) -> None:
    node, kept = node_that_goes_down, Kept(node_that_goes_down)
    node.start(until_it_answers=False)
    kept.until_up()
    os.kill(kept.keepers()[0], signal.SIGKILL)
    node.until(lambda: "the keeper has died; started again in 1 s" in node.log(), "vcsd says so")
    go_down(kept)


def test_only_vcsd_itself_notifies_systemd(node_that_goes_down: Node, tmp_path: Path) -> None:
    node, kept = node_that_goes_down, Kept(node_that_goes_down)
    node.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        systemd.bind(node.environment["NOTIFY_SOCKET"])
        node.start(until_it_answers=False)
        kept.until_up()
        go_down(kept)
        told = list(_received(systemd))
    assert node.vcsd is not None
    assert any("EXTEND_TIMEOUT_USEC" in text for _, text in told)
    assert {pid for pid, _ in told} == {node.vcsd.pid}, told


def _received(systemd: socket.socket) -> Iterator[tuple[int, str]]:
    """Who has sent what."""
    while True:
        try:
            text, [(_, _, credentials)], _, _ = systemd.recvmsg(4096, 128)
        except BlockingIOError:
            return
        yield struct.unpack("3i", credentials)[0], text.decode()
