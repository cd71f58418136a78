"""What the documents point at is there: files, commands, names on the shared directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vcsctl.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_named_is_there(document: Path) -> None:
    named = re.findall(r"`((?:domain|store|catalog|runners|cli|vcsd|tests)/[a-z_/]+\.py)`", document.read_text())
    assert not [name for name in named if not (ROOT / "vcsctl" / name).exists() and not (ROOT / name).exists()]


def test_the_readme_lists_every_command_and_no_other() -> None:
    table = re.findall(r"^\| (`[^|]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name for row in table for name in re.findall(r"`([a-z-]+)", row)}
    assert listed == set(COMMANDS)
