"""`vcsctl verify`: each bad file gets its exact sentence at its exact place, and the shipped units none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bad_units
import bad_yaml
import pytest
from click.testing import CliRunner

from vcsctl.catalog.layers import Fragments, load_one
from vcsctl.cli.commands import vcsctl
from vcsctl.domain.unit import KINDS, keys_of

ROOT = Path(__file__).parents[2]
GOOD = bad_units.P
CASES = [*bad_units.KEYS, *bad_yaml.YAML]
OTHERS = "can be written by others; take that right away (chmod go-w)"


def verify(root: Path, *arguments: str | Path) -> tuple[int, list[str], list[str]]:
    """The exit code, the problems and the warnings."""
    (root / "empty").mkdir(exist_ok=True)
    done = CliRunner().invoke(vcsctl, ["--root", str(root / "empty"), "verify", *map(str, arguments)])
    return done.exit_code, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_unit_gets_its_sentence(tmp_path: Path, text: str, expected: str | tuple[str, ...]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    lines = (expected,) if isinstance(expected, str) else expected
    assert verify(tmp_path, path) == (2, [f"{path}:{line}" for line in lines], [])


def test_every_key_has_a_bad_value_in_the_table() -> None:
    keys = {key for kind in KINDS for key in keys_of(kind)}
    lines = [line for *_, found in bad_units.KEYS for line in ((found,) if isinstance(found, str) else found)]
    assert {line.split(": ")[1] for line in lines} >= keys


def test_a_unit_may_not_be_called_as_what_vcsctl_lock_records(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(GOOD)
    text = "name: cannot be lock: what `vcsctl lock` runs is recorded under it; rename the unit's file"
    assert verify(tmp_path, path) == (2, [f"{path}:1:1: {text}"], [])


def test_the_table_is_large_and_names_each_case_once() -> None:
    assert len({name for name, *_ in CASES}) == len(CASES) >= 90


BYTES = [
    ("latin-1", "title: Grüße\n".encode("latin-1"), "1:10: the byte 0xfc is not UTF-8; save the file as UTF-8"),
    ("UTF-16", GOOD.encode("utf-16"), "1:1: the byte 0xff is not UTF-8; save the file as UTF-8"),
    ("surrogate", b"title: \xed\xa0\x80\n", "1:8: the byte 0xed is not UTF-8; save the file as UTF-8"),
    ("program", b"\x7fELF\x02\x01\x01\0", "1:1: U+007F is a control character; remove it, or put a text file here"),
    ("zeros", bytes(100), "1:1: U+0000 is a control character; remove it, or put a text file here"),
    ("10 MB", b"#" * 10_000_000, " is too large (10000000 bytes); a unit file has at most 262144"),
    ("DOS lines", b"schedule: daemon\r\nexec: x\r\nnice: 20\r\n", "3:1: nice: must be from -20 to 19, not 20"),
    ("behind a byte order mark", b"\xef\xbb\xbfschedule: cron\n", "1:1: schedule: cannot be 'cron'; write daemon, periodical or fixed-time"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in BYTES], ids=[case[0] for case in BYTES])
def test_bytes_that_are_no_unit_get_their_sentence(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    assert verify(tmp_path, path) == (2, [f"{path}:{expected}"], [])


def _chmod(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(GOOD)
        path.chmod(mode)

    return make


def _chown(path: Path) -> None:
    path.write_text(GOOD)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, 0)


NO_FILE = "is not a regular file; remove it or put a file in its place"
PLACES: list[tuple[str, Callable[[Path], object], str]] = [
    ("group-writable", _chmod(0o664), OTHERS),
    ("world-writable", _chmod(0o646), OTHERS),
    ("foreign owner", _chown, "belongs to the user with the number 12345; give it to root (chown root)"),
    ("pipe", os.mkfifo, NO_FILE),
    ("directory", Path.mkdir, NO_FILE),
    ("device", lambda path: path.symlink_to("/dev/zero"), NO_FILE),
    ("nothing", lambda path: None, "there is no such file; mend the path, or remove the link that leads nowhere"),
    ("dangling link", lambda path: path.symlink_to("nowhere"), "there is no such file; mend the path, or remove the link that leads nowhere"),
    ("loop", lambda path: path.symlink_to(path), "cannot be read: too many levels of symbolic links; remove the file or mend its mode"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
def test_what_is_no_file_of_root_gets_its_sentence(
    tmp_path: Path, make: Callable[[Path], object], expected: str
) -> None:
    path = tmp_path / "x.yaml"
    make(path)
    assert verify(tmp_path, path) == (2, [f"{path}: {expected}"], [])


@pytest.mark.parametrize("name", ["Bad.yaml", "-x.yaml", "a_b.yaml", "x.yml", "x.yaml.bak", "a" * 64 + ".yaml", "x"])
def test_a_file_with_a_bad_name_cannot_be_a_unit(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(GOOD)
    text = "cannot be a unit: a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63)"
    assert verify(tmp_path, path) == (2, [f"{path}: {text}; rename it, or use --as NAME"], [])
    assert verify(tmp_path, "--as", "x", path) == (0, [], [])


def test_a_mask_is_good(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "null.yaml").symlink_to("/dev/null")
    assert verify(tmp_path, tmp_path / "empty.yaml", tmp_path / "null.yaml") == (0, [], [])


def test_names_that_were_probably_meant_are_warned_of_and_the_rest_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    silent = [".x.yaml.swp", ".ansible_tmp1x.yaml", "#x.yaml#", ".#x.yaml", "4913", "README", "x.txt"]
    for name in ["x.yaml", "x.yml", "X.yaml", "x.yaml~", "x.yaml.rpmnew", "x.yaml.dpkg-new", "x.yaml.orig", *silent]:
        (folder / name).write_text(GOOD)
    (folder / "a\nb.yaml").write_text(GOOD)
    (folder / "x_y.yaml.d").mkdir()
    named = "a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63); rename or remove it"
    package = "a package manager left it here; take over from it what is wanted and remove it"
    assert verify(tmp_path, folder) == (0, [], [
        f"{folder}/X.yaml: warning: is not read: {named}",
        f"{folder}/a?b.yaml: warning: is not read: {named}",
        f"{folder}/x.yaml.dpkg-new: warning: is not read: {package}",
        f"{folder}/x.yaml.orig: warning: is not read: it is a backup copy; remove it",
        f"{folder}/x.yaml.rpmnew: warning: is not read: {package}",
        f"{folder}/x.yaml~: warning: is not read: it is a backup copy; remove it",
        f"{folder}/x.yml: warning: is not read: {named}",
        f"{folder}/x_y.yaml.d: warning: is not read: name it after the unit, like backup-manager.yaml.d",
    ])  # fmt: skip


DROP_INS = [
    ("own key", {"10.yaml": "timeout: soon\n"}, "10.yaml:1:1: timeout: cannot read 'soon' as a duration; write for example 90s, 15m, 2h or 1h30m"),
    ("inner key of the drop-in", {"10.yaml": "environment:\n  C: x\n  MY-VAR: y\n"}, "10.yaml:3:3: environment: bad variable name 'MY-VAR'; write letters, digits and _"),
    ("the later of two", {"10.yaml": "period: 99\n", "20.yaml": "# ours\nperiod: 77\n"}, "20.yaml:2:1: period: must be from 1 to 60, not 77; for a longer period use schedule: fixed-time with run_at"),
    ("beside the base", {"10.yaml": "align: 5\n"}, "10.yaml:1:1: align: must be less than the period (5), not 5; write a number from 0 to 4"),
    ("another kind without its key", {"10.yaml": "schedule: fixed-time\n"}, "10.yaml:1:1: run_at: is required; write for example run_at: 04:05"),
    ("required key reset", {"10.yaml": "exec: null\n"}, "10.yaml:1:1: exec: is required; write for example exec: [/usr/libexec/vcs/calculator]"),
    ("no YAML", {"10.yaml": "- a\n"}, "10.yaml:1:1: is not a map of keys; write KEY: VALUE lines"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), [case[1:] for case in DROP_INS], ids=[case[0] for case in DROP_INS])
def test_a_fault_of_a_drop_in_names_the_drop_in(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    site = tmp_path / "site"
    folder = site / "a.yaml.d"
    folder.mkdir(parents=True)
    (site / "a.yaml").write_text(GOOD + "environment: {A: x}\n")
    for name, text in files.items():
        (folder / name).write_text(text)
    assert verify(tmp_path, site) == (2, [f"{folder}/{expected}"], [])
    last = folder / max(files)
    assert verify(tmp_path, last) == (2, [f"{folder}/{expected}"], [])


def test_a_fault_of_the_base_in_a_merged_map_names_the_base(tmp_path: Path) -> None:
    (tmp_path / "a.yaml.d").mkdir()
    (tmp_path / "a.yaml").write_text(GOOD + "limits:\n  nofile: many\n")
    (tmp_path / "a.yaml.d/10.yaml").write_text("limits: {core: 0}\n")
    text = "limits: nofile: cannot read 'many'; write a whole number, SOFT:HARD or unlimited"
    assert verify(tmp_path, tmp_path)[1] == [f"{tmp_path}/a.yaml:5:3: {text}"]


def test_a_drop_in_or_its_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a.yaml.d"
    folder.mkdir()
    (tmp_path / "a.yaml").write_text(GOOD)
    (folder / "10.yaml").write_text("align: 1\n")
    (folder / "10.yaml").chmod(0o666)
    assert verify(tmp_path, tmp_path) == (2, [f"{folder}/10.yaml: {OTHERS}"], [])
    (folder / "10.yaml").chmod(0o644)
    folder.chmod(0o775)
    assert verify(tmp_path, tmp_path) == (2, [f"{folder}: {OTHERS}"], [])
    assert verify(tmp_path, folder / "10.yaml") == (2, [f"{folder}: {OTHERS}"], [])


def test_a_drop_in_of_no_unit_is_warned_of(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "a.yaml.d").mkdir(parents=True)
    (site / "a.yaml.d/10.yaml").write_text("align: 1\n")
    text = "warning: is not read: there is no unit a to change; rename or remove it"
    assert verify(tmp_path, site) == (0, [], [f"{site}/a.yaml.d: {text}"])


def test_several_files_are_judged_in_one_go_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD + "algin: 2\nnice: 20\n")
    (tmp_path / "a.yaml").write_text(GOOD + "period: 1\n")
    code, lines, _ = verify(tmp_path, tmp_path / "b.yaml", tmp_path / "a.yaml")
    assert code == 2
    assert [line.split(": ")[0] for line in lines] == [
        f"{tmp_path}/a.yaml:4:1", f"{tmp_path}/b.yaml:4:1", f"{tmp_path}/b.yaml:5:1",
    ]  # fmt: skip


def test_a_period_that_does_not_divide_the_day_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("schedule: periodical\nexec: x\nperiod: 7\nalign: 3\n")
    text = "7 does not divide the day: after 23:58 the next slot is at 00:03, 5 minutes later"
    _, _, warnings = verify(tmp_path, tmp_path / "a.yaml")
    assert warnings == [f"{tmp_path}/a.yaml:3:1: warning: period: {text}; a period that divides 1440 has no such gap"]


def test_a_daemon_and_a_timed_service_cannot_share_a_group(tmp_path: Path) -> None:
    (tmp_path / "calculator.yaml").write_text(GOOD + "groups: [billing]\n")
    (tmp_path / "radius.yaml").write_text(bad_units.D + "groups: [billing]\nrun_on: any\n")
    text = (
        "groups: 'billing' is a group of calculator, which would never start beside a daemon; remove the group "
        "and take it for one job at a time with: vcsctl lock billing -- COMMAND"
    )
    assert verify(tmp_path, tmp_path) == (2, [f"{tmp_path}/radius.yaml:3:10: {text}"], [])


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files as they are installed: a clone's files may be writable by a group, and such units are refused."""
    folder = tmp_path_factory.mktemp("installed") / "units"
    shutil.copytree(ROOT / "units", folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_the_shipped_units_are_good_without_a_word(shipped: Path) -> None:
    files = sorted(shipped.glob("*.yaml"))
    assert len(files) == 30
    assert verify(shipped, *files) == (0, [], [])
    assert verify(shipped, shipped) == (0, [], [])


def test_a_good_unit_is_the_same_through_pydantic_as_without_it(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = [Fragments(path.stem, str(path)) for path in shipped.glob("*.yaml")]
    straight = [load_one(one) for one in fragments]
    monkeypatch.setattr("vcsctl.catalog.validate._straight", lambda cls, given: None)
    assert [load_one(one) for one in fragments] == straight
    assert all(one.unit for one in straight)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    code = "from vcsctl.cli.main import main; main()"
    command = [sys.executable, "-c", code, "verify", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_itself_says_the_same(tmp_path: Path, shipped: Path) -> None:
    assert run(shipped) == (0, "", "")
    (tmp_path / "x.yaml").write_text(GOOD + "align: 5\nnice: 20\n")
    os.mkfifo(tmp_path / "y.yaml")
    first = "4:1: align: must be less than the period (5), not 5; write a number from 0 to 4"
    second = "5:1: nice: must be from -20 to 19, not 20"
    x, y = tmp_path / "x.yaml", tmp_path / "y.yaml"
    assert run(y, x) == (2, f"{x}:{first}\n{x}:{second}\n{y}: {NO_FILE}\n", "")
    usage = "vcsctl: --as judges one file; write vcsctl verify --as NAME FILE\n"
    assert run("--as", "x", x, y) == (2, "", usage)


@pytest.mark.parametrize(
    ("keys", "is_told"),
    [
        ("groups: [g]", True),
        ("groups: [g]\nnodes: ['label:rt']", True),
        ("groups: [g]\nnodes: [a, b]\nrun_on: each", True),
        ("groups: [g]\nnodes: [a]", False),
        ("groups: [g]\nrun_on: any", False),
        ("run_on: each", False),
    ],
)
def test_a_daemon_that_would_exclude_itself_on_other_nodes_is_warned_of(
    tmp_path: Path, keys: str, is_told: bool
) -> None:
    (tmp_path / "a.yaml").write_text(f"schedule: daemon\nexec: [/bin/true]\n{keys}\n")
    code, _, warnings = verify(tmp_path, tmp_path / "a.yaml")
    assert code == 0
    assert ["groups: one node at a time can run it" in warning for warning in warnings] == [True] * is_told


@pytest.mark.parametrize(
    ("keys", "beside"),
    [("groups: [billing]", "group billing"), ("nodes: [bill1]", "this service"), ("run_on: each", None)],
)
def test_going_on_without_locks_is_warned_of_where_locks_matter(tmp_path: Path, keys: str, beside: str | None) -> None:
    text = f"schedule: periodical\nperiod: 5\nexec: [/bin/true]\n{keys}\non_storage_loss: continue\n"
    (tmp_path / "a.yaml").write_text(text)
    code, _, warnings = verify(tmp_path, tmp_path / "a.yaml")
    assert code == 0
    told = f"may run beside another of {beside}; write stop, or be sure that it does no harm"
    assert [told in warning for warning in warnings] == ([True] if beside else [])
