"""What reaches a terminal of what jobs print, and what a command that waits gets to know from its child."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import Files
from terminals import Terminal

from vcsctl.cli.context import Context
from vcsctl.cli.fate import Fates
from vcsctl.cli.lookout import Lookout, Message
from vcsctl.cli.terminal import Shown
from vcsctl.domain.run import Request
from vcsctl.domain.unit import from_plain
from vcsctl.errors import USAGE, UsageError, VcsError

RUDE = b"\x1b]0;title\x07\x1b[31mr\xc3\xa9d\x1b[0m\tnext\r\n\x1b[2J\x1b[1;38:5:9mdone\xff\xc2\x9b\x08\x7f\n\x1b[3"
SEEN = "?]0;title?\x1b[31mréd\x1b[0m\tnext\r\n?[2J\x1b[1;38:5:9mdone\ufffd???\n?[3".encode()


class _ToTerminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_a_terminal_gets_lines_and_colours_and_nothing_else_to_obey(monkeypatch: Any, step: int) -> None:
    monkeypatch.setattr(sys, "stdout", _ToTerminal(io.BytesIO(), "utf-8"))
    shown = Shown()
    pieces = [shown.of(RUDE[at : at + step]) for at in range(0, len(RUDE), step)]
    assert b"".join(pieces) + shown.of(b"", is_last=True) == SEEN


def test_through_a_pipe_a_log_goes_byte_for_byte(tmp_path: Path) -> None:
    job = from_plain({"schedule": "periodical", "name": "calc", "period": 5, "exec": ["/bin/true"]})
    site = Files(tmp_path, job, environment={"LC_ALL": "C.UTF-8"}).site
    log = tmp_path / "var/log/vcs/calc/calc.1.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(RUDE)
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), "logs", "calc"]
    with Terminal(command, site.environment) as terminal:
        assert terminal.end() == 0
    assert terminal.raw == SEEN.replace(b"\n", b"\r\n")
    assert subprocess.run(command, env=site.environment, stdout=subprocess.PIPE, check=True).stdout == RUDE


def test_a_child_that_gives_signs_of_life_is_not_given_up() -> None:
    code = "import os, sys, time\nfrom vcsctl.cli import relay\nchild = relay.fork()\nif isinstance(child, int):\n"
    code += "    for number in range(12): time.sleep(0.1); number < int(sys.argv[1]) and os.write(child, b'.')\n    os._exit(7)\n"
    code += "sys.exit(child.until_over(0.6) or 1)\n"
    for signs, expected in (("0", 1), ("1", 1), ("12", 7)):
        assert subprocess.run([sys.executable, "-c", code, signs], timeout=60).returncode == expected, signs


def test_what_was_said_before_a_fault_is_told_before_it() -> None:
    def look() -> Iterator[Message]:
        yield {"said": "a is requested"}
        raise UsageError("b is not")

    with Lookout(look) as lookout:
        time.sleep(0.3)  # so that both are there to be read at once
        assert lookout.messages(10) == [{"said": "a is requested"}]
        with pytest.raises(VcsError, match="b is not") as raised:
            lookout.messages(10)
        assert raised.value.exit_code == USAGE


def test_who_waits_lists_the_queue_once_a_second(tmp_path: Path) -> None:
    """Ten looks a second at a queue of thousands, over NFS, are for nothing."""
    cell = Files(tmp_path, from_plain({"schedule": "periodical", "name": "calc", "period": 5, "exec": ["/bin/true"]}))
    cell.waits("calc")
    fates = Fates(Context(str(cell.site.root)), [Request("r0000000001", "calc", "calc", "eve", "a")])
    listings: list[object] = []
    sys.addaudithook(lambda event, told: listings.append(*told) if event == "os.listdir" else None)
    began_s = time.monotonic()
    said = [message["state"] for _ in range(50) for message in fates.look()]
    took_s = time.monotonic() - began_s
    assert said == ["waits"]
    assert listings.count(cell.paths.queue) <= 2 * (1 + took_s), "for its end and for its place"


def test_who_is_taken_up_between_two_looks_does_not_wait_for_itself(tmp_path: Path) -> None:
    """Its entry is on its way out, and its claim came after the look at it."""
    cell = Files(tmp_path, from_plain({"schedule": "periodical", "name": "calc", "period": 5, "exec": ["/bin/true"]}))
    cell.waits("calc")
    cell.runs("calc", "a", requests=("r0000000001",))
    fates = Fates(Context(str(cell.site.root)), [Request("r0000000001", "calc", "calc", "eve", "a")])
    assert list(fates.look()) == []
