"""The compiled catalog: what is read again, what stays as it was, and what a lost layer leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vcsctl.catalog.compiler import compile_layers
from vcsctl.catalog.scan import Layers
from vcsctl.catalog.snapshot import CompiledUnit, Snapshot, read_snapshot, write_snapshot

P = "schedule: periodical\nperiod: 5\nexec: [/bin/true]\n"
D = "schedule: daemon\nexec: [/bin/true]\n"


class Tree:
    def __init__(self, root: Path) -> None:
        self.vendor, self.site = root / "vendor", root / "site"
        self.vendor.mkdir()
        self.site.mkdir()
        self.before: Snapshot | None = None

    def compile(self) -> dict[str, CompiledUnit]:
        self.before, self.changed, self.removed = compile_layers(Layers(str(self.vendor), str(self.site)), self.before)
        return self.before.units

    def texts(self) -> list[str]:
        assert self.before
        return [str(problem) for problem in self.before.all_problems]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr("vcsctl.catalog.compiler._GRAIN_NS", 0)
    return Tree(tmp_path)


def state(unit: CompiledUnit) -> str:
    if unit.masked:
        return "masked"
    return "stale" if unit.stale else "good" if unit.plain else "broken"


def states(units: dict[str, CompiledUnit]) -> dict[str, str]:
    return {name: state(unit) for name, unit in units.items()}


def test_what_did_not_change_is_taken_over_and_what_did_is_named(tree: Tree) -> None:
    (tree.vendor / "a.yaml").write_text(P)
    (tree.vendor / "b.yaml").write_text(P)
    first = tree.compile()
    (tree.vendor / "b.yaml").write_text(P + "align: 1\n")
    (tree.vendor / "c.yaml").write_text(P)
    second = tree.compile()
    assert second["a"] is first["a"]
    assert (tree.changed, tree.removed) == (["b", "c"], [])
    (tree.vendor / "a.yaml").unlink()
    tree.compile()
    assert (tree.changed, tree.removed) == ([], ["a"])


def test_a_young_file_is_read_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.vendor / "a.yaml").write_text(P)
    assert tree.compile()["a"].stamp == ()


def test_another_version_judges_again_and_keeps_the_last_good(tree: Tree, tmp_path: Path) -> None:
    (tree.vendor / "a.yaml").write_text(P)
    first = tree.compile()
    (tree.vendor / "b.yaml").write_text("nonsense")
    tree.before = Snapshot({**first, "b": first["a"]}, (), "another version")
    units = tree.compile()
    assert units["a"] is not first["a"]
    assert states(units) == {"a": "good", "b": "stale"}


def test_a_bad_unit_keeps_its_last_good_version(tree: Tree) -> None:
    (tree.vendor / "a.yaml").write_text(P)
    good = tree.compile()["a"].plain
    (tree.vendor / "a.yaml").write_text("nonsense")
    (tree.vendor / "b.yaml").write_text("nonsense")
    units = tree.compile()
    assert states(units) == {"a": "stale", "b": "broken"}
    assert units["a"].plain == good
    (tree.vendor / "a.yaml").write_text(P)
    assert state(tree.compile()["a"]) == "good"


def test_only_an_empty_regular_file_or_a_link_to_dev_null_masks(tree: Tree) -> None:
    for name in ("fifo", "empty", "null", "folder", "zero"):
        (tree.vendor / f"{name}.yaml").write_text(P)
    os.mkfifo(tree.site / "fifo.yaml")
    (tree.site / "empty.yaml").write_text("")
    (tree.site / "null.yaml").symlink_to("/dev/null")
    (tree.site / "folder.yaml").mkdir()
    (tree.site / "zero.yaml").symlink_to("/dev/zero")
    expected = {"empty": "masked", "fifo": "broken", "folder": "broken", "null": "masked", "zero": "broken"}
    assert states(tree.compile()) == expected


def test_a_refused_drop_in_directory_makes_its_unit_bad(tree: Tree) -> None:
    (tree.vendor / "a.yaml").write_text(P)
    (tree.site / "a.yaml.d").mkdir()
    (tree.site / "a.yaml.d/10.yaml").write_text("enabled: false\n")
    good = tree.compile()["a"].plain
    (tree.site / "a.yaml.d").chmod(0o777)
    unit = tree.compile()["a"]
    assert (state(unit), unit.plain) == ("stale", good)
    text = "can be written by others; take that right away (chmod go-w)"
    assert tree.texts() == [f"{tree.site}/a.yaml.d: {text}"]


def test_a_mask_hides_the_unit_whatever_its_drop_ins_are(tree: Tree) -> None:
    (tree.vendor / "a.yaml").write_text(P)
    tree.compile()
    (tree.site / "a.yaml").write_text("")
    (tree.site / "a.yaml.d").mkdir()
    (tree.site / "a.yaml.d/10.yaml").write_text("nonsense\n")
    (tree.site / "a.yaml.d").chmod(0o777)
    assert state(tree.compile()["a"]) == "masked"


@pytest.fixture
def layered(tree: Tree) -> Tree:
    for name in ("below", "changed", "masked"):
        (tree.vendor / f"{name}.yaml").write_text(P)
    (tree.site / "changed.yaml.d").mkdir()
    (tree.site / "changed.yaml.d/10.yaml").write_text("align: 2\n")
    (tree.site / "masked.yaml").write_text("")
    (tree.site / "own.yaml").write_text(P)
    tree.compile()
    return tree


def test_a_refused_site_leaves_its_units_as_they_were(layered: Tree) -> None:
    before = layered.compile()
    layered.site.chmod(0o777)
    (layered.vendor / "below.yaml").write_text(P + "align: 1\n")
    (layered.vendor / "new.yaml").write_text(P)
    units = layered.compile()
    # What is new below may be masked by the site, which cannot be asked.
    expected = {"below": "good", "changed": "stale", "masked": "masked", "new": "broken", "own": "stale"}
    assert states(units) == expected
    assert {name: units[name].plain for name in ("changed", "own")} == {
        name: before[name].plain for name in ("changed", "own")
    }
    assert layered.removed == []
    layered.site.chmod(0o755)
    assert states(layered.compile()) == {**dict.fromkeys(expected, "good"), "masked": "masked"}


def test_a_refused_vendor_directory_leaves_its_units_as_they_were(layered: Tree) -> None:
    layered.vendor.chmod(0o777)
    (layered.site / "own.yaml").write_text(P + "align: 1\n")
    expected = {"below": "stale", "changed": "stale", "masked": "masked", "own": "good"}
    assert states(layered.compile()) == expected
    assert layered.texts() == [f"{layered.vendor}: can be written by others; take that right away (chmod go-w)"]


def test_a_layer_that_is_no_directory_is_a_lost_one(layered: Tree) -> None:
    layered.vendor.rename(layered.vendor.with_name("elsewhere"))
    layered.vendor.write_text("")
    assert states(layered.compile())["below"] == "stale"


def test_a_daemon_in_the_group_of_a_timed_service_is_bad_until_it_leaves_it(tree: Tree) -> None:
    (tree.vendor / "calculator.yaml").write_text(P + "groups: [billing]\n")
    (tree.vendor / "radius.yaml").write_text(D)
    (tree.vendor / "fresh.yaml").write_text(D + "groups: [cache, billing]\nrun_on: any\n")
    (tree.vendor / "free.yaml").write_text(D + "groups: [radius]\nrun_on: any\n")
    assert states(tree.compile()) == {"calculator": "good", "free": "good", "fresh": "broken", "radius": "good"}
    text = (
        "groups: 'billing' is a group of calculator, which would never start beside a daemon; remove the group "
        "and take it for one job at a time with: vcsctl lock billing -- COMMAND"
    )
    assert tree.texts() == [f"{tree.vendor}/fresh.yaml:3:17: {text}"]
    (tree.vendor / "radius.yaml").write_text(D + "groups: [billing]\n")
    assert state(tree.compile()["radius"]) == "stale"
    (tree.vendor / "calculator.yaml").write_text(P)
    assert states(tree.compile()) == {"calculator": "good", "free": "good", "fresh": "good", "radius": "good"}


def test_a_snapshot_is_read_back_whole_or_not_at_all(tree: Tree, tmp_path: Path) -> None:
    (tree.vendor / "a.yaml").write_text(P + "retries: {attempts: 3}\nlimits: {nofile: 3}\n")
    (tree.vendor / "b.yaml").write_text("nonsense")
    tree.compile()
    path = str(tmp_path / "cache" / "snapshot")
    assert tree.before
    write_snapshot(path, tree.before)
    assert read_snapshot(path) == tree.before
    content = Path(path).read_bytes()
    for damaged in (content[:-1], content[:20], b"", content.replace(b"periodical", b"periodicaX"), b"vcs catalog 1\n"):
        Path(path).write_bytes(damaged)
        assert read_snapshot(path) is None
    Path(path).write_bytes(content)
    Path(path).chmod(0o666)
    assert read_snapshot(path) is None


def test_the_compiler_as_a_process_writes_only_what_changed(tmp_path: Path) -> None:
    tree, snapshot = Tree(tmp_path), tmp_path / "snapshot"
    (tree.vendor / "a.yaml").write_text(P)
    (tree.vendor / "b.yml").write_text(P)
    os.utime(tree.vendor / "a.yaml", (1, 1))
    command = [sys.executable, "-m", "vcsctl.catalog.compiler"]
    command += ["--vendor", str(tree.vendor), "--site", str(tree.site), "--snapshot", str(snapshot)]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(first.stdout) == {"changed": ["a"], "removed": [], "problems": 1}
    inode = snapshot.stat().st_ino
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(second.stdout) == {"changed": [], "removed": [], "problems": 1}
    assert snapshot.stat().st_ino == inode
