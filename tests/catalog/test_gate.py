"""verify as a gate, by the command itself: a file among its neighbours, whole sets, --strict, and what CI reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TIMED = "schedule: periodical\nperiod: 5\nexec: [/bin/true]\n"
DAEMON = "schedule: daemon\nrun_on: any\nexec: [/bin/true]\n"
STARVED = "is a group of calculator, which would never start beside a daemon; remove the group"
NAMED = "a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63)"
UNEVEN = "7 does not divide the day: after 23:55 the next slot is at 00:00, 5 minutes later"
Verify = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site's directory of an installation with one vendor unit."""
    for folder in ("usr/share/vcs/units", "etc/vcs/services.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/share/vcs/units/backup-manager.yaml").write_text(f"{TIMED}align: 3\ngroups: [maintenance]\n")
    return tmp_path / "etc/vcs/services.d"


@pytest.fixture
def verify(site: Path) -> Verify:
    """Exit code, what is printed, warnings; in the directory that holds everything, so that paths may be short."""
    root = site.parents[2]

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = "from vcsctl.cli.main import main; main()"
        command = [sys.executable, "-c", code, "--root", str(root), "verify", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=root)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("suffix", ["", ".tmp", ".j2", "~", ".yml", "20261125-4711-1x"])
def test_a_temporary_file_of_any_name_is_judged_as_what_it_becomes(verify: Verify, site: Path, suffix: str) -> None:
    path = site.parents[2] / f".ansible-source{suffix}"
    path.write_text(TIMED)
    for name in ("calculator", "calculator.yaml"):
        assert verify("--as", name, path) == (0, "", "")
        assert verify("--as", name, "--with-dir", site, path) == (0, "", "")
    path.write_text(TIMED + "perod: 3\n")
    expected = (2, f"{path}:4:1: perod: unknown key; did you mean 'period'?\n", "")
    assert verify("--as", "calculator", path) == expected
    assert verify("--as", "calculator", "--with-dir", site, path) == expected


def test_a_drop_in_is_judged_on_top_of_its_unit_and_its_other_drop_ins(verify: Verify, site: Path) -> None:
    new = site.parents[2] / "source"
    new.write_text("align: 4\n")
    as_it = ("--as", "backup-manager.yaml.d/20-times.yaml")
    assert verify(*as_it, new) == verify(*as_it, "--with-dir", site, new) == (0, "", "")
    (site / "backup-manager.yaml.d").mkdir()
    (site / "backup-manager.yaml.d/30-period.yaml").write_text("period: 4\n")
    fault = f"{new}:1:1: align: must be less than the period (4), not 4; write a number from 0 to 3\n"
    assert verify(*as_it, "--with-dir", site, new) == (2, fault, "")
    absent = verify("--as", "calculator.yaml.d/20-times.yaml", "--with-dir", site, new)
    text = f"cannot be judged: there is no unit calculator to change; put that into {site} first"
    assert absent == (2, f"{new}: {text}\n", "")
    text = "is not read: a drop-in is named like 10-times.yaml; rename it"
    assert verify("--as", "backup-manager.yaml.d/times.conf", "--with-dir", site, new) == (2, f"{new}: {text}\n", "")


def test_without_as_a_file_is_judged_as_what_it_is_called(verify: Verify, site: Path) -> None:
    folder = site.parents[2] / "checkout/backup-manager.yaml.d"
    folder.mkdir(parents=True)
    (folder / "10.yaml").write_text("align: 5\n")
    code, told, _ = verify("--with-dir", site, folder / "10.yaml")
    assert (code, told.split(": ")[0]) == (2, f"{folder}/10.yaml:1:1")
    new = folder.parent / "calculator.yml"
    new.write_text(TIMED)
    text = "cannot be the unit 'calculator.yml': a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63)"
    assert verify("--with-dir", site, new) == (2, f"{new}: {text}\n", "")


