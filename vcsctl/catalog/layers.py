"""The layers of unit files put on top of each other, read and judged. All problems of all files at once."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from typing import Any

from vcsctl.catalog.conflicts import conflicts
from vcsctl.catalog.permissions import permission_fault
from vcsctl.catalog.scan import UNIT_FILE, Fragments, Layers, scan
from vcsctl.catalog.validate import load_unit, problem_at, warnings
from vcsctl.catalog.yaml_tree import BadFile, KeyPath, Place, Tree, read_tree, unreadable
from vcsctl.domain.unit import TIMED_KEYS_OF, Unit, to_plain
from vcsctl.errors import Problem

__all__ = ["UNIT_FILE", "Fragments", "Layers", "Loaded", "cross_problems", "load", "load_one", "scan"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One name of the catalog. `unit` is None when it is masked or broken; a unit with warnings is neither."""

    name: str
    unit: Unit | None
    masked: bool
    fragments: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    tree: Tree | None = None


@dataclass(frozen=True, slots=True)
class MergedTree(Tree):
    """A tree from several files; `sources` says which file each place lies in."""

    sources: dict[KeyPath, str] = field(default_factory=dict)

    def file_of(self, path: KeyPath) -> str:
        return self.sources.get(path, self.path)


def plain_and_digest(unit: Unit) -> tuple[dict[str, Any], str]:
    """The unit as JSON values, and what tells it from another."""
    text = json.dumps(to_plain(unit), sort_keys=True)
    plain: dict[str, Any] = json.loads(text)
    return plain, hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def load(layers: Layers) -> tuple[dict[str, Loaded], list[Problem]]:
    """All units with their own problems, and the problems of directories and of units beside each other."""
    found, problems = scan(layers)
    loaded = {name: load_one(fragments) for name, fragments in sorted(found.items())}
    return loaded, problems + cross_problems(loaded)


def load_one(fragments: Fragments) -> Loaded:
    """One unit from its files; every problem of every file."""
    problems: list[Problem] = []
    base = _read(fragments.base, problems)
    if base is None and not problems:
        return Loaded(fragments.name, None, True, fragments.paths)
    problems += fragments.problems
    above = [tree for path in fragments.drop_ins if (tree := _read(path, problems)) is not None]
    if base is None:  # without the base, every key of it would be reported as missing
        return Loaded(fragments.name, None, False, fragments.paths, tuple(sorted(problems)))
    tree = merge([base, *above])
    unit = None
    try:
        unit = load_unit(fragments.name, tree)
        problems += warnings(unit, tree)
    except BadFile as error:
        problems += error.problems
    if any(not problem.warning for problem in problems):
        unit = None
    return Loaded(fragments.name, unit, False, fragments.paths, tuple(sorted(problems)), tree)


def _read(path: str, problems: list[Problem]) -> Tree | None:
    """None for an empty file, which hides a unit and as a drop-in says nothing, and for one that cannot be read."""
    try:
        status = os.stat(path)
        if problem := permission_fault(path, status):
            problems.append(problem)
        return None if _is_empty(status) else read_tree(path)
    except BadFile as error:
        problems.extend(error.problems)
    except OSError as error:
        problems.append(Problem(path, 0, 0, "", unreadable(error)))
    return None


def _is_empty(status: os.stat_result) -> bool:
    """An empty file, or a link to /dev/null: hides a unit, and as a drop-in says nothing."""
    if stat.S_ISREG(status.st_mode):
        return status.st_size == 0
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def merge(trees: list[Tree]) -> Tree:
    """Later files over earlier ones: scalars and lists replace, maps merge, null resets."""
    if len(trees) == 1:
        return trees[0]
    values: dict[str, Any] = {}
    places: dict[KeyPath, Place] = {}
    sources: dict[KeyPath, str] = {}
    for number, tree in enumerate(trees):
        fallen = _keys_that_fall_away(values, tree)
        values = {key: value for key, value in values.items() if key not in fallen}
        for key, value in tree.values.items():
            below = values.get(key)
            if number and isinstance(value, dict):
                lower = below if isinstance(below, dict) else {}
                values[key] = {name: item for name, item in {**lower, **value}.items() if item is not None}
                replaced: set[KeyPath] = {(key, name) for name in value}
            else:
                values[key] = value
                replaced = {(key,)}
            for path in [path for path in places if path[:1] in replaced or path[:2] in replaced]:
                del places[path], sources[path]
        places.update(tree.places)
        sources.update(dict.fromkeys(tree.places, tree.path))
    return MergedTree(trees[0].path, values, places, sources)


def _keys_that_fall_away(below: dict[str, Any], tree: Tree) -> tuple[str, ...]:
    """A file that changes `schedule` between the timed kinds need not reset what belonged to the other one."""
    before, after = below.get("schedule"), tree.values.get("schedule")
    if isinstance(before, str) and isinstance(after, str) and before != after and after in TIMED_KEYS_OF:
        return TIMED_KEYS_OF.get(before, ())
    return ()


def cross_problems(loaded: dict[str, Loaded]) -> list[Problem]:
    """The problems that units have only beside each other."""
    units = [to_plain(one.unit) for one in loaded.values() if one.unit is not None and one.unit.groups]
    problems = []
    for conflict in conflicts(units):
        tree = loaded[conflict.daemon].tree or Tree(loaded[conflict.daemon].fragments[0], {})
        problems.append(problem_at(tree, ("groups", conflict.place), conflict.text))
    return problems
