"""Whatever bytes, keys and values come: a unit or sentences, never a fault of the reader itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcsctl.catalog.layers import Fragments, Layers, load, load_one
from vcsctl.catalog.validate import load_unit
from vcsctl.catalog.yaml_tree import BadFile, Tree, parse_tree
from vcsctl.domain.unit import KINDS, FixedTime, from_plain, keys_of, to_plain

P = "schedule: periodical\nexec: [/bin/true]\n"
F = "schedule: fixed-time\nexec: [/bin/true]\n"
KEYS = sorted({key for kind in KINDS for key in keys_of(kind)})
NEEDED = {"periodical": {"period": "5"}, "fixed-time": {"run_at": "04:05"}}
INNER_KEYS = ["attempts", "delay", "tcp", "http", "exec", "after", "period", "threshold", "nofile", "A"]


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.one_of(st.binary(max_size=200), st.text("ab:-[]{}&*!|>'\" \n\t#,?%@", max_size=80).map(str.encode)))
def test_any_bytes_are_a_tree_or_a_sentence(data: bytes) -> None:
    try:
        assert isinstance(parse_tree(data, "f"), Tree)
    except BadFile as error:
        assert error.problems


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["5", "0", "5m", "04:05", "any", "daemon", "/x", "5 in 9s", "a:1", "-1", "9" * 5000]),
)
VALUES = st.recursive(
    st.none() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(INNER_KEYS), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.sampled_from([*KINDS, "x"]), st.dictionaries(st.sampled_from(KEYS), TEXTS | VALUES, max_size=3))
def test_any_keys_and_values_are_a_unit_or_sentences(kind: str, content: dict[str, object]) -> None:
    try:
        unit = load_unit("x", Tree("f", {"exec": "/x", **NEEDED.get(kind, {}), "schedule": kind, **content}))
    except BadFile as error:
        assert all(problem.text and len(problem.text) < 300 for problem in error.problems)
    else:
        assert from_plain(json.loads(json.dumps(to_plain(unit)))) == unit


@pytest.mark.parametrize(
    "data", [b"x" * 10_000_000, b"[" * 100_000, b"\x00" * 100, b"a: \xff"], ids=["large", "deep", "zeros", "latin"]
)
def test_hostile_files_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(BadFile):
        parse_tree(data, "f")


def test_an_unquoted_half_past_twelve_is_half_past_twelve(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(F + "run_at: 12:30\n")
    unit = load_one(Fragments("x", str(tmp_path / "x.yaml"))).unit
    assert isinstance(unit, FixedTime)
    assert unit.run_at == ("12:30",)


def test_drop_ins_replace_merge_and_reset_and_a_bad_unit_hides_no_good_one(tmp_path: Path) -> None:
    vendor, site = tmp_path / "vendor", tmp_path / "site"
    vendor.mkdir()
    (site / "a.yaml.d").mkdir(parents=True)
    (vendor / "a.yaml").write_text(P + "period: 5\nalign: 2\ntimeout: 2h\nenvironment: {A: x, B: y}\n")
    (vendor / "b.yaml").write_text("nonsense\n")
    (site / "a.yaml.d/10.yaml").write_text("timeout: null\nenvironment: {B: z}\n")
    (site / "a.yaml.d/20.yaml").write_text("schedule: fixed-time\nrun_at: 04:05\n")
    loaded, problems = load(Layers(str(vendor), str(site)))
    unit = loaded["a"].unit
    assert isinstance(unit, FixedTime)
    assert (unit.timeout, unit.environment, unit.run_at) == (None, {"A": "x", "B": "z"}, ("04:05",))
    assert loaded["b"].problems
    assert not problems


def test_every_shipped_unit_is_good_and_there_are_thirty() -> None:
    loaded, problems = load(Layers(str(Path(__file__).parents[2] / "units"), ""))
    assert not problems
    assert not [problem for one in loaded.values() for problem in one.problems]
    assert len(loaded) == 30