def test_faults_of_the_others_are_warnings_also_with_strict(verify: Verify, site: Path) -> None:
    (site / "broken.yaml").write_text(TIMED + "nice: 20\n")
    (site / "uneven.yaml").write_text(TIMED.replace("5", "7"))
    (site / "stray.yml").write_text("")
    new = site.parents[2] / "source"
    new.write_text(TIMED)
    for strict in ((), ("--strict",)):
        code, told, warned = verify(*strict, "--as", "calculator", "--with-dir", site, new)
        assert (code, told) == (0, "")
        assert [line.split(": ")[:2] for line in warned.splitlines()] == [
            [f"{site}/broken.yaml:4:1", "warning"],
            [f"{site}/stray.yml", "warning"],
            [f"{site}/uneven.yaml:2:1", "warning"],
        ]
    new.write_text(TIMED.replace("5", "7"))
    at = ("--as", "calculator", "--with-dir", site, new)
    assert verify(*at)[0] == 0
    code, told, _ = verify("--strict", *at)
    assert (code, told.split(": ")[:2]) == (2, [f"{new}:2:1", "period"])


def test_what_the_others_get_by_the_file_is_its_error(verify: Verify, site: Path) -> None:
    """A timed service takes nothing from a daemon; the daemon's unit would be bad all the same."""
    (site / "radius.yaml").write_text(DAEMON + "groups: [billing]\n")
    new = site.parents[2] / "source"
    new.write_text(TIMED + "groups: [billing]\n")
    code, told, warned = verify("--as", "calculator", "--with-dir", site, new)
    assert (code, warned) == (2, "")
    assert told.startswith(f"{site}/radius.yaml:4:10: groups: 'billing' {STARVED}")
    # Once it is there, it is no fault of who comes next.
    (site / "calculator.yaml").write_text(new.read_text())
    new.write_text(TIMED + "align: 1\ngroups: [billing]\n")
    code, told, warned = verify("--as", "a-third", "--with-dir", site, new)
    assert (code, told, warned.split(": ")[:2]) == (0, "", [f"{site}/radius.yaml:4:10", "warning"])
    # And the file that mends it may come.
    new.write_text(DAEMON)
    assert verify("--as", "radius", "--with-dir", site, new) == (0, "", "")


def test_the_daemon_that_would_starve_those_who_are_there_is_refused(verify: Verify, site: Path) -> None:
    (site / "calculator.yaml").write_text(TIMED + "groups: [billing]\n")
    new = site.parents[2] / "source"
    new.write_text(DAEMON + "groups: [billing]\n")
    assert verify("--as", "radius", new) == (0, "", "")
    code, told, _ = verify("--as", "radius", "--with-dir", site, new)
    assert (code, told.startswith(f"{new}:4:10: groups: 'billing' {STARVED}")) == (2, True)


def test_the_units_of_the_vendor_are_neighbours_too(verify: Verify, site: Path) -> None:
    new = site.parents[2] / "source"
    new.write_text(TIMED + "groups: [maintenence]\n")
    at = ("--as", "calculator", "--with-dir", site, new)
    told = (
        f"{new}:4:10: warning: groups: no other unit is in 'maintenence'; write 'maintenance' if the group of "
        "backup-manager is meant, else a name that differs by more than a letter\n"
    )
    assert verify(*at) == (0, "", told)
    assert verify("--strict", *at) == (2, told.replace("warning: ", ""), "")
    new.write_text(TIMED + "align: 3\ngroups: [maintenance]\n")
    code, told, _ = verify("--strict", *at)
    assert code == 2
    assert told.startswith(f"{new}:4:1: align: backup-manager, also in group maintenance, has a slot in each of its")
    (site / "backup-manager.yaml").write_text("")  # masked, it is nobody's neighbour
    assert verify("--strict", *at) == (0, "", "")


def test_a_file_that_is_there_already_is_judged_in_its_own_directory(verify: Verify, site: Path) -> None:
    (site / "a.yaml").write_text(TIMED + "nice: 20\n")
    (site / "b.yaml").write_text(TIMED + "nice: 20\n")
    code, told, warned = verify("--with-dir", "etc/vcs/services.d", site / "a.yaml")
    assert (code, told.split(": ")[0]) == (2, f"{site}/a.yaml:4:1")
    assert warned.split(": ")[:2] == ["etc/vcs/services.d/b.yaml:4:1", "warning"]


