"""init: the cell is made once, on purpose, in a directory that can be one."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


@pytest.fixture
def fresh(tmp_path: Any, site_class: type[Any]) -> Any:
    made = site_class(tmp_path)
    made.shared.mkdir(parents=True)
    return made


def identity(site: Any) -> str:
    found: str = json.loads((site.shared / "cell.json").read_text())["id"]
    return found


def test_init_makes_the_cell_once_and_says_what_nodes_must_know(fresh: Any) -> None:
    made = fresh.vcsctl("init")
    lines = made.stdout.splitlines()
    assert (made.returncode, made.stderr) == (0, "")
    assert lines[0].startswith(f"cell {identity(fresh)}: made in {fresh.shared} (time zone ")
    assert lines[1:] == [
        f"every node's {fresh.root}/etc/vcs/vcs.yaml should say:",
        "shared_dir: /var/lib/vcs/shared",
        f"cell: {identity(fresh)}",
    ]
    before = identity(fresh)
    again = fresh.vcsctl("init")
    assert again.returncode == 0
    assert again.stdout.startswith(f"cell {before}: is there already in {fresh.shared} (")
    fresh.configure("\n".join(lines[2:]) + "\n")
    assert fresh.vcsctl("init").stdout.count("\n") == 1, "vcs.yaml says so already"
    assert identity(fresh) == before
    fresh.start()
    assert identity(fresh) == before
    fresh.stop()


@pytest.mark.parametrize("kind", ["missing", "file", "foreign"])
def test_init_refuses_what_is_no_directory_for_a_cell(fresh: Any, kind: str) -> None:
    if kind == "foreign":
        (fresh.shared / "thesis.tex").write_text("")
    else:
        fresh.shared.rmdir()
    if kind == "file":
        fresh.shared.write_text("")
    sentence = {
        "missing": "is not there; mount the shared directory there, or make it with mkdir -p",
        "file": "is no directory; mount the shared directory there, or make it with mkdir -p",
        "foreign": "holds thesis.tex and no cell; give the cell a directory of its own",
    }[kind]
    done = fresh.vcsctl("init")
    assert (done.returncode, done.stdout, done.stderr) == (5, "", f"vcsctl: {fresh.shared} {sentence}\n")
    assert not (fresh.shared / "cell.json").exists()


def test_init_refuses_another_cell_than_the_configured_one(fresh: Any) -> None:
    fresh.configure("cell: 0123456789abcdef\n")
    none = fresh.vcsctl("init")
    assert (none.returncode, none.stdout) == (5, "")
    assert none.stderr.startswith(f"vcsctl: {fresh.shared} holds no cell, vcs.yaml expects 0123456789abcdef; ")
    assert list(fresh.shared.iterdir()) == []
    fresh.configure("")
    fresh.vcsctl("init")
    fresh.configure("cell: 0123456789abcdef\n")
    other = fresh.vcsctl("init")
    expected = f"is cell {identity(fresh)}, vcs.yaml expects 0123456789abcdef; mount the right one"
    assert (other.returncode, other.stdout, other.stderr) == (5, "", f"vcsctl: {fresh.shared} {expected}\n")
    for command in (("status",), ("run", "calculator"), ("nodes",), ("drain", "a")):
        other = fresh.vcsctl(*command)
        assert (other.returncode, other.stdout, other.stderr) == (5, "", f"vcsctl: {fresh.shared} {expected}\n")


def test_init_goes_on_where_another_was_cut_short(fresh: Any) -> None:
    (fresh.shared / "lost+found").mkdir()
    (fresh.shared / "locks/key").mkdir(parents=True)
    (fresh.shared / "queue").mkdir()
    assert fresh.vcsctl("init").returncode == 0
    assert (fresh.shared / "history").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_init_warns_who_makes_the_cell_in_another_users_directory(fresh: Any) -> None:
    os.chown(fresh.shared, 12345, -1)
    done = fresh.vcsctl("init")
    assert done.returncode == 0
    assert f"warning: the cell now belongs to uid 0, {fresh.shared} to uid 12345; if vcsd runs" in done.stderr
