"""Logs as they lie on the disk: their last lines, and reading on past what rotations do to them."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from vcsctl.cli.log_files import Tail, logs_of, newest_of_each, parts_of, start_of, text_of, written_at_s
from vcsctl.cli.log_follow import Wanted
from vcsctl.runners.daemon_log import DaemonLog

LONG = b"x" * 100_000  # more than one block


@pytest.mark.parametrize(
    ("parts", "lines", "expected"),
    [
        ([b"a\nb\nc\n"], 2, b"b\nc\n"),
        ([b"a\nb\nc"], 2, b"b\nc"),
        ([b"a\nb\n"], 5, b"a\nb\n"),
        ([b"a\nb\n"], 0, b""),
        ([b""], 3, b""),
        ([b"a\nb\n", b""], 1, b"b\n"),
        ([b"a\nbe", b"gun\nc\n"], 2, b"begun\nc\n"),
        ([b"a\n", b"b\n", b"c\n"], 2, b"b\nc\n"),
        ([b"a\n" + LONG + b"\n", LONG + b"\nc\n"], 3, LONG + b"\n" + LONG + b"\nc\n"),
        ([b"\n\n\n"], 2, b"\n\n"),
    ],
    ids=[
        "the last two",
        "the last one has no end",
        "more than there are",
        "none",
        "an empty log",
        "just rotated",
        "a line in two parts",
        "over several parts",
        "lines longer than a block",
        "empty lines",
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_the_last_lines_are_found(
    tmp_path: Path, parts: list[bytes], lines: int, expected: bytes, packed: bool
) -> None:
    log = tmp_path / "a.1.log"
    log.write_bytes(parts[-1])
    for number, part in enumerate(reversed(parts[:-1]), 1):
        older = tmp_path / f"a.1.log.{number}"
        older.write_bytes(part)
        if packed:
            subprocess.run(["gzip", str(older)], check=True)
    files = parts_of(str(log))
    number, at, _ = start_of(files, lines)
    assert b"".join(text_of(files[number:], at)) == expected
    assert b"".join(text_of(files)) == b"".join(parts)


def test_which_log_is_the_newest_goes_by_the_number_and_not_by_the_time_of_a_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("a.9.log", "a.10.log", "a.9.log.1.gz", "b.1.log", "a.txt"):
        (folder / name).write_bytes(b"x")
    os.utime(folder / "a.10.log", (1, 1))
    logs = logs_of(str(tmp_path), "a")
    assert [log.name for log in logs] == ["a.9", "a.10"]
    assert [log.name for log in newest_of_each(logs)] == ["a.10"]
    assert logs_of(str(tmp_path), "../a") == []
    (folder / "a.9.log").write_bytes(b"")
    os.utime(folder / "a.9.log.1.gz", (7, 7))
    assert written_at_s(str(folder / "a.9.log")) == 7.0, "what was put aside tells when it was written to"


def test_only_files_are_logs(tmp_path: Path) -> None:
    (tmp_path / "a" / "a.2.log").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "a.3.log")
    (tmp_path / "a" / "a.1.log").touch()
    assert [log.name for log in logs_of(str(tmp_path), "a")] == ["a.1"]


@pytest.mark.parametrize("torn", [True, False], ids=["torn", "no packed file at all"])
def test_of_a_damaged_part_what_comes_before_is_shown_and_the_next_part_follows(tmp_path: Path, torn: bool) -> None:
    log, part = tmp_path / "a.1.log", tmp_path / "a.1.log.1.gz"
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(100_000)))
    part.write_bytes(packed[: len(packed) // 2] if torn else b"of another kind\n")
    log.write_bytes(b"last\n")
    told = list[str]()
    text = b"".join(text_of(parts_of(str(log)), 0, told.append))
    assert text.endswith(b"last\n")
    assert text.startswith(b"0\n1\n") == torn
    assert told == [f"{part} is damaged: what follows is not shown"]
    number, at, _ = start_of(parts_of(str(log)), 2)
    assert b"".join(text_of(parts_of(str(log))[number:], at)) == text[at:]


def test_thousands_of_empty_logs_are_looked_through_with_few_looks_at_their_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    for number in range(1, 200):
        (tmp_path / "a" / f"a.{number}.log").touch()
    (tmp_path / "a" / "a.7.log.1").write_bytes(b"x\n")
    listed, listdir = list[str](), os.listdir

    def counted(folder: str) -> list[str]:
        listed.append(folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", counted)
    answers = list[None]()
    wanted = Wanted(str(tmp_path), "a", None, 1.0, None)
    logs = wanted.of(logs_of(str(tmp_path), "a"), lambda: answers.append(None))
    assert len(wanted.parts(logs, lambda: answers.append(None))) == len(logs) + 1 == 200
    assert len(answers) >= 2 * len(logs), "each log is an answer"
    assert len(listed) <= 3


def emptied(log: Path) -> None:
    """As logrotate's copytruncate: its copy may be packed only after a while."""
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)


def emptied_and_packed(log: Path) -> None:
    with gzip.open(f"{log}.1.gz", "wb") as packed:
        packed.write(log.read_bytes())
    os.truncate(log, 0)


def renamed(log: Path) -> None:
    log.rename(f"{log}.1")
    log.touch()


def cut_off(log: Path) -> None:
    """As the runner of a daemon: by whole blocks where the file system can, else as a whole."""
    with log.open("r+b") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "vcsctl.runners.daemon_log._OPEN_LOG", f"/proc/self/fd/{file.fileno()}"
        )  # not our standard output
        assert DaemonLog(str(log), 1, 5).rotate() == ""


@pytest.mark.parametrize("rotate", [emptied, emptied_and_packed, renamed, cut_off])
def test_a_log_is_read_on_past_a_rotation_with_nothing_lost_or_doubled(
    tmp_path: Path, rotate: Callable[[Path], None]
) -> None:
    log = tmp_path / "a.1.log"
    lines = [f"line {number}\n".encode() for number in range(4000)]
    log.write_bytes(b"".join(lines[:1000]))
    tail = Tail(str(log))
    seen = b"".join(tail.new())
    for begin in (1000, 2000, 3000):
        append(log, lines[begin : begin + 500])  # not read yet when it is rotated
        rotate(log)
        seen += b"".join(tail.new())
        append(log, lines[begin + 500 : begin + 1000])
        seen += b"".join(tail.new())
    tail.close()
    assert seen == b"".join(lines)


def test_a_log_that_somebody_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "a.1.log"
    (tmp_path / "a.1.log.1").write_bytes(b"of old\n")
    log.write_bytes(b"a longer line\n")
    tail = Tail(str(log))
    assert b"".join(tail.new()) == b"a longer line\n"
    os.truncate(log, 0)
    append(log, [b"anew\n"])
    assert b"".join(tail.new()) == b"anew\n"
    tail.close()


def append(log: Path, lines: list[bytes]) -> None:
    with log.open("ab") as file:
        file.writelines(lines)