def test_a_directory_and_the_whole_set_are_judged_together(verify: Verify, site: Path) -> None:
    (site / "calculator.yaml").write_text(TIMED + "groups: [maintenence]\nnodes: [bil1]\n")
    (site / "nightly.yaml").write_text("schedule: fixed-time\nrun_at: 02:30\nexec: [/bin/true]\n")
    (site.parents[2] / "nodes.txt").write_text("# the cell\nbill1 label:rt\nbill2,  # the other\n")
    for where in ((), ("etc/vcs/services.d",)):
        _, _, warned = verify(*where)
        assert [line.split(": ")[2] for line in warned.splitlines()] == ["groups"]
        for nodes in ("bill1,bill2", "nodes.txt", str(site.parents[2] / "nodes.txt")):
            code, told, warned = verify("--nodes", nodes, "--timezone", "Europe/Berlin", *where)
            assert (code, told) == (0, "")
            assert [line.split(": ")[2] for line in warned.splitlines()] == ["groups", "nodes", "run_at"]
            assert "no node is called 'bil1', so it runs nowhere; write 'bill1'" in warned
    _, _, warned = verify("--timezone", "Europe/Berlin", site / "nightly.yaml")
    assert ":2:1: warning: run_at: 02:30 is within a clock change: " in warned


def test_durations_judge_groups(verify: Verify, site: Path) -> None:
    (site / "calculator.yaml").write_text(TIMED + "groups: [maintenance]\n")
    given = ("--duration", "calculator=3m", "--duration", "backup-manager=4m")
    code, _, warned = verify(*given)
    assert code == 0
    assert "period: in 5m the runs of group maintenance last 7m (backup-manager 4m, calculator 3m)" in warned


