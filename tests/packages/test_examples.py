"""The examples with the distribution's own servers, under a real vcsd: `make packages-test`.

Skipped where a server is not installed; that target installs them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sites import Site

SOURCES = Path(__file__).parents[2]
NODE = os.uname().nodename
PATIENCE_S = 60.0
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the servers run as users of their own: only root can do that"
)


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if not Path(program).exists()]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {', '.join(missing)}; make packages-test installs it"
    )


class Example:
    """One of the examples as its README lays it out, under a root of its own and on free ports."""

    def __init__(self, name: str, account: str, configuration: Path, drop_in: Path, moved: dict[str, str]) -> None:
        self.name = name
        self.root = Path(tempfile.mkdtemp(prefix=f"vcs-{name}-", dir="/tmp"))
        self.root.chmod(0o755)  # the server's user must reach its configuration
        self.site = Site(self.root)
        self.site.configure("heartbeat: 1s\n")
        shutil.copy(SOURCES / f"units/{name}.yaml", self.site.units)
        target = self.root / "etc/vcs" / configuration.parent.name
        shutil.copytree(configuration, target)
        for path in (target, *target.iterdir()):
            shutil.chown(path, "root", account)
            path.chmod(0o750 if path.is_dir() else 0o640)
        folder = self.site.units / f"{name}.yaml.d"
        folder.mkdir()
        text = drop_in.read_text().replace("/etc/vcs/", f"{self.root}/etc/vcs/")
        for before, after in moved.items():
            assert before in text
            text = text.replace(before, after)
        (folder / drop_in.name).write_text(text)
        for path in (*self.site.units.rglob("*"),):
            path.chmod(0o755 if path.is_dir() else 0o644)

    def instance(self) -> dict[str, Any]:
        answer = json.loads(self.site.vcsctl("status", self.name, "--output", "json").stdout)
        found: dict[str, Any] = answer["services"][0]["instances"][0]
        return found

    def until_up(self, *, but: int = 0) -> int:
        """The process id of the server, when it is up and another than `but`."""

        def is_up() -> bool:
            found = self.instance()
            return found["state"] == "up" and found["pid"] != but

        self.site.until(is_up, f"{self.name} is up; log:\n{self.log()}", PATIENCE_S)
        return int(self.instance()["pid"])

    def log(self) -> str:
        path = self.root / f"var/log/vcs/{self.name}/{self.name}@{NODE}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else "none"

    def close(self) -> None:
        self.site.vcsctl("stop", self.name)
        self.site.stop()
        shutil.rmtree(self.root)


def free_port() -> int:
    """Of one that is free for both TCP and UDP a moment ago."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        return int(tcp.getsockname()[1])


def access(port: int) -> str:
    asked = subprocess.run(
        ["radclient", "-r", "3", "-t", "2", f"127.0.0.1:{port}", "auth", "testing123"],
        input="User-Name=test,User-Password=test\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return asked.stdout


def invite(port: int) -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.bind(("127.0.0.1", 0))
        asking.settimeout(5)
        here = asking.getsockname()[1]
        lines = (
            "INVITE sip:4930123@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{here};branch=z9hG4bK{here}",
            "Max-Forwards: 70",
            "From: <sip:test@127.0.0.1>;tag=1",
            "To: <sip:4930123@127.0.0.1>",
            f"Call-ID: {here}@127.0.0.1",
            "CSeq: 1 INVITE",
            f"Contact: <sip:test@127.0.0.1:{here}>",
            "Content-Length: 0",
            *("", ""),
        )
        asking.sendto("\r\n".join(lines).encode(), ("127.0.0.1", port))
        return asking.recv(4096).decode()


def accepts(port: int) -> None:
    assert "Received Access-Accept" in access(port)


def redirects(port: int) -> None:
    answer = invite(port)
    assert answer.startswith("SIP/2.0 302 Moved Temporarily\r\n"), answer
    assert "\r\nContact: <sip:4930123@192.0.2.49:5060>\r\n" in answer


Served = tuple[Example, Callable[[], None]]


@pytest.fixture
def radius() -> Iterator[Served]:
    auth, acct = free_port(), free_port()
    moved = {
        '"1812"': f'"{auth}"',
        '"1813"': f'"{acct}"',
        "127.0.0.1:1812": f"127.0.0.1:{auth}",
        "period: 30s": "period: 1s",
    }
    folder = SOURCES / "examples/freeradius"
    drop_in = folder / "radius-server.yaml.d/10-example.yaml"
    made = Example("radius-server", "freerad", folder / "raddb", drop_in, moved)
    made.site.start()
    yield made, lambda: accepts(auth)
    made.close()


@pytest.fixture
def sip() -> Iterator[Served]:
    port = free_port()
    folder = SOURCES / "examples/kamailio"
    drop_in = folder / "sip-redirect-server.yaml.d/10-example.yaml"
    moved = {"127.0.0.1:5060": f"127.0.0.1:{port}", "period: 30s": "period: 1s"}
    made = Example("sip-redirect-server", "kamailio", folder / "config", drop_in, moved)
    made.site.start()
    yield made, lambda: redirects(port)
    made.close()


@needs("/usr/sbin/freeradius", "/usr/bin/radclient")
def test_freeradius_answers_whatever_dies(radius: Served) -> None:
    example, answers = radius
    example.until_up()
    example.site.until(lambda: example.instance()["healthy"] is True, "radclient finds it healthy", PATIENCE_S)
    before = example.instance()["pid"]
    reloaded = example.site.vcsctl("reload", example.name)
    assert reloaded.returncode == 0, reloaded
    answers()
    assert example.instance()["pid"] == before
    whatever_dies(example, answers)


@needs("/usr/sbin/kamailio")
def test_kamailio_redirects_whatever_dies(sip: Served) -> None:
    whatever_dies(*sip)


def whatever_dies(example: Example, answers: Callable[[], None]) -> None:
    site = example.site
    first = example.until_up()
    answers()

    os.kill(first, signal.SIGKILL)  # the server: another one is there after the restart delay
    second = example.until_up(but=first)
    answers()
    found = example.instance()
    assert (found["restarts"], "KILL" in found["last_exit"]) == (1, True), found

    site.kill()  # vcsd: the server notices nothing, and the next vcsd finds it
    answers()
    site.start()
    assert example.until_up() == second
    answers()

    upgrade(example)
    assert example.until_up() == second
    answers()

    os.kill(second, signal.SIGKILL)  # its old runner still sees to it
    example.until_up(but=second)
    answers()
    stopped = site.vcsctl("stop", example.name)
    assert stopped.returncode == 0, stopped
    assert example.instance()["state"] == "stopped"


def upgrade(example: Example) -> None:
    """Stops vcsd and starts it anew from another copy of the code."""
    example.site.stop()
    copy = example.root / "next"
    shutil.copytree(SOURCES / "vcsctl", copy / "vcsctl", ignore=shutil.ignore_patterns("__pycache__"))
    example.site.preamble = f"import sys; sys.path.insert(0, {str(copy)!r})"
    example.site.start()
    where = subprocess.run(
        [sys.executable, "-c", f"{example.site.preamble}; import vcsctl; print(vcsctl.__file__)"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert where.stdout.startswith(str(copy)), "the copy is what is loaded"
