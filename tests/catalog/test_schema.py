"""The schema for editors and the validator judge alike; where they cannot is a table here and in docs/unit-file.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bad_units
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from vcsctl.catalog.layers import merge
from vcsctl.catalog.schema import FILES, Form, schema
from vcsctl.catalog.validate import load_unit
from vcsctl.catalog.yaml_tree import BadFile, parse_tree
from vcsctl.cli.commands import vcsctl
from vcsctl.cli.schema_files import written
from vcsctl.domain import key_texts
from vcsctl.domain.unit import KINDS, Health, Probe, Reload, Retries, field_parsers, keys_of

ROOT = Path(__file__).parents[2]
P, F, D = bad_units.P, bad_units.F, bad_units.D
NEEDED = {"daemon": {}, "periodical": {"period": 5}, "fixed-time": {"run_at": "04:05"}}
# Bad units that the schema lets pass; docs/unit-file.md says so in words.
DIFFER = {
    "align equals period",
    "align of the shortest period",
    "zone without continent",
    "open quote in exec",
    "open quote in plain exec",
    "limit soft above hard",
    "timeout of a year and a day",
}


class Core(yaml.SafeLoader):
    """YAML 1.2 as editors read it: 12:30 and `yes` are texts, 022 is the number 22."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
Core.add_constructor(
    "tag:yaml.org,2002:int", lambda _, node: int(node.value) if len(node.value) < 20 else float(node.value)
)


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """As JavaScript has it: `$` is the end and not the line end before it."""
    if isinstance(instance, str) and not re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


Checker = extend(Draft7Validator, {"pattern": _pattern})
CHECKERS = {form: Checker(schema(form)) for form in FILES}


def by_schema(text: str, form: Form = "unit") -> list[str]:
    return [error.message for error in CHECKERS[form].iter_errors(yaml.load(text, Core))]


def by_validator(*texts: str) -> str:
    """The fault of a unit, or of a unit with its drop-ins."""
    try:
        load_unit("x", merge([parse_tree(text.encode(), "f") for text in texts]))
    except BadFile as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("path", "text"), written(ROOT).items(), ids=lambda one: getattr(one, "name", ""))
def test_what_is_shipped_is_what_the_model_says(path: Path, text: str) -> None:
    assert path.read_text() == text, "write it anew with `make schema`"


@pytest.mark.parametrize("form", FILES)
def test_the_command_prints_what_is_shipped(form: Form) -> None:
    done = CliRunner().invoke(vcsctl, ["schema", *(["--drop-in"] if form == "drop-in" else [])])
    assert (done.exit_code, done.stdout) == (0, (ROOT / FILES[form]).read_text())


def test_no_other_command_pays_for_it() -> None:
    code = "import sys, vcsctl.cli.units, vcsctl.cli.status, vcsctl.vcsd.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert not {"vcsctl.catalog.schema", "vcsctl.catalog.schema_values", "vcsctl.domain.key_texts"} & set(
        loaded.split()
    )


@pytest.mark.parametrize("form", FILES)
def test_it_is_a_schema(form: Form) -> None:
    Draft7Validator.check_schema(schema(form))


@pytest.mark.parametrize(("case", "text"), [(name, text) for name, text, *_ in bad_units.KEYS])
def test_a_bad_unit_is_bad_to_the_schema_too(case: str, text: str) -> None:
    assert bool(by_schema(text)) != (case in DIFFER)


