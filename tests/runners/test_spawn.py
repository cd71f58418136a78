"""Between fork and exec."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcsctl.runners import linux, spawn
from vcsctl.runners.spawn import CannotStartError, Command


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """A mount whose server has been stopped."""
    (tmp_path / "source/work").mkdir(parents=True)
    point = tmp_path / "mount"
    point.mkdir()
    server = subprocess.Popen(
        ["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0", str(tmp_path / "source"), str(point)]
    )
    give_up = time.monotonic() + 10
    while not os.path.ismount(point) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert os.path.ismount(point), "bindfs mounts nothing"
    server.send_signal(signal.SIGSTOP)
    try:
        yield point
    finally:
        server.kill()
        server.wait()
        subprocess.run(["umount", "--lazy", str(point)], check=False)


def test_a_command_that_is_not_executed_in_time_is_not_executed_later(hanging: Path, tmp_path: Path) -> None:
    command = Command(("/usr/bin/touch", str(tmp_path / "executed")), {}, working_directory=f"{hanging}/work")
    began_s = time.monotonic()
    with pytest.raises(CannotStartError, match="not executed within 1 s: its directory or program does not answer"):
        spawn.start(command, within_s=1.0)
    assert time.monotonic() - began_s < 10.0
    assert not (tmp_path / "executed").exists()


def test_the_groups_of_an_account_are_those_that_the_library_tells() -> None:
    for account in pwd.getpwall():
        found = linux.groups_of(account.pw_name, account.pw_gid)
        assert sorted(found) == sorted(os.getgrouplist(account.pw_name, account.pw_gid))
    assert linux.groups_of("nobody-of-that-name", 4711) == (4711,)
