"""The floors of the design: imports point down, vcsd stays light, files stay small."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = {
    "domain": 0,
    "errors": 0,
    "steps": 0,
    "store": 1,
    "catalog": 1,
    "config": 1,
    "config_file": 1,
    "places": 1,
    "runners": 2,
    "cli": 3,
    "vcsd": 3,
    "utilities": 3,
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted((ROOT / "vcsctl").rglob("*.py"))
    }


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def floor(module: str) -> int:
    parts = module.split(".")
    return FLOORS[parts[1]] if len(parts) > 1 and parts[1] in FLOORS else 0


def test_imports_point_down() -> None:
    up = [
        f"{module} imports {target}"
        for module, path in modules().items()
        for target in imports(path)
        if target.startswith("vcsctl.") and floor(target) > floor(module)
    ]
    assert not up


def test_the_domain_does_no_input_or_output() -> None:
    forbidden = {"os", "time", "subprocess", "socket", "signal", "yaml", "click", "pathlib", "io"}
    assert not [
        f"{module} imports {target}"
        for module, path in modules().items()
        if module.startswith("vcsctl.domain")
        for target in imports(path) & forbidden
    ]


def test_only_runners_start_processes() -> None:
    assert not [
        module
        for module, path in modules().items()
        if "subprocess" in imports(path) and not module.startswith(("vcsctl.runners", "vcsctl.utilities"))
    ]


def loaded_with(module: str) -> dict[str, set[str]]:
    """What is loaded before a module's first line is reached by it: module → what that imports at its top."""
    known, todo, found = modules(), [module], dict[str, set[str]]()
    while todo:
        one = todo.pop()
        if one in known and one not in found:
            found[one] = imports(known[one], top_only=True)
            todo += found[one]
    return found


def test_vcsd_loads_neither_yaml_nor_pydantic_nor_click() -> None:
    found = loaded_with("vcsctl.vcsd.main")
    for module, targets in found.items():
        assert not {target.split(".")[0] for target in targets} & {"yaml", "pydantic", "click"}, module
    assert "vcsctl.vcsd.loop" in found


def test_status_loads_only_what_a_table_of_timed_services_needs() -> None:
    found = loaded_with("vcsctl.cli.status")
    for module, targets in found.items():
        assert not targets & {"ctypes", "shutil", "yaml", "pydantic", "zoneinfo"}, module
    unneeded = {"vcsctl.domain.daemon", "vcsctl.store.daemons", "vcsctl.store.state", "vcsctl.store.mounts"}
    unneeded |= {"vcsctl.domain.holder", "vcsctl.domain.outcome", "vcsctl.domain.reservations"}
    assert not found.keys() & unneeded
    assert not [module for module in found if module.startswith(("vcsctl.runners", "vcsctl.vcsd", "vcsctl.catalog"))]
    assert "vcsctl.cli.status_table" in found


def test_files_are_small_and_say_what_they_are() -> None:
    for module, path in modules().items():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
        assert len(text.splitlines()) <= 400, f"{module} has more than 400 lines"
