"""`status --watch` on a terminal: redrawn in place, through changes, other sizes and a share that hangs."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Files
from terminals import Terminal

from vcsctl.domain.unit import from_plain

CALC = from_plain({"schedule": "periodical", "name": "calc", "period": 5, "groups": ["g"], "exec": ["/bin/true"]})
CLEAR, HOME, LEAVE = b"\x1b[2J", b"\x1b[H", b"\x1b[?7h\x1b[?25h\x1b[?1049l"


@pytest.fixture
def cell(tmp_path: Path) -> Files:
    return Files(tmp_path, CALC, environment={"LC_ALL": "C.UTF-8"})


def watching(cell: Files, *arguments: str, columns: int = 80) -> Terminal:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(cell.site.root), "status", *arguments, "--watch"]
    return Terminal(command, cell.site.environment, columns, 12)


def test_it_is_redrawn_in_place_and_leaves_the_terminal_as_it_was(cell: Files) -> None:
    with watching(cell, "--interval", "200ms", columns=60) as shown:
        before = shown.modes
        shown.until(lambda text: "0 queued" in text, "first frame")
        assert shown.modes != before, "keys are not shown"
        cell.waits("calc")
        shown.until(lambda text: "1 queued" in text and "starts next" in text, "the change")
        shown.type("x")
        shown.resize(120, 20)
        shown.until(lambda text: "RUN GROUPS" in text and "IN QUEUE" in text, "the wider table")
        shown.type("\x03")
        assert shown.end() == 0
        assert shown.modes == before
    assert CLEAR not in shown.raw
    assert shown.raw.count(HOME) > 2
    assert shown.raw.endswith(LEAVE)
    assert "Traceback" not in shown.text


def test_q_ends_it_and_what_does_not_fit_is_counted(cell: Files) -> None:
    cell.declare(*(from_plain({**_plain(), "name": f"job-{number}"}) for number in range(30)))
    with watching(cell) as shown:
        shown.until(lambda text: "more lines" in text, "first frame")
        shown.type("q")
        assert shown.end() == 0


def silent_s(text: str) -> int:
    found = re.search(r"has not answered\s+for (\d+) s", text)
    return int(found[1]) if found else 0


def _plain() -> dict[str, object]:
    return {"schedule": "periodical", "period": 5, "exec": ["/bin/true"]}


def test_a_mistake_is_answered_and_not_watched(cell: Files) -> None:
    with watching(cell, "calk") as shown:
        assert shown.end() == 4
    assert shown.text.endswith("vcsctl: unknown service calk; did you mean calc?\n")


@pytest.fixture
def server(cell: Files) -> Iterator[subprocess.Popen[bytes]]:
    """The cell's directory through a server of its own, which can be stopped."""
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("needs bindfs and /dev/fuse")
    real = cell.site.shared.rename(cell.site.root / "real")
    cell.site.shared.mkdir()
    serving = subprocess.Popen(["bindfs", "-f", "-o", "direct_io", str(real), str(cell.site.shared)])
    (cell.site.root / "vcsd.log").touch()
    cell.site.until(lambda: (cell.site.shared / "cell.json").exists(), "it is mounted")
    yield serving
    serving.send_signal(signal.SIGCONT)
    subprocess.run(["umount", "--lazy", str(cell.site.shared)], check=False)
    serving.wait(20)


def test_a_share_that_hangs_is_told_of_and_the_watch_goes_on(cell: Files, server: subprocess.Popen[bytes]) -> None:
    """Ten seconds, since it is about the five that a look is given."""
    with watching(cell, "--interval", "500ms") as shown:
        shown.until(lambda text: "0 queued" in text, "first frame")
        server.send_signal(signal.SIGSTOP)
        hung_at_s = time.monotonic()
        shown.until(silent_s, "that it hangs")
        assert time.monotonic() - hung_at_s < 5
        assert "0 queued" in shown.text, "what was known last stays, with its time above it"
        shown.until(lambda text: silent_s(text) > 6, "the first look is given up, and it goes on")
        server.send_signal(signal.SIGCONT)
        cell.waits("calc")
        shown.until(lambda text: "1 queued" in text and not silent_s(text), "it answers again")
        shown.type("q")
        assert shown.end() == 0
