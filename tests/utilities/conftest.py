"""A private root in which vcs-utility runs as it does on a node: as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = str(Path(__file__).parents[2])


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "var/log/vcs"
        self.shared = root / "var/lib/vcs/shared"
        self.state = root / "var/lib/vcs/utilities"
        for folder in (self.logs, self.shared, root / "etc/vcs/utilities"):
            folder.mkdir(parents=True)

    def settings(self, name: str, text: str) -> Path:
        path = self.root / "etc/vcs/utilities" / f"{name}.yaml"
        path.write_text(text)
        return path

    def utility(self, name: str, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "VCS_ROOT": str(self.root), "PYTHONPATH": REPOSITORY}
        if path is not None:
            environment["PATH"] = path
        command = [sys.executable, "-m", "vcsctl.utilities.main", name, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def file(self, path: str, *, days_old: float = 0, size: int = 10) -> Path:
        """A file below the root; its age in days."""
        made = self.root / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"x" * size)
        written_at = time.time() - days_old * 86400
        os.utime(made, (written_at, written_at))
        return made


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)
