"""The hooks of .pre-commit-hooks.yaml in a git repository with unit files, by pre-commit itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from language_server import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here; apt-get install git")
GOOD = "schedule: periodical\nperiod: 5\nexec: [/bin/true]\n"
PROGRAM = f'#!/bin/sh\nexec {sys.executable} -m vcsctl.cli.main "$@"\n'
AUTHOR = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")


class Repository:
    """A repository of a site: unit files as they are pushed, and other files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        hooks = folder / "hooks"
        program = folder / "bin/vcsctl"
        for made in (self.folder, hooks, program.parent, folder / "home"):
            made.mkdir()
        program.write_text(PROGRAM)
        program.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PRE_COMMIT"))}
        self._environment = {
            **kept,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
            "HOME": str(folder / "home"),
            "VCS_ROOT": str(folder / "home"),  # no units of this machine
        }
        shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
        revision = self._commit(hooks)
        self._git(self.folder, "init", "-q")
        hook = f"repos: [{{repo: {hooks}, rev: {revision}, hooks: [{{id: vcsctl-verify-system}}]}}]\n"
        (self.folder / ".pre-commit-config.yaml").write_text(hook)

    def _git(self, folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *AUTHOR, *arguments],
            cwd=folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    def _commit(self, folder: Path) -> str:
        self._git(folder, "init", "-q")
        self._git(folder, "add", "-A")
        self._git(folder, "commit", "-q", "-m", "hooks")
        return self._git(folder, "rev-parse", "HEAD")

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o644)

    def hook(self) -> tuple[int, str]:
        """What pre-commit says of all that is staged."""
        self._git(self.folder, "add", "-A")
        done = subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--color", "never"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_good_files_pass_and_other_files_are_nobodys_business(repository: Repository) -> None:
    repository.write("roles/cell/files/services.d/a.yaml", GOOD)
    repository.write("services.d/b.yaml", GOOD)
    repository.write("services.d/b.yaml.d/10-often.yaml", "period: 1\n")
    repository.write("services.d/masked.yaml", "")
    repository.write("playbook.yaml", "- hosts: all\n")
    code, said = repository.hook()
    assert code == 0, said
    assert "Passed" in said


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("services.d/b.yaml", GOOD + "peiod: 3\n", "services.d/b.yaml:4:1: peiod: unknown key; did you mean 'period'?"),
        (
            "services.d/a.yaml.d/10.yaml",
            "period: 90\n",
            "services.d/a.yaml.d/10.yaml:1:1: period: must be from 1 to 60",
        ),
        ("services.d/b.yml", GOOD, "services.d/b.yml: cannot be a unit"),
    ],
    ids=["a unit", "a drop-in", "a name that is not read"],
)
def test_a_bad_file_stops_the_commit(repository: Repository, path: str, text: str, expected: str) -> None:
    repository.write("services.d/a.yaml", GOOD)
    repository.write(path, text)
    code, said = repository.hook()
    assert code == 1
    assert expected in said


def test_without_unit_files_nothing_is_run(repository: Repository) -> None:
    repository.write("README.md", "no unit\n")
    code, said = repository.hook()
    assert (code, "Skipped" in said) == (0, True), said
