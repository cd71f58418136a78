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
CASES = [
    ("no schedule", "exec: /bin/true\n", "1:1: schedule: is required; write daemon, periodical or fixed-time"),
    ("unknown schedule", "schedule: cron\n", "1:1: schedule: cannot be 'cron'; write daemon, periodical or fixed-time"),
    ("no period", P, "1:1: period: is required; write for example period: 5"),
    ("no exec", "schedule: periodical\nperiod: 5\n", "1:1: exec: is required; write for example exec: [/usr/libexec/vcs/calculator]"),
    ("period 0", P + "period: 0\n", "3:1: period: must be from 1 to 60, not 0; for a longer period use schedule: fixed-time with run_at"),
    ("period 90", P + "period: 90\n", "3:1: period: must be from 1 to 60, not 90; for a longer period use schedule: fixed-time with run_at"),
    ("period text", P + "period: five\n", "3:1: period: cannot read 'five' as a whole number; write a number from 1 to 60"),
    ("align too large", P + "period: 5\nalign: 5\n", "4:1: align: must be less than the period (5), not 5; write a number from 0 to 4"),
    ("typo", P + "period: 5\nalgin: 2\n", "4:1: algin: unknown key; did you mean 'align'?"),
    ("key of another kind", F + "run_at: 04:05\nperiod: 5\n", "4:1: period: belongs to periodical services, and this one is fixed-time; remove it"),
    ("midnight as 24:00", F + "run_at: 24:00\n", "3:1: run_at: cannot read '24:00' as a time of day; write HH:MM from 00:00 to 23:59; midnight is 00:00"),
    ("second time bad", F + "run_at: [12:30, 7:00]\n", "3:17: run_at: cannot read '7:00' as a time of day; write HH:MM from 00:00 to 23:59"),
    ("no times", F + "run_at: []\n", "3:1: run_at: is an empty list; write at least one value"),
    ("twice the same time", F + "run_at: [04:05, 04:05]\n", "3:17: run_at: '04:05' is listed twice; remove one"),
    ("bad day", F + "run_at: 04:05\ndays: [monday]\n", "4:8: days: cannot read 'monday' as a day; write mon to sun, 1 to 31, or last"),
    ("bad zone", P + "period: 5\ntimezone: Berlin\n", "4:1: timezone: unknown time zone 'Berlin'; write an IANA name such as Europe/Berlin or UTC"),
    ("bad duration", P + "period: 5\ntimeout: 2 hours\n", "4:1: timeout: cannot read '2 hours' as a duration; write for example 90s, 15m, 2h or 1h30m"),
    ("zero duration", P + "period: 5\ntimeout: 0\n", "4:1: timeout: must be more than 0 and at most 8784h, not 0"),
    ("bad group name", P + "period: 5\ngroups: [Billing]\n", "4:10: groups: bad name 'Billing'; write up to 63 of a-z, 0-9 and -, beginning with a letter or digit"),
    ("relative program", "schedule: periodical\nperiod: 5\nexec: bin/x\n", "3:1: exec: 'bin/x' is a relative path; write the program's absolute path"),
    ("open quote in exec", "schedule: periodical\nperiod: 5\nexec: sh -c \"x\n", "3:1: exec: cannot be split into words (no closing quotation); close the quote, or write a list"),
    ("bad signal", P + "period: 5\nstop_signal: STOP\n", "4:1: stop_signal: cannot be 'STOP'; write one of TERM, INT, HUP, QUIT, USR1, USR2, KILL, ABRT, WINCH"),
    ("bad truth", P + "period: 5\nenabled: maybe\n", "4:1: enabled: cannot read 'maybe' as true or false; write true or false"),
    ("own variable", P + "period: 5\nenvironment: {VCS_X: a}\n", "4:15: environment: VCS_X is set by vcsd for every run; choose another name"),
    ("bad limit", P + "period: 5\nlimits: {files: 3}\n", "4:10: limits: unknown limit 'files'; write one of as, core, cpu, data, fsize, memlock, nofile, nproc, rss, stack"),
    ("bad retries", P + "period: 5\nretries: {tries: 3}\n", "4:11: retries: unknown key 'tries'; write attempts, delay, max_delay"),
    ("twice the same key", P + "period: 5\nperiod: 6\n", "4:1: period: is given twice, first in line 3; remove one of them"),
    ("anchor", P + "period: &x 5\n", "3:9: period: the anchor &x is not allowed; write the value out at each place"),
    ("tag", P + "period: !!int 5\n", "3:9: period: the tag !!int is not allowed; write the plain value"),
    ("two documents", P + "---\n" + P, "3:1: a second document; write one unit in one file"),
    ("tab", "schedule: periodical\nlimits:\n\tnofile: 3\n", "3:1: a tab cannot indent; use spaces"),
    ("a list", "- 1\n", "1:1: is not a map of keys; write KEY: VALUE lines"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_unit_gets_its_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    loaded = load_one(Fragments("x", str(path)))
    assert [str(problem).removeprefix(f"{path}:") for problem in loaded.problems] == [expected]


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
