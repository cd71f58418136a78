"""A systemd of the test's own: a user manager in a mount namespace with an empty /run, so that it knows no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sites import Site

SHIPPED = Path(__file__).parents[2] / "etc/systemd/vcsd.service"
_BEGIN = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system && mkdir -m 700 /run/own
exec "$1" --user --unit=basic.target
"""


class Systemd:
    """`call` is systemctl. The shipped unit, but for the program and the root that it is to have."""

    def __init__(self, site: Site, manager: str) -> None:
        self.site = site
        units = site.root / "systemd/user"
        (units / "vcsd.service.d").mkdir(parents=True)
        shutil.copy(SHIPPED, units / "vcsd.service")
        log = site.root / "vcsd.log"
        log.touch()
        (units / "vcsd.service.d/test.conf").write_text(
            f"[Service]\nExecStart=\nExecStart={sys.executable} -m vcsctl.vcsd.main\n"
            f"Environment=VCS_ROOT={site.root}\nStandardError=append:{log}\n"
        )
        self.environment = {
            "HOME": str(site.root),
            "PATH": os.environ["PATH"],
            "SYSTEMD_LOG_TARGET": "console",
            "XDG_RUNTIME_DIR": "/run/own",
            "XDG_CONFIG_HOME": str(site.root),
        }
        self.log = (site.root / "systemd.log").open("wb")
        command = ["unshare", "--mount", "sh", "-e", "-c", _BEGIN, "sh", manager]
        self.process = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT)
        self.until(lambda: self.call("is-system-running").stdout.strip() == "running", "systemd runs")

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--target={self.process.pid}", "--mount", "systemctl", "--user", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )

    def must(self, *arguments: str) -> None:
        done = self.call(*arguments)
        assert done.returncode == 0, (arguments, done.stderr, self.site_log())

    def show(self, name: str) -> str:
        return self.call("show", "vcsd", f"--property={name}", "--value").stdout.strip()

    def site_log(self) -> str:
        return (self.site.root / "vcsd.log").read_text()[-3000:]

    def until(self, holds: Callable[[], object], what: str, patience_s: float = 40) -> None:
        give_up = time.monotonic() + patience_s
        while not holds():
            if time.monotonic() > give_up:
                said = (self.site.root / "systemd.log").read_text()[-2000:]
                pytest.fail(f"waited {patience_s:g} s in vain until {what}; vcsd: {self.site_log()}\nsystemd: {said}")
            time.sleep(0.05)

    def close(self) -> None:
        mark = f"VCS_ROOT={self.site.root}".encode()
        if self.process.poll() is None:
            self.call("kill", "--signal=KILL", "vcsd")
            self.process.kill()
        self.process.wait(20)
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    os.kill(int(path.name), signal.SIGKILL)
            except OSError:
                continue
        self.log.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    manager = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(path)), "")
    if not manager or os.geteuid() != 0:
        pytest.skip("needs systemd, and to be root")
    made = Systemd(Site(tmp_path), manager)
    yield made
    made.close()
