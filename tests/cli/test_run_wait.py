"""run --wait and --follow: the place in the queue, the log, the exit code; logs -f from run to run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from terminals import Terminal, assert_screen, steady

from vcsctl.cli.fate import exit_code
from vcsctl.cli.history import Filter
from vcsctl.cli.tables import local
from vcsctl.cli.waiting import Progress
from vcsctl.domain.history import Row

Site = Any
BY_HAND = "schedule: periodical\nperiod: 60\nenabled: false\n"
UNITS = {
    "held": "groups: [billing]\nexec: [/bin/sleep, 1000]\n",
    "quick": "groups: [billing]\nexec: [/bin/sh, -c, 'echo one; echo two; exit 3']\n",
    "waits": "groups: [billing]\nexec: [/bin/true]\n",
    "killed": "exec: [/bin/sh, -c, 'kill -9 $$']\n",
    "slow": "timeout: 500ms\nexec: [/bin/sleep, 1000]\n",
    "lost": "exec: [/bin/sleep, 1000]\n",
    "counts": "exec: [/bin/sh, -c, 'echo this is $VCS_RUN_ID']\n",
    "endless": "exec: [/bin/sh, -c, 'printf %s $VCS_RUN_ID']\n",
    "large": "exec: [/bin/sh, -c, 'yes größer | head -c 9000000; yes plain | head -c 20000000']\n",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Iterator[Site]:
    made = site_class(tmp_path_factory.mktemp("site"))
    made.configure("node: a\n")
    for name, text in UNITS.items():
        made.unit(name, BY_HAND + text)
    gate = made.root / "gate"
    script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; printf over; exit 7"
    made.unit("gated", f"{BY_HAND}exec: [/bin/sh, -c, '{script}']\n")
    bad = made.root / "bad"
    bad.write_text("#!/nonexistent/interpreter\n")
    bad.chmod(0o755)
    made.unit("bad", f"{BY_HAND}exec: [{bad}]\n")
    made.start()
    yield made
    made.stop()
    for path in made.shared.glob("running/*.json"):
        made.vcsctl("stop", path.stem.rpartition(".")[0])


def command(site: Site, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), *arguments]


def begun(site: Site, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(site, *arguments), env=site.environment, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, told = process.communicate(timeout=60)
    return process.returncode, said, told


def without_ids(text: str) -> str:
    return re.sub(r"\b\d+ s\b", "N s", re.sub(r"\br[0-9a-f]{10}\b", "rXXXXXXXXXX", steady(text)))


@pytest.mark.parametrize(
    ("outcome", "cause", "code", "number", "expected"),
    [
        ("ok", "exited", 0, None, 0),
        ("ok", "exited", 4, None, 0),
        ("failed", "exit-code", 3, None, 3),
        ("failed", "signal", None, 9, 137),
        ("failed", "cannot-start", None, None, 126),
        ("timeout", "timeout", None, 15, 124),
        ("stopped", "stop-requested", None, 15, 143),
        ("stopped", "stop-requested", 0, None, 1),
        ("stopped", "stopped-before-start", None, None, 81),
        ("lost", "storage", 0, None, 82),
        ("missed", "too-late", None, None, 80),
        ("skipped", "cancelled", None, None, 81),
    ],
)
def test_a_command_that_waits_ends_as_the_job_did(
    outcome: str, cause: str, code: int | None, number: int | None, expected: int
) -> None:
    assert exit_code(outcome, cause, code, number) == expected


def test_each_end_of_a_run_has_its_exit_code_and_its_sentence(shared: Site) -> None:
    running = {name: begun(shared, "run", name, "--wait") for name in ("killed", "slow", "lost", "bad")}
    started = shared.shared / "state/lost/1.started"
    shared.until(started.exists, "the run that is to be lost has started")
    os.kill(json.loads(started.read_text())["pid"], signal.SIGKILL)
    found = {name: ended(process) for name, process in running.items()}
    assert {name: code for name, (code, _, _) in found.items()} == {"killed": 137, "slow": 124, "lost": 82, "bad": 126}
    sentences = {name: said.splitlines()[1] for name, (_, said, _) in found.items()}
    assert sentences["killed"] == "killed.1: failed: killed by signal SIGKILL"
    assert sentences["slow"] == "slow.1: timeout: ran longer than its timeout of 0.5 s"
    assert sentences["lost"].startswith("lost.1: lost: ")
    assert sentences["bad"].startswith("bad.1: failed: ")


def test_what_waits_is_told_with_its_place_and_ctrl_c_leaves_it_in_the_queue(shared: Site) -> None:
    shared.request("held")
    shared.until(lambda: list(shared.shared.glob("state/held/*.started")), "held has started")
    waiting = begun(shared, "run", "waits", "--wait")
    shared.until(lambda: list(shared.shared.glob("queue/waits.*")), "the first is in the queue")
    with Terminal(command(shared, "run", "quick", "--wait"), shared.environment) as terminal:
        terminal.until(lambda text: " 2 of 2 in the queue" in text, "place in the queue")
        assert_screen("run-wait-80", without_ids(terminal.text))
        [entry] = [row for row in queue(shared) if row["key"] == "quick"]
        assert f"2 of 2 in the queue, {entry['waits_for']}, " in terminal.text
        terminal.type("\x03")
        assert terminal.end() == 128 + signal.SIGINT
        assert "quick waits on; `vcsctl logs quick -f` follows its run, `vcsctl cancel quick`" in terminal.text.replace(
            "\n", ""
        )
    assert [row["key"] for row in queue(shared)] == ["waits", "quick"], "it is left alone"

    shared.kill()  # the vcsd; waiting goes on
    shared.start()
    shared.vcsctl("cancel", "waits")
    code, said, told = ended(waiting)
    assert (code, said.splitlines()[1].partition(": ")[2]) == (81, "skipped: the request was cancelled")
    assert told == f"vcsctl: waits: 1 of 1 in the queue, {entry['waits_for']}\n" + told.partition("\n")[2]
    assert all(" of 2 in the queue, " in line for line in told.splitlines()[1:]), "a line when it changes"

    second = begun(shared, "run", "quick", "--follow")
    shared.until(lambda: len(list(shared.shared.glob("queue/quick.*.json"))) == 2, "both requests wait")
    shared.vcsctl("stop", "held")
    code, said, told = ended(second)
    assert (code, said) == (3, "one\ntwo\n")
    assert told.splitlines()[-1] == "vcsctl: quick.1: failed: exited with code 3"


def queue(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.vcsctl("queue", "--output", "json").stdout)["queue"]
    return found


def test_the_log_is_followed_to_the_end_and_ctrl_c_leaves_the_run_alone(shared: Site) -> None:
    both = begun(shared, "run", "gated", "counts", "--follow")
    with Terminal(command(shared, "logs", "gated", "-f"), shared.environment) as terminal:
        terminal.until(lambda text: "begun" in text, "log of a run that was to come")
        terminal.type("\x03")
        assert terminal.end() == 128 + signal.SIGINT
    with Terminal(command(shared, "logs", "gated", "--run", "gated.1", "-f"), shared.environment) as terminal:
        terminal.until(lambda text: "begun" in text, "log")
        (shared.root / "gate").touch()
        code, said, told = ended(both)
        assert code == 7
        assert sorted(said.splitlines()) == ["counts | this is counts.1", "gated  | begun", "gated  | over"]
        assert "vcsctl: gated.1: failed: exited with code 7\n" in told
        assert terminal.end() == 0, "that run is over"
    (shared.root / "gate").unlink()

    with Terminal(command(shared, "run", "gated", "--follow"), shared.environment) as terminal:
        terminal.until(lambda text: "begun" in text, "log")
        terminal.type("\x03")
        assert terminal.end() == 128 + signal.SIGINT
        assert_screen("run-follow-80", without_ids(terminal.text))
    assert list(shared.shared.glob("running/gated.2.json"))
    (shared.root / "gate").touch()
    shared.until(lambda: len(shared.history("gated")) == 2, "it has gone on to its end")


def test_logs_follow_every_run_however_short_and_tell_whose_they_are(shared: Site) -> None:
    with Terminal(command(shared, "logs", "counts", "-f"), shared.environment) as terminal:
        terminal.until(lambda text: "counts.1" in text, "what is there")
        for number in range(2, 6):
            shared.request("counts")
            shared.until(lambda number=number: len(shared.history("counts")) == number, "it has run")
        terminal.until(lambda text: "this is counts.5" in text, "the last run")
        assert_screen("logs-follow-80", re.sub(r", (running|ok) <==", ", OUTCOME <==", steady(terminal.text)))
    assert shared.vcsctl("logs", "counts").stdout == "this is counts.5\n"


def test_several_logs_are_told_apart_and_one_is_printed_byte_for_byte(shared: Site) -> None:
    for number in (1, 2, 3):
        shared.request("endless")
        shared.until(lambda number=number: len(shared.history("endless")) == number, "it has run")
    heads = [f"==> {row['id']}, {started(row)}, a, ok <==\n" for row in shared.history("endless")]
    both = shared.vcsctl("logs", "endless", "--since", "1h", "-n", "2")
    assert (both.stdout, both.stderr) == (f"{heads[1]}endless.2\n{heads[2]}endless.3", ""), "a line each"
    every = f"{heads[0]}endless.1\n{heads[1]}endless.2\n{heads[2]}endless.3"
    assert shared.vcsctl("logs", "endless", "--since", "1h").stdout == every
    assert shared.vcsctl("logs", "endless", "--run", "endless.1").stdout == "endless.1"
    following = begun(shared, "logs", "endless", "-f", "--since", "1h")
    assert following.stdout is not None
    assert following.stdout.read(len(every)) == every
    following.terminate()
    following.communicate()


def test_a_large_log_is_passed_on_as_fast_as_it_is_read(shared: Site) -> None:
    """It took a minute: a piece of it was taken for each look at the shared directory. As it takes part of a second, the
    bound leaves room for a machine with much else to do."""
    process = subprocess.Popen(
        command(shared, "run", "large", "--follow"), env=shared.environment, stdout=subprocess.PIPE
    )
    try:
        assert len(process.communicate(timeout=15)[0]) == 29_000_000
    finally:
        process.kill()


def started(row: dict[str, Any]) -> str:
    return local(datetime.fromisoformat(row["started_at"]))


def test_history_is_filtered_and_counted(shared: Site) -> None:
    listing = shared.vcsctl("history", "gated", "--outcome", "failed,lost", "--since", "1h", "--output", "json")
    rows = json.loads(listing.stdout)["history"]
    assert [row["id"] for row in rows] == ["gated.1", "gated.2"]
    until = shared.vcsctl("history", "gated", "--until", rows[0]["at"], "--stats", "--output", "json")
    answer = json.loads(until.stdout)
    assert (answer["version"], answer["statistics"]["outcomes"]) == (1, {"failed": 1})
    assert answer["statistics"]["duration"]["count"] == 1
    assert shared.vcsctl("history", "gated", "--stats").stdout.startswith("2 failed; recorded from ")
    with Terminal(command(shared, "history", "gated"), shared.environment, columns=70) as terminal:
        assert terminal.end() == 0
        head, *listed, left_out = terminal.text.splitlines()
        assert [line.split()[2:4] for line in listed] == [["gated.1", "failed"], ["gated.2", "failed"]], (
            "a row is a line"
        )
        assert (head.split()[-1], left_out.split()[:4]) == ("WHY", ["too", "narrow", "for", "NODE,"]), terminal.text
    refused = shared.vcsctl("history", "gated", "--outcome", "faild")
    assert (refused.returncode, refused.stderr.partition(" is none of ok, failed")[0]) == (
        2,
        "vcsctl: --outcome: 'faild'",
    )


def test_where_there_is_nothing_a_person_is_told_so_and_a_program_gets_nothing(shared: Site) -> None:
    for arguments, expected in (
        (("queue",), "nothing waits"),
        (("history", "held", "--outcome", "lost,timeout"), "nothing of held that is lost or timeout is on record"),
        (("history", "held", "--until", "2026-01-01T10:00"), "nothing of held until 2026-01-01 10:00:00 is on record"),
    ):
        with Terminal(command(shared, *arguments), shared.environment) as terminal:
            assert terminal.end() == 0
            assert terminal.text == f"{expected}\n"
        piped = shared.vcsctl(*arguments)
        assert (piped.returncode, piped.stdout, piped.stderr) == (0, "", "")
    assert json.loads(shared.vcsctl("queue", "-o", "json").stdout) == {"version": 1, "queue": []}


ROW = Row("a.1", "a", "a", "ok", "exited", "", datetime(2026, 3, 2, tzinfo=UTC), "n", "manual")
ALL = Filter(frozenset(), frozenset(), None, None, None)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (ALL, True),
        (replace(ALL, outcomes=frozenset({"ok", "lost"})), True),
        (replace(ALL, outcomes=frozenset({"lost"})), False),
        (replace(ALL, triggers=frozenset({"manual"})), True),
        (replace(ALL, triggers=frozenset({"schedule"})), False),
        (replace(ALL, node="n"), True),
        (replace(ALL, node="m"), False),
        (replace(ALL, since=ROW.at, until=ROW.at), True),
        (replace(ALL, since=ROW.at + timedelta(seconds=1)), False),
        (replace(ALL, until=ROW.at - timedelta(seconds=1)), False),
    ],
)
def test_a_row_is_taken_that_fits_everything_asked_for(wanted: Filter, taken: bool) -> None:
    assert list(wanted.of([ROW])) == [ROW] * taken


def test_how_long_something_lasts_is_not_news(capfd: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for text in ("a (silent for 15 s)", "a (silent for 16 s)", "a (silent for 1m05s)", "a (drained)"):
        progress.show([(text, "")])
    assert capfd.readouterr().err == "vcsctl: a (silent for 15 s)\nvcsctl: a (drained)\n"
