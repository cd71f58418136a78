"""What somebody sees who writes a unit in an editor with yaml-language-server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import MISSING, ROOT, LanguageServer

from vcsctl.catalog.schema import as_text
from vcsctl.domain.key_texts import TEXTS
from vcsctl.domain.unit import KINDS, keys_of

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING}; `make editor-test` installs it")
UNITS = ROOT / "units"
FIRST = "# yaml-language-server: $schema=../unit.schema.json\n"
NEEDED = {"daemon": "", "periodical": "period: 5\n", "fixed-time": "run_at: 04:05\n"}


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    with LanguageServer() as started:
        yield started


def test_a_wrong_key_is_flagged_at_its_line(server: LanguageServer) -> None:
    document = server.open(UNITS, FIRST + "schedule: periodical\nexec: [/bin/true]\nperiod: 5\npeiod: 3\n")
    assert document.faults == [(5, "Property peiod is not allowed.")]


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        ("daemon", "run_at: 04:05", "belongs to fixed-time services, and this one is a daemon; remove it"),
        ("fixed-time", "restart: always", "belongs to daemons, and this one is fixed-time; remove it"),
        ("periodical", "command: /bin/x", "unknown key; write exec"),
        (
            "periodical",
            "timeout: soon",
            "write a duration such as 90s, 15m, 2h or 1h30m, more than 0 and at most 8784h",
        ),
        ("periodical", "retries: {atempts: 3}", "write a map with one or more of attempts, delay, max_delay"),
        ("daemon", "health: {period: 5s}", "write exactly one of tcp, http, exec"),
        ("daemon", "ready: {tcp: 80, after: 5s}", "write exactly one of tcp, http, exec, after"),
        ("daemon", "nodes: [a b]", "write a node's name or label:NAME"),
        ("daemon", "run_on: all", "Value is not accepted."),
        ("fixed-time", "days: [monday]", "write mon to sun, 1 to 31, or last"),
    ],
)
def test_a_fault_is_told_with_what_to_write(server: LanguageServer, kind: str, line: str, message: str) -> None:
    needed = NEEDED[kind]
    document = server.open(UNITS, f"{FIRST}schedule: {kind}\nexec: [/bin/true]\n{needed}{line}\n")
    (found,) = document.faults
    assert found[0] == 4 + bool(needed)
    assert found[1].startswith(message)


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_of_its_kind_are_completed_and_explained(server: LanguageServer, kind: str) -> None:
    document = server.open(UNITS, f"{FIRST}schedule: {kind}\n\n")
    proposed = server.completed(document, 3, 1)
    keys = {key for one in KINDS for key in keys_of(one)}
    assert proposed.keys() & keys == set(keys_of(kind)) - {"schedule"}
    for key in proposed.keys() & keys:
        assert proposed[key] == TEXTS[key], key


def test_a_right_key_is_completed_from_its_first_letters(server: LanguageServer) -> None:
    document = server.open(UNITS, FIRST + "schedule: fixed-time\nexec: [/bin/true]\nrun\n")
    assert "run_at" in server.completed(document, 4, 4)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("daemon", "restart: ", {"always", "on-failure", "never"}),
        ("periodical", "enabled: ", {"true", "false"}),
        ("periodical", "stop_signal: ", {"TERM", "USR1"}),
        ("daemon", "ready: ", {"notify"}),
        ("daemon", "health:\n  ", {"tcp", "http", "exec", "period", "timeout", "threshold"}),
        ("periodical", "retries:\n  ", {"attempts", "delay", "max_delay"}),
    ],
)
def test_values_are_completed(server: LanguageServer, kind: str, text: str, expected: set[str]) -> None:
    document = server.open(UNITS, f"{FIRST}schedule: {kind}\n{text}\n")
    *_, last = text.split("\n")
    assert set(server.completed(document, 3 + text.count("\n"), len(last) + 1)) >= expected


def test_the_kinds_are_completed(server: LanguageServer) -> None:
    document = server.open(UNITS, FIRST + "schedule: \n")
    assert set(server.completed(document, 2, 11)) == set(KINDS)


def test_a_key_is_explained_where_the_pointer_rests(server: LanguageServer) -> None:
    document = server.open(
        UNITS, FIRST + "schedule: periodical\nexec: [/bin/true]\nperiod: 5\nalign: 2\nrun_on: each\n"
    )
    assert document.faults == []
    assert TEXTS["align"] in server.hover(document, 5, 2)
    assert TEXTS["run_on"] in server.hover(document, 6, 2)


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_unit_has_the_schema_and_no_fault(server: LanguageServer, path: Path) -> None:
    assert server.open(UNITS, path.read_text()).faults == []
    assert server.open(UNITS, path.read_text() + "peiod: 3\n").faults != []


def test_the_first_line_is_right_where_units_are_installed(server: LanguageServer, tmp_path: Path) -> None:
    units = tmp_path / "share/vcs/units"
    units.mkdir(parents=True)
    shutil.copy(ROOT / "unit.schema.json", units.parent)
    assert server.open(units, (UNITS / "cleaner.yaml").read_text() + "peiod: 3\n").faults != []


def test_a_drop_in_is_completed_and_may_reset_any_key(server: LanguageServer, tmp_path: Path) -> None:
    (tmp_path / "drop-in.schema.json").write_text(as_text("drop-in"))
    first = f"# yaml-language-server: $schema={tmp_path}/drop-in.schema.json\n"
    document = server.open(tmp_path, first + "timeout: null\nenvironment: {A: null}\n\n")
    assert document.faults == []
    assert {"period", "run_at", "restart", "groups"} <= server.completed(document, 4, 1).keys()
    assert server.open(tmp_path, first + "timeuot: 5\n").faults == [(2, "Property timeuot is not allowed.")]
    assert len(server.open(tmp_path, first + "schedule: fixed-time\nrestart: always\n").faults) == 1
