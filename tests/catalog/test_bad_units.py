"""Bad unit files and the exact sentence that each gets; whatever bytes come, a tree or a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcsctl.catalog.layers import Fragments, Layers, load, load_one
from vcsctl.catalog.yaml_tree import BadFile, Tree, parse_tree
from vcsctl.domain.unit import FixedTime

P = "schedule: periodical\nexec: [/bin/true]\n"
F = "schedule: fixed-time\nexec: [/bin/true]\n"


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.one_of(st.binary(max_size=200), st.text("ab:-[]{}&*!|>'\" \n\t#,?%@", max_size=80).map(str.encode)))
def test_any_bytes_are_a_tree_or_a_sentence(data: bytes) -> None:
    try:
        assert isinstance(parse_tree(data, "f"), Tree)
    except BadFile as error:
        assert error.problems


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
