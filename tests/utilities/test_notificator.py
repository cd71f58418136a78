"""notificator on real small file systems, and with a real SMTP server on the loopback."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from vcsctl.utilities import disks
from vcsctl.utilities.disks import Usage
from vcsctl.utilities.notificator import FileSystem, judge, level

MIB = 1 << 20


class Inbox:
    """What the server took; `refuse` is its answer to a mail, `strangers` whom it takes no mail for."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuse: str | None = None
        self.strangers: set[str] = set()
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(  # noqa: N802 - the server's own name for it
        self, _server: SMTP, _session: object, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.strangers:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse:
            return self.refuse
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"

    def log_in(self, _server: SMTP, _session: object, _envelope: object, _way: str, data: LoginPassword) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"secret")


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


class Server:
    """aiosmtpd on a port that the system chooses (its own Controller wants to know the port before)."""

    def __init__(self, inbox: Inbox, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        made = self._loop.create_server(lambda: SMTP(inbox, loop=self._loop, **options), "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(made, self._loop).result()
        self.port = int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.close)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


@pytest.fixture
def server(inbox: Inbox) -> Iterator[Server]:
    running = Server(inbox)
    yield running
    running.stop()


@dataclass
class Small:
    """A file system of one MiB and 64 inodes, mounted below the root at /data."""

    path: Path

    def fill(self, size: int) -> None:
        (self.path / "fill").write_bytes(b"x" * size)


@pytest.fixture
def small(node: Any) -> Iterator[Small]:
    path = node.root / "data"
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "tmpfs", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"this machine lets nobody mount a small file system: {mount.stderr.strip()}")
    yield Small(path)
    subprocess.run(["umount", path], check=True)


def watch(node: Any, server: Server | None = None, extra: str = "", limits: str = "") -> None:
    text = f"file_systems:\n- path: /data\n{limits}"
    if server is not None:
        text += (
            f"mail:\n  host: 127.0.0.1\n  port: {server.port}\n  sender: vcs@example.com\n"
            f"  recipients: [ops@example.com, boss@example.com]\n{extra}"
        )
    node.settings("notificator", text)


def test_a_disk_that_fills_is_told_once_and_again_when_it_is_well(
    node: Any, small: Small, server: Server, inbox: Inbox
) -> None:
    watch(node, server)
    assert node.utility("notificator").returncode == 0
    small.fill(970 * 1024)
    full = node.utility("notificator")
    assert full.returncode == 1
    assert f"{small.path} is 95 % full" in full.stdout
    recipients, mail = inbox.mails[0]
    assert recipients == ["ops@example.com", "boss@example.com"]
    assert mail["Subject"].startswith(f"[{os.uname().nodename}] {small.path} is 95 % full, ")
    assert "the limit is 90 %" in mail.get_content()
    assert node.utility("notificator").returncode == 0
    small.fill(900 * 1024)  # 88 %: no longer above the limit, not yet below what counts as recovered
    assert node.utility("notificator").returncode == 0
    assert len(inbox.mails) == 1
    small.fill(100 * 1024)
    assert node.utility("notificator").returncode == 0
    assert "well again" in inbox.mails[1][1].get_content()
    assert json.loads((node.state / "notificator.json").read_text())["told"] == {}


def test_inodes_are_watched_too(node: Any, small: Small) -> None:
    watch(node)
    for number in range(60):
        (small.path / str(number)).touch()
    done = node.utility("notificator")
    assert done.returncode == 1
    assert f"{small.path} has 96 % of its inodes used" in done.stdout


def test_a_mail_that_cannot_be_sent_leaves_the_crossing_untold(
    node: Any, small: Small, server: Server, inbox: Inbox
) -> None:
    watch(node, server)
    small.fill(970 * 1024)
    inbox.refuse = "451 greylisted"
    for _ in range(2):
        done = node.utility("notificator")
        assert done.returncode == 1
        assert "the server says 451 greylisted; it is tried again at the next run" in done.stderr
    assert not (node.state / "notificator.json").exists()
    inbox.refuse = None
    assert node.utility("notificator").returncode == 1
    assert node.utility("notificator").returncode == 0
    assert len(inbox.mails) == 1


def test_a_server_that_is_not_there_is_named(node: Any, small: Small, server: Server) -> None:
    watch(node, server)
    server.stop()
    small.fill(970 * 1024)
    done = node.utility("notificator")
    assert done.returncode == 1
    assert "cannot send mail by 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipient_who_is_refused_is_named_and_the_others_get_the_mail_once(
    node: Any, small: Small, server: Server, inbox: Inbox
) -> None:
    inbox.strangers = {"boss@example.com"}
    watch(node, server)
    small.fill(970 * 1024)
    done = node.utility("notificator")
    assert done.returncode == 1
    assert "boss@example.com is refused: 550 no such user" in done.stderr
    assert [recipients for recipients, _ in inbox.mails] == [["ops@example.com"]]
    assert node.utility("notificator").returncode == 0
    assert len(inbox.mails) == 1


def test_without_a_mail_server_the_warning_is_printed_once(node: Any, small: Small) -> None:
    watch(node, limits="  free_below: 500K\n")
    small.fill(600 * 1024)
    first, second = node.utility("notificator"), node.utility("notificator")
    assert first.returncode == 1
    assert "the limit is 90 %, or 500.0 KiB free" in first.stdout
    assert (second.returncode, second.stdout) == (0, "notificator: 1 file system watched, 0 new\n")