GOOD = [
    *(P + line for line in (
        "align: 4", "title: 2026", "description: ''", "enabled: yes", "enabled: OFF", "enabled: true", "enabled:",
        "nodes: bill1", "nodes: [bill1, 'label:x']", "nodes: []", "nodes: [7]", "run_on: each", "groups: [a, b-1]",
        "timeout: 90", "timeout: 1.5", "timeout: 1h30m", "timeout: 8784h", "timeout: 500ms", "timeout: null", "stop_signal: sigterm",
        "stop_signal: USR1", "user: 1000", "user: www-data", "group: x$", "umask: 022", "umask: '0022'", "umask: 777",
        "environment: {A: 5, B: x, C: true, _d: ''}", "environment: {}", "environment_files: -/etc/x", "nice: -20", "nice: '19'",
        "limits: {nofile: 4096, core: unlimited, cpu: '3:', as: '1:unlimited'}", "timezone: Etc/GMT+3", "start_within: 6h",
        "retries: {}", "retries: {attempts: 3, delay: null}", "on_lost: none", "success_exit_codes: [0, 3]", "success_exit_codes: 255",
        "provider: builtin", "on_storage_loss: continue", "working_directory: /",
    )),
    *(F + line for line in (
        "run_at: 04:05", "run_at: 12:30", 'run_at: ["23:59", 00:00]', "run_at: 04:05\ndays: [mon, Tue, 1, '07', last]", "run_at: 04:05\ndays: 31",
    )),
    *(D + line for line in (
        "ready: notify", "ready: {tcp: 1812}", "ready: {after: 2s}", "ready: {exec: /bin/x}", "ready: {tcp: '[::1]:80', http: null}",
        "health: {http: 'http://a:80/x?y', period: 5s}", "reload: {signal: hup}", "reload: {exec: [/bin/kill, -1]}", "watchdog: 30s",
        "log_size: 10MiB", "log_size: 512", "log_keep: 100", "start_limit: 5 in 60s", "start_limit: 0009 in 1h", "restart: never",
        "health: {tcp: 65535, threshold: 1}",
    )),
    "schedule: daemon\nexec: sh -c 'a/b'", "schedule: daemon\nexec: [sh, '', 5, true, '/x']", "schedule: daemon\nexec: '\"/bin/x\" y'",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_a_good_unit_is_good_to_both(text: str) -> None:
    assert (by_validator(text), by_schema(text)) == ("", [])


@pytest.mark.parametrize("path", sorted((ROOT / "units").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_unit_is_good_to_both(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=../unit.schema.json\n")
    assert (by_validator(path.read_text()), by_schema(path.read_text())) == ("", [])


def test_every_key_is_explained_and_no_other() -> None:
    found = set()

    def explained(name: str, one: Any) -> None:
        if isinstance(one, dict) and "doNotSuggest" not in one:
            assert one["description"], name
            found.add(name)
            if name != "limits":
                for key, inner in one.get("properties", {}).items():
                    explained(f"{name}.{key}", inner)

    made = schema("unit")
    for properties in (made["properties"], *(branch["then"]["properties"] for branch in made["allOf"])):
        for key, one in properties.items():
            explained(key, one)
    assert found == set(key_texts.TEXTS) >= set(key_texts.EXAMPLES)
    assert {name.partition(".")[0] for name in found} == {key for kind in KINDS for key in keys_of(kind)}


def test_defaults_and_examples_are_what_the_parsers_take_and_mean() -> None:
    made = schema("unit")
    seen = 0
    for kind, branch in zip(KINDS, made["allOf"], strict=True):
        parsers = field_parsers(KINDS[kind])
        unit = parse_tree(json.dumps({"schedule": kind, "exec": "/x", **NEEDED[kind]}).encode(), "f")
        defaults = load_unit("x", unit)
        for key, one in {**made["properties"], **branch["then"]["properties"]}.items():
            if key not in parsers or not isinstance(one, dict) or "doNotSuggest" in one:
                continue
            for value in (*one.get("examples", ()), *([one["default"]] if "default" in one else ())):
                tree = parse_tree(json.dumps({key: value}).encode(), "f").values[key]
                parsed = parsers[key](tree)
                assert "default" not in one or value != one["default"] or parsed == getattr(defaults, key), key
                seen += 1
    assert seen > 80


TEXTS = [
    *("", "x", "X", "5", "05", "0", "-1", "61", "1000000000", "3.5", "true", "Yes", "no", "notify", "none", "rerun", "any", "each", "stop"),
    *("90s", "1h30m", "0s", "5m", "1m1h", "500ms", "04:05", "24:00", "7:00", "mon", "MON", "last", "32", "UTC", "Europe/Berlin"),
    *("TERM", "sighup", "KILLED", "/x", "x/y", "-/x", "--/x", "027", "0x1", "888", "A=b", "unlimited", "3:9", "3:", ":3", "unlimited:3"),
    *("5 in 9s", "0 in 9s", "5 in", "10M", "0M", "9KiB", "5T", "7iB", "host:80", "host:0", "host:65535", "host:65536", "[::1]:9", "a b", "label:x"),
    *("http://h/", "http://h:0/", "http://h:99999", "https://h", "http://h:80?x", "x\ny", "x\n", "\x1b", "daemon", "fixed-time", "site"),
    *("always", "on-failure", "/bin/x -a", "  /x", "x -y", " ", "'/x' y", "a\u00a0b", "a\u200bb"),
]  # fmt: skip
NUMBERS = [0, 1, 60, 100, 101, 255, 256, -20, -21, 65535, 65536, 10**9, 10**15, 10**18, 31622400, 31622401]
WORDS = st.sampled_from(TEXTS)
SCALARS = WORDS | st.integers(-30, 300) | st.sampled_from([65535, 65536, 10**18, 1.5]) | st.booleans() | st.none()
INNER = [
    *("attempts", "delay", "max_delay", "tcp", "http", "exec", "after", "period", "timeout", "threshold", "signal"),
    *("nofile", "core", "A", "VCS_X", "a-b"),
]
MAPS = st.dictionaries(st.sampled_from(INNER), SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | MAPS
KEYS = sorted({key for kind in KINDS for key in keys_of(kind)} | {"cron", "peroid"})


def differs(content: dict[str, Any]) -> bool:
    """Whether something of the list in docs/unit-file.md is in it."""
    period, align = content.get("period"), content.get("align")
    if str(align).isdigit() and str(period).isdigit() and int(str(align)) >= int(str(period)):
        return True

    def odd(value: Any, key: str) -> bool:
        if isinstance(value, dict):
            return any(odd(item, f"{key}.{name}") for name, item in value.items())
        if isinstance(value, list):
            texts = [str(item).lower().lstrip("0") for item in value]
            return len(set(texts)) < len(texts) or any(odd(item, key) for item in value)
        if isinstance(value, bool | float):  # taken as written: a name may be `true`, or `1.5`
            return True
        if isinstance(value, int) and (key == "umask" or key.endswith("exec") or key in ("environment_files", "exec")):
            return True
        if key.startswith("limits") and value in ("24:00", "7:00"):  # soft above hard
            return True
        return value in ("05", "027", "0x1") or (key == "timezone" and value is not None)

    return any(odd(value, key) for key, value in content.items())


def agree(whole: dict[str, Any]) -> None:
    text = json.dumps(whole)
    try:
        parse_tree(text.encode(), "f")
    except BadFile:
        return  # no text file at all
    assert bool(by_schema(text)) == bool(by_validator(text)), (text, by_validator(text), by_schema(text))


PLACES = [
    *((kind, (key,)) for kind in KINDS for key in keys_of(kind) if kind == "daemon" or key not in keys_of("daemon")),
    *(("daemon", (outer, key)) for outer, cls in (("ready", Probe), ("health", Health), ("reload", Reload)) for key in field_parsers(cls)),
    *(("fixed-time", ("retries", key)) for key in field_parsers(Retries)),
    *(("daemon", (outer, key)) for outer, key in (("limits", "core"), ("environment", "A"), ("limits", "x"), ("environment", "VCS_A"))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "place"), PLACES, ids=lambda one: one if isinstance(one, str) else ".".join(one))
def test_of_each_key_both_take_the_same_values(kind: str, place: tuple[str, ...]) -> None:
    for value in (*TEXTS, *NUMBERS, None, {}, [], *([text] for text in TEXTS), *([number] for number in NUMBERS)):
        content: Any = value
        for key in reversed(place[1:]):
            content = {key: content} | (
                {"tcp": 80} if place[0] == "health" and key in ("period", "timeout", "threshold") else {}
            )
        whole = {"schedule": kind, "exec": "/x", **NEEDED[kind], place[0]: content}
        if not differs(whole):
            agree(whole)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.sampled_from([*KINDS, *KINDS, "x"]), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2))
@example("daemon", {"ready": {"tcp": "host:80", "exec": ["/x"]}})
def test_schema_and_validator_agree(kind: str, content: dict[str, Any]) -> None:
    whole = {"schedule": kind, "exec": "/x", **NEEDED.get(kind, {}), **content}
    assume(not differs(whole))
    agree(whole)


@pytest.mark.parametrize(("text", "fault_is_seen_by"), [
    (P + "title: true", "schema"), ("schedule: daemon\nexec: 5", "schema"), (P + "nodes: [true]", "schema"), (P + "user: 1.5", "schema"),
    (P + "align: '04'", "schema"), (P + "align: 4.0", "validator"), (P + "umask: 22", "validator"),
    (F + "run_at: 04:05\ndays: [1, '1']", "validator"), (F + "run_at: 04:05\ndays: [mon, Mon]", "validator"),
    ("schedule: daemon\nexec: a'b'/c", "validator"), (P + 'title: "\\U000E0001"', "validator"),
])  # fmt: skip
def test_where_they_differ_is_known(text: str, fault_is_seen_by: str) -> None:
    assert (bool(by_validator(text)), bool(by_schema(text))) == (
        fault_is_seen_by == "validator",
        fault_is_seen_by == "schema",
    )


BASES = {
    "daemon": D + "ready: {tcp: 80}\nhealth: {tcp: 80}\nreload: {signal: HUP}\n",
    "periodical": P + "align: 1\n",
    "fixed-time": F + "run_at: 04:05\n",
}


@pytest.mark.parametrize(("text", "bases"), [
    ("timeout: null", "daemon periodical fixed-time"), ("groups: [a]", "daemon periodical fixed-time"), ("{}", "daemon periodical fixed-time"),
    ("environment: {A: null, B: x}", "daemon periodical fixed-time"), ("limits: {core: null}", "daemon periodical fixed-time"),
    ("period: 10", "periodical"), ("align: null", "periodical"), ("schedule: fixed-time\nrun_at: 04:05", "periodical fixed-time"),
    ("run_at: [05:05, 06:05]\ndays: last", "fixed-time"), ("retries: {attempts: 2}", "periodical fixed-time"), ("run_on: any", "daemon periodical fixed-time"),
    ("health: {period: 5s}", "daemon"), ("ready: {after: 2s, tcp: null}", "daemon"), ("ready: notify", "daemon"), ("reload: null", "daemon"),
])  # fmt: skip
def test_a_drop_in_is_good_that_is_so_on_some_unit(text: str, bases: str) -> None:
    assert by_schema(text, "drop-in") == []
    assert [kind for kind, base in BASES.items() if not by_validator(base, text)] == bases.split()


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.dictionaries(st.sampled_from([*KEYS, "schedule"]), VALUES | st.sampled_from([*KINDS]), max_size=2))
def test_a_drop_in_that_the_schema_refuses_fits_no_unit(content: dict[str, Any]) -> None:
    assume(not differs(content))
    text = json.dumps(content)
    try:
        parse_tree(text.encode(), "f")
    except BadFile:
        assume(False)
    if by_schema(text, "drop-in"):
        assert all(by_validator(base, text) for base in BASES.values()), (text, by_schema(text, "drop-in"))


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.sampled_from([*KINDS]), st.sampled_from(KEYS), VALUES)
def test_a_drop_in_of_one_key_is_judged_as_the_unit_of_its_kind_is(kind: str, key: str, value: Any) -> None:
    assume(value is not None and not differs({key: value}))
    text = json.dumps({"schedule": kind, key: value})
    try:
        parse_tree(text.encode(), "f")
    except BadFile:
        assume(False)
    on_top = bool(by_validator(BASES[kind], text))
    if on_top and not by_schema(text, "drop-in"):  # only what lies below makes it bad
        below = {"period", "align"} if kind == "periodical" else {"ready", "health", "reload"}
        assert key in below, (text, by_validator(BASES[kind], text))
