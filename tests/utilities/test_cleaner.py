"""cleaner on real directories: what goes, what stays, and that nothing outside of what is named is touched."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vcsctl.utilities import cleaner, sweep


def spool(node: Any, text: str) -> None:
    node.settings("cleaner", f"rules:\n- path: /var/spool/app{text}\n")


def test_old_run_logs_go_and_the_newest_of_each_service_stays(node: Any) -> None:
    old = [node.file(f"var/log/vcs/{name}", days_old=days) for name, days in
           (("calculator/calculator.1.log", 40), ("calculator/calculator.2.log.1.gz", 35))]  # fmt: skip
    stays = [node.file(f"var/log/vcs/{name}", days_old=days) for name, days in
             (("calculator/calculator.3.log", 29), ("backup-manager/backup-manager.7.log", 90))]  # fmt: skip
    done = node.utility("cleaner")
    assert (done.returncode, done.stdout) == (0, "cleaner: removed 2 files, 20 bytes\n")
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in stays)


def test_history_goes_by_whole_months(node: Any) -> None:
    old = node.file("var/lib/vcs/shared/history/calculator/2001-02.bill1.jsonl")
    now = datetime.now(UTC).strftime("%Y-%m")
    stays = node.file(f"var/lib/vcs/shared/history/calculator/{now}.bill1.jsonl", days_old=900)
    foreign = node.file("var/lib/vcs/shared/history/calculator/notes.txt", days_old=900)
    assert node.utility("cleaner").returncode == 0
    assert (old.exists(), stays.exists(), foreign.exists()) == (False, True, True)


@pytest.mark.parametrize(
    ("now", "months", "first"), [((2026, 1, 31), 1, "2025-12"), ((2026, 3, 1), 13, "2025-02"), ((2026, 12, 1), 12, "2025-12")]
)  # fmt: skip
def test_the_oldest_month_that_stays(now: tuple[int, int, int], months: int, first: str) -> None:
    assert cleaner.first_month(datetime(*now, tzinfo=UTC), months) == first


def test_a_dry_run_lists_what_would_go_and_removes_nothing(node: Any) -> None:
    path = node.file("var/spool/app/a.csv", days_old=3, size=2048)
    spool(node, "\n  older_than: 48h")
    done = node.utility("cleaner", "--dry-run")
    assert done.stdout == f"would remove {path} (2.0 KiB)\ncleaner: would remove 1 file, 2.0 KiB\n"
    assert path.exists()


def test_keep_alone_leaves_the_newest_of_each_directory(node: Any) -> None:
    for place in ("a", "b"):
        for age in (1, 2, 3):
            node.file(f"var/spool/app/{place}/{age}.csv", days_old=age)
    spool(node, "/*/*.csv\n  keep: 1")
    assert node.utility("cleaner").returncode == 0
    left = sorted(str(path.relative_to(node.root / "var/spool/app")) for path in node.root.rglob("*.csv"))
    assert left == ["a/1.csv", "b/1.csv"]


def test_a_total_is_reached_by_removing_the_oldest_of_all_directories(node: Any) -> None:
    for age, place in enumerate(("a", "b", "a", "b"), start=1):
        node.file(f"var/spool/app/{place}/{age}.csv", days_old=age, size=1000)
    spool(node, "/**\n  max_total: 2500")
    assert "removed 2 files" in node.utility("cleaner").stdout
    assert sorted(path.name for path in node.root.rglob("*.csv")) == ["1.csv", "2.csv"]


def test_what_was_written_a_moment_ago_stays_whatever_the_rule(node: Any) -> None:
    fresh = node.file("var/spool/app/fresh.csv", size=5000)
    old = node.file("var/spool/app/old.csv", days_old=1, size=5000)
    spool(node, "\n  max_total: 1")
    node.utility("cleaner")
    assert (fresh.exists(), old.exists()) == (True, False)


def test_links_are_neither_followed_nor_removed_and_directories_stay(node: Any) -> None:
    outside = node.file("srv/precious/data.csv", days_old=99)
    node.file("var/spool/app/inner/old.csv", days_old=99)
    app = node.root / "var/spool/app"
    (app / "folder").symlink_to(outside.parent)
    (app / "file.csv").symlink_to(outside)
    spool(node, "/**\n  older_than: 1h")
    assert "removed 1 file" in node.utility("cleaner").stdout
    assert outside.exists()
    assert (app / "inner").is_dir()
    assert (app / "file.csv").is_symlink()
    assert (app / "folder").is_symlink()


def test_a_directory_exchanged_for_a_link_after_it_was_listed_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "base/inner").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious.csv").touch()
    base = os.open(tmp_path / "base", os.O_RDONLY)
    seen = []
    for folder in sweep.walk(base, sweep.Pattern(str(tmp_path / "base"), ("*", "*")), sweep.Tally()):
        seen.append(folder.path)
        if folder.path.endswith("base"):
            (tmp_path / "base/inner").rmdir()
            (tmp_path / "base/inner").symlink_to(tmp_path / "outside")
    os.close(base)
    assert seen == [str(tmp_path / "base")]


def test_a_file_written_to_after_it_was_judged_stays(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    base = os.open(tmp_path, os.O_RDONLY)
    tally = sweep.Tally()
    for folder in sweep.walk(base, sweep.Pattern(str(tmp_path), ("*",)), tally):
        (tmp_path / "a.csv").write_text("new content")
        assert not sweep.remove(folder.descriptor, folder.path, folder.files[0], tally, None)
    os.close(base)
    assert (tmp_path / "a.csv").exists()
    assert (tally.files, tally.faults) == (0, [])


def test_a_name_that_links_to_a_system_directory_is_refused_before_anything_goes(node: Any) -> None:
    log = node.file("var/log/vcs/a/a.1.log", days_old=99)
    node.file("var/log/vcs/a/a.2.log", days_old=98)
    (node.root / "var/spool").mkdir(parents=True)
    (node.root / "var/spool/app").symlink_to("/etc")
    spool(node, "\n  older_than: 1h")
    done = node.utility("cleaner", "--dry-run")
    assert done.returncode == 2
    assert "/etc belongs to the system" in done.stderr
    assert log.exists()


@pytest.mark.parametrize("path", ["/var/lib/vcs/shared/locks", "/var/log/vcs", "/var/lib/vcs/utilities/*.json"])
def test_what_belongs_to_vcsctl_is_refused(node: Any, path: str) -> None:
    node.file("var/lib/vcs/shared/locks/key/a", days_old=99)
    node.file("var/lib/vcs/utilities/a.json", days_old=99)
    node.settings("cleaner", f"rules:\n- path: '{path}'\n  older_than: 1h\n")
    done = node.utility("cleaner")
    assert done.returncode == 2
    assert "belongs to vcsctl itself" in done.stderr


def test_a_wide_rule_leaves_the_shared_directory_out(node: Any) -> None:
    node.root.joinpath("etc/vcs/vcs.yaml").write_text("shared_dir: /data/cell\n")
    lock = node.file("data/cell/locks/key/a", days_old=99)
    other = node.file("data/old.csv", days_old=99)
    node.settings("cleaner", "rules:\n- path: /data/**\n  older_than: 1h\n")
    assert node.utility("cleaner").returncode == 0
    assert (lock.exists(), other.exists()) == (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules:\n- path: /\n  keep: 1\n", ":2:3: path: '/' cannot be cleaned: / is shared by everything"),
        ("rules:\n- path: /etc/ssl/*.bak\n  keep: 1\n", "/etc/ssl belongs to the system"),
        ("rules:\n- path: /usr\n  keep: 1\n", "/usr belongs to the system"),
        ("rules:\n- path: /var/*/x\n  keep: 1\n", "/var is shared by everything"),
        ("rules:\n- path: spool\n  keep: 1\n", "is not an absolute path"),
        ("rules:\n- path: /data/../etc\n  keep: 1\n", "contains . or .."),
        ("rules:\n- path: /data/x\n", "has no rule beside it"),
        ("rules:\n- path: /data/x\n  older: 3h\n  keep: 1\n", ":3:3: older: unknown key; did you mean 'older_than'?"),
        ("run_logs:\n  keep: 0\n", ":2:3: keep: must be from 1"),
        ("rules: /data\n", ":1:1: rules: must be a list of maps"),
        ("rules:\n- path: /data/x\n  max_total: lots\n", "cannot read 'lots' as a size"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_at_their_place(node: Any, text: str, says: str) -> None:
    node.settings("cleaner", text)
    done = node.utility("cleaner")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/d", "a", True),
        ("/d", "a/b", False),
        ("/d/**", "a/b/c", True),
        ("/d/**/*.csv", "x.csv", True),
        ("/d/**/*.csv", "a/b/x.csv", True),
        ("/d/**/*.csv", "a/b/x.txt", False),
        ("/d/*/*.csv", "a/x.csv", True),
        ("/d/*", ".hidden", False),
        ("/d/**", ".git/objects", False),
        ("/d/.*", ".hidden", True),
    ],
)
def test_which_paths_a_pattern_means(pattern: str, path: str, expected: bool) -> None:
    parts, names = sweep.parse_pattern(pattern).parts, tuple(path.split("/"))
    assert sweep.matches(parts, names) is expected
    assert not expected or all(sweep.leads_on(parts, names[:depth]) for depth in range(len(names)))


def test_the_newest_run_is_told_by_its_number_not_by_what_a_rotation_touched(node: Any) -> None:
    node.file("var/log/vcs/big/big.1.log", days_old=0.1)
    newest = node.file("var/log/vcs/big/big.2.log", days_old=400)
    node.settings("cleaner", "run_logs:\n  older_than: 1h\n")
    done = node.utility("cleaner")
    assert done.returncode == 0, done.stderr
    assert newest.exists()
    assert not (node.root / "var/log/vcs/big/big.1.log").exists()
