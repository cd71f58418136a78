"""What of the laboratory can be seen without a machine: its scenarios, their units, how it hears jobs, its report."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import cell, scenarios
from lab.cell import Cell, Service
from lab.findings import Findings, Measure, Quote, keep, kept
from lab.image import Images
from lab.oracle import Oracle
from lab.report import render
from lab.trial import Trial, play
from tests.checker import History, violations
from vcsctl.catalog.validate import load_unit
from vcsctl.catalog.yaml_tree import parse_tree

PATIENCE_S = 10.0
SERVICES = [
    service for module in scenarios.SCENARIOS.values() for service in getattr(module, "SERVICES", ())
]  # power-off makes its own when it is played


def test_every_scenario_is_listed_and_has_a_title() -> None:
    files = {path.stem for path in Path(scenarios.__file__).parent.glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in scenarios.SCENARIOS.values()} == files
    assert all(module.__doc__ for module in scenarios.SCENARIOS.values())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_units_of_the_scenarios_are_good(service: Service) -> None:
    unit = load_unit(service.name, parse_tree(service.text.encode(), f"{service.name}.yaml"))
    assert unit.groups == service.groups


class Line:
    """The host's side of a serial line, as QEMU offers it."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def take(self) -> socket.socket:
        return self._listener.accept()[0]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[tuple[Oracle, socket.socket, socket.socket]]:
    """An oracle and the lines of two machines."""
    oracle, lines = Oracle(lambda unit: ("billing",)), []
    for name in ("bill1", "bill2"):
        line = Line(tmp_path / name)
        oracle.listen(name, tmp_path / name)
        lines.append(line.take())
    yield oracle, *lines
    for one in lines:
        one.close()


def tell(oracle: Oracle, line: socket.socket, word: str, run: str) -> None:
    """A job's line, and the oracle has heard it."""
    before = time.monotonic()
    unit = run.partition(".")[0]
    text = f"vcs {word} run={run} unit={unit} slot=- attempt=1 trigger=manual fence.BILLING={run[-1]}\n"
    line.sendall(text[:20].encode())
    line.sendall(text[20:].encode())
    while not any(one.run == run and one.last_at >= before for one in oracle.seen()):
        assert time.monotonic() < before + PATIENCE_S, f"{text!r} was not heard"
        time.sleep(0.005)


def test_one_after_the_other_is_no_overlap(heard: tuple[Oracle, socket.socket, socket.socket]) -> None:
    oracle, one, two = heard
    for line, run in ((one, "a.1"), (two, "b.2")):
        for word in ("begin", "alive", "end"):
            tell(oracle, line, word, run)
    assert [seen.ended for seen in oracle.seen()] == [True, True]
    assert violations(History(oracle.executions(), settled_until=0.0)) == []


def test_a_job_that_is_heard_after_another_of_its_group_began_overlaps(
    heard: tuple[Oracle, socket.socket, socket.socket],
) -> None:
    oracle, one, two = heard
    tell(oracle, one, "begin", "a.1")
    tell(oracle, two, "begin", "b.2")
    tell(oracle, one, "alive", "a.1")
    assert [text for text in violations(History(oracle.executions(), settled_until=0.0)) if "group billing" in text]


class Shell:
    """The file server of a cell that was never switched on: its commands run here, with `folder` first in the PATH."""

    def __init__(self, folder: Path) -> None:
        self._environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def must(self, command: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        return done.stdout.strip()


class Yard(Cell):
    """A cell of which there is only what lies on its share."""

    def __init__(self, folder: Path, *services: Service) -> None:
        self.services = list(services)
        self.share = folder / "share"
        self.oracle = Oracle(self.groups_of)
        self.server = Shell(folder)  # type: ignore[assignment]

    def put(self, name: str, *records: dict[str, object]) -> None:
        path = self.share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    yard = Yard(tmp_path, Service("each-minute", period=1), Service("there-only", period=1), Service("asked"))
    monkeypatch.setattr(cell, "SERVED", str(yard.share))
    return yard


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(Images(*[tmp_path] * 4), Findings("clock", "A clock is off."), keep=False)


def row(key: str, number: str, minute: int, **more: object) -> dict[str, object]:
    slot = f"2026-11-25T09:{minute:02}:00Z"
    return {"id": f"{key}.{number}", "key": key, "outcome": "ok", "cause": "exited", "slot": slot, **more}


def test_a_minute_without_a_row_between_others_is_a_slot_that_was_lost(yard: Yard, trial: Trial) -> None:
    missed = {"outcome": "missed", "cause": "too-late", "last": "2026-11-25T09:03:00Z"}
    yard.put(
        "history/each-minute/2026-11.bill1.jsonl",
        *(row("each-minute", "1", 0), row("each-minute", "2", 1), row("each-minute", "3+1", 2, **missed)),
        row("each-minute", "3", 5),
    )
    yard.put("history/there-only/2026-11.bill2.jsonl", row("there-only", "1", 3), row("there-only", "2", 4))
    trial.judge(yard)
    assert trial.findings.failures == ["the checker: no outcome: slot 2026-11-25T09:04:00Z of each-minute"]


def test_a_claim_that_is_pruned_while_it_is_read_is_none(yard: Yard, tmp_path: Path) -> None:
    for fence in ("001", "002"):
        yard.put(f"state/asked/{fence}.json", {"key": "asked", "fence": fence})
    pruning = tmp_path / "cat"  # the first is gone when it is read
    pruning.write_text('#!/bin/sh\ncase "$1" in *001.json) rm "$1" ;; esac\nexec /bin/cat "$1"\n')
    pruning.chmod(0o755)
    assert [claim["fence"] for claim in yard.claims()] == ["002"]


def test_a_scenario_that_breaks_is_a_finding_and_the_next_is_played(
    trial: Trial, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(trial: Trial) -> None:
        trial.fact("something was seen")
        {}["nobody"]

    play(run, trial)
    (failure,) = trial.findings.failures
    assert failure.startswith("the scenario broke off: KeyError: 'nobody'")
    assert 'in run: {}["nobody"]' in failure
    assert trial.findings.facts == ["something was seen"]
    assert not trial.findings.is_good
    assert "Traceback" in capsys.readouterr().err


def test_the_report_says_what_was_found(tmp_path: Path) -> None:
    found = Findings("cut", "A cable is pulled.", "2026-11-24 22:00", is_judged=True, executions=3)
    found.measures.append(Measure("from cut to KILL", 31.24, "at most 22 s", False))
    found.quotes.append(Quote(12.0, "bill2", "vcsctl nodes", "bill1 silent"))
    found.failures.append("from cut to KILL took 31.2 s")
    keep(tmp_path, found)
    assert kept(tmp_path, "cut") == found
    assert kept(tmp_path, "never-played") is None
    text = render([found])
    for part in (
        "**1 to look at**",
        "| from cut to KILL | 31.2 | at most 22 s **not kept** |",
        "bill1 silent",
        "+12 s",
    ):
        assert part in text