MISTAKES = [
    (["--as", "x", "etc", "usr"], 2, "--as judges one file; write vcsctl verify --as NAME FILE"),
    (["--as", "x"], 2, "--as judges one file; write vcsctl verify --as NAME FILE"),
    (["--with-dir", "etc"], 2, "--with-dir judges one file; write vcsctl verify --with-dir DIR FILE"),
    (["--with-dir", "nowhere", "x"], 2, "--with-dir: nowhere is no directory; name the one that the file is to be put into"),
    (["--with-dir", "etc", "usr"], 2, "--with-dir judges one file, and usr is a directory; verify it by itself"),
    (["--nodes", "a*b"], 2, "--nodes: bad node 'a*b'; write a node's name or label:NAME"),
    (["--nodes", " , "], 2, "--nodes names no node; write for example --nodes bill1,bill2,label:rt"),
    (["--nodes", "no/file"], 2, "--nodes: cannot read no/file: no such file or directory; name a file of nodes, or list them"),
    (["--timezone", "Europe/Berln"], 2, "--timezone: "),
    (["--duration", "calculator"], 2, "--duration: cannot read 'calculator'; write for example calculator=90s"),
    (["--duration", "calculator=soon"], 2, "--duration: cannot read 'soon' as a duration; "),
    (["--duration", "backup-manger=1m"], 4, "unknown service backup-manger; did you mean backup-manager?"),
    (["--duration", "x=1m"], 4, "unknown service x; name one of those that are verified"),
    (["--duration", "x=1m", "x.yaml"], 2, "--duration judges whole sets; name a directory, or judge the file in one with --with-dir DIR"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES, ids=[" ".join(case[0]) for case in MISTAKES])
def test_a_mistake_in_the_command_is_told_and_nothing_judged(
    verify: Verify, arguments: list[str], code: int, text: str
) -> None:
    done, told, warned = verify(*arguments)
    assert (done, told) == (code, "")
    assert warned.startswith(f"vcsctl: {text}")


def test_a_file_that_is_not_there_and_a_name_that_cannot_be(verify: Verify, site: Path) -> None:
    code, told, _ = verify("--as", "x", "--with-dir", site, "nowhere")
    assert (code, told.split(": ")[0]) == (2, "nowhere")
    for name in ("Bad", "../x", "a/b", "x.yml", "x.yaml.d/../y.yaml", ""):
        code, told, _ = verify("--as", name, "--with-dir", site, "nowhere")
        assert (code, told.startswith("nowhere: cannot be the unit ") or "a drop-in is named" in told) == (2, True), (
            name
        )


def test_a_directory_that_others_may_write_judges_nothing_well(verify: Verify, site: Path) -> None:
    (site / "other.yaml").write_text(TIMED)
    site.chmod(0o777)
    new = site.parents[2] / "source"
    new.write_text(TIMED)
    text = "can be written by others; take that right away (chmod go-w)"
    assert verify("--as", "calculator", "--with-dir", site, new) == (2, f"{site}: {text}\n", "")


@pytest.fixture
def faults(site: Path) -> Path:
    """Below a name that every form has to escape in its own way."""
    folder = site.parents[2] / "50%, a:b"
    folder.mkdir()
    (folder / "bad.yaml").write_text(TIMED + "perod: 3\n")
    (folder / "uneven.yaml").write_text(TIMED.replace("5", "7"))
    (folder / "stray.yml").write_text("")
    return folder


def test_annotations_for_github(verify: Verify, faults: Path) -> None:
    code, told, warned = verify("--output", "github", faults.name)
    assert (code, warned) == (2, "")
    assert [line.partition(";")[0] for line in told.splitlines()] == [
        "::error file=50%25%2C a%3Ab/bad.yaml,line=4,col=1::perod: unknown key",
        f"::warning file=50%25%2C a%3Ab/stray.yml::is not read: {NAMED}",
        f"::warning file=50%25%2C a%3Ab/uneven.yaml,line=2,col=1::period: {UNEVEN}",
    ]
    (faults / "bad.yaml").write_text("schedule: '100%\\n::error::'\n")
    _, told, _ = verify("--output", "github", faults / "bad.yaml")
    assert len(told.splitlines()) == 1
    assert "100%25" in told


def test_sarif(verify: Verify, faults: Path) -> None:
    code, told, warned = verify("--output", "sarif", "--strict", faults)
    assert (code, warned) == (2, "")
    log = json.loads(told)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["file", "period", "perod"]
    seen = [(one["level"], rules[one["ruleIndex"]], *_place(one)) for one in run["results"]]
    assert seen == [
        ("error", "perod", "50%25%2C%20a%3Ab/bad.yaml", 4, 1),
        ("error", "file", "50%25%2C%20a%3Ab/stray.yml"),
        ("error", "period", "50%25%2C%20a%3Ab/uneven.yaml", 2, 1),
    ]
    assert all(one["ruleId"] == rules[one["ruleIndex"]] and one["message"]["text"] for one in run["results"])


def _place(result: dict[str, Any]) -> tuple[Any, ...]:
    (location,) = result["locations"]
    where = location["physicalLocation"]
    region = where.get("region", {})
    return (where["artifactLocation"]["uri"], *(region[key] for key in ("startLine", "startColumn") if region))


def test_sarif_of_nothing_and_of_a_file_elsewhere(verify: Verify, site: Path, tmp_path_factory: Any) -> None:
    code, told, _ = verify("--output", "sarif")
    assert (code, json.loads(told)["runs"][0]["results"]) == (0, [])
    away = tmp_path_factory.mktemp("away") / "x.yaml"
    away.write_text("")
    away.chmod(0o666)
    _, told, _ = verify("--output", "sarif", away)
    assert _place(json.loads(told)["runs"][0]["results"][0]) == (away.as_uri(),)


def test_json_tells_warnings_and_strict_makes_errors_of_them(verify: Verify, faults: Path) -> None:
    for strict, expected in (((), [False, True, True]), (("--strict",), [False, False, False])):
        code, told, _ = verify("-o", "json", *strict, faults)
        answer = json.loads(told)
        assert (code, answer["version"], [one["warning"] for one in answer["problems"]]) == (2, 1, expected)


def test_what_is_shipped_passes_strictly(verify: Verify, site: Path) -> None:
    """As it is, and with every service enabled: whoever enables them is not to meet warnings."""
    root = site.parents[2]
    shutil.copytree(ROOT / "units", root / "usr/share/vcs/units", dirs_exist_ok=True)
    shutil.copytree(ROOT / "etc/vcs/services.d", site, dirs_exist_ok=True)
    for path in (root / "usr", root / "etc"):
        for each in (path, *path.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
    known = ("--strict", "--nodes", "rt1,label:rt,label:internet", "--timezone", "Europe/Berlin")
    assert verify(*known) == (0, "", "")
    for path in (root / "usr/share/vcs/units").iterdir():
        path.write_text(path.read_text().replace("enabled: false", "enabled: true"))
    assert verify(*known) == (0, "", "")