def test_a_dry_run_tells_nobody_and_keeps_nothing(node: Any, small: Small, server: Server, inbox: Inbox) -> None:
    watch(node, server)
    small.fill(970 * 1024)
    done = node.utility("notificator", "--dry-run")
    assert done.returncode == 1
    assert done.stdout.startswith("would tell: ")
    assert inbox.mails == []
    assert not node.state.exists()


def test_a_password_goes_only_over_a_checked_encrypted_connection(node: Any, small: Small, inbox: Inbox) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    certificate, key = node.root / "cert.pem", node.root / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback"]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    running = Server(inbox, tls_context=context, require_starttls=True, authenticator=inbox.log_in, auth_required=True)
    try:
        small.fill(970 * 1024)
        password = node.file("etc/vcs/password")
        password.write_text("secret\n")
        password.chmod(0o600)
        login = "  security: starttls\n  user: vcs\n  password_file: /etc/vcs/password\n"
        watch(node, running, login)
        unchecked = node.utility("notificator")
        assert unchecked.returncode == 1
        assert "certificate verify failed" in unchecked.stderr
        assert inbox.logins == []
        watch(node, running, login + "  ca_file: /cert.pem\n")
        password.chmod(0o644)
        assert "everybody can read it" in node.utility("notificator").stderr
        password.chmod(0o600)
        assert node.utility("notificator").returncode == 1
        assert inbox.logins == [(b"vcs", b"secret")]
        assert len(inbox.mails) == 1
    finally:
        running.stop()


def test_a_state_that_cannot_be_read_is_named_and_everything_is_told_anew(node: Any, small: Small) -> None:
    watch(node)
    small.fill(970 * 1024)
    assert node.utility("notificator").returncode == 1
    (node.state / "notificator.json").write_text('{"told": {"spa')
    again = node.utility("notificator")
    assert again.returncode == 1
    assert "everything is told anew" in again.stderr
    assert node.utility("notificator").returncode == 0


def test_a_path_that_is_not_there_is_said_each_time_and_told_once(node: Any, server: Server, inbox: Inbox) -> None:
    watch(node, server)
    for _ in range(2):
        done = node.utility("notificator")
        assert done.returncode == 1
        assert "1 cannot be checked" in done.stdout
    assert len(inbox.mails) == 1
    assert "cannot be checked: does not exist" in inbox.mails[0][1].get_content()


def test_a_file_system_that_does_not_answer_holds_nobody_up(node: Any) -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse: the test mounts a file system that never answers")
    silent = node.root / "silent"
    silent.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    try:
        if libc.mount(b"silent", os.fsencode(silent), b"fuse", 0, options) != 0:
            pytest.skip(f"this machine lets nobody mount: {os.strerror(ctypes.get_errno())}")
        found = disks.ask([str(silent), "/"], 0.5)
        assert found[str(silent)] == "did not answer within 0.5 s"
        assert isinstance(found["/"], Usage)
    finally:
        os.close(device)  # nobody will ever answer: the kernel gives up on the mount
        libc.umount2(os.fsencode(silent), 2)


USAGE = Usage(device=1, used=50, available=50, inodes_used=0, inodes_available=0)


@pytest.mark.parametrize(
    ("percent", "free", "above", "clear", "free_below", "expected"),
    [
        (90.0, 100, 90, None, None, "between"),
        (90.1, 100, 90, None, None, "high"),
        (85.0, 100, 90, None, None, "between"),
        (84.9, 100, 90, None, None, "low"),
        (84.9, 100, 90, 50, None, "between"),
        (10.0, 99, 90, None, 100, "high"),
        (10.0, 109, 90, None, 100, "between"),
        (10.0, 110, 90, None, 100, "low"),
    ],
)
def test_when_a_limit_is_crossed_and_when_it_counts_as_recovered(
    percent: float, free: int, above: int, clear: int | None, free_below: int | None, expected: str
) -> None:
    assert level(percent, free, above, clear, free_below) == expected


def test_a_file_system_that_does_not_answer_keeps_what_was_told_of_its_space() -> None:
    told = {"space /x": "full"}
    assert [change.key for change in judge(FileSystem(path="/x"), "did not answer", told)] == ["access /x"]


def test_a_file_system_without_inodes_is_judged_by_its_space_alone() -> None:
    assert USAGE.inodes_percent is None
    assert list(judge(FileSystem(path="/x"), USAGE, {})) == []


def test_one_file_system_under_three_default_paths_is_watched_once(node: Any) -> None:
    done = node.utility("notificator")
    assert "1 file system watched" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file_systems:\n- path: data\n", ":2:3: path: 'data' is not an absolute path"),
        ("file_systems:\n- path: /\n  used_over: 3\n", ":3:3: used_over: unknown key; did you mean 'used_above'?"),
        ("file_systems:\n- path: /\n  clear_below: 95\n", ":3:3: clear_below: must not be above used_above (90)"),
        ("file_systems:\n- path: /\n  used_above: 101\n", ":3:3: used_above: must be from 1 to 100"),
        ("mail:\n  host: mx\n  sender: a@b.c\n", "recipients: is required"),
        ("mail:\n  host: mx\n  sender: a@b.c\n  recipients: ['x@y.z, q@r.s']\n", "as a mail address"),
        ("mail:\n  host: mx\n  sender: a@b.c\n  recipients: [x@y.z]\n  user: u\n  password_file: /p\n", "unprotected"),
        ("check_timeout: soon\n", ":1:1: check_timeout: cannot read 'soon' as a duration"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_their_place(node: Any, text: str, says: str) -> None:
    node.settings("notificator", text)
    done = node.utility("notificator")
    assert done.returncode == 2
    assert says in done.stderr
