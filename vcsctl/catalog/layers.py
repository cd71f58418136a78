"""The layers of unit files, put on top of each other: vendor < site < drop-ins. All problems of all files at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vcsctl.catalog.validate import check_permissions, load_unit, problem_at, warnings
from vcsctl.catalog.yaml_tree import BadFile, Tree, read_tree
from vcsctl.domain.unit import TIMED_KEYS_OF, Daemon, Unit, to_plain
from vcsctl.errors import Problem

UNIT_FILE = re.compile(r"([a-z0-9][a-z0-9-]{0,62})\.yaml")
_SILENT = re.compile(r"\..*|#.*#|4913")
_NEAR_MISS = re.compile(r".*(\.ya?ml|~|\.rpmnew|\.rpmsave|\.rpmorig|\.dpkg-\w+|\.bak|\.orig|\.ucf-\w+)")


@dataclass(frozen=True, slots=True)
class Layers:
    """The two directories of unit files."""

    vendor: str
    site: str


@dataclass(frozen=True, slots=True)
class MergedTree(Tree):
    """A tree from several files; `sources` says which file each key came from."""

    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fragments:
    """The files that make up one unit, in the order in which they apply."""

    name: str
    base: str
    drop_ins: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.base, *self.drop_ins)


@dataclass(frozen=True, slots=True)
class Loaded:
    """One name of the catalog. `unit` is None when it is masked or broken."""

    name: str
    unit: Unit | None
    masked: bool
    fragments: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    tree: Tree | None = None


def digest_of(unit: Unit) -> str:
    return hashlib.blake2b(json.dumps(to_plain(unit), sort_keys=True).encode(), digest_size=12).hexdigest()


def scan(layers: Layers) -> tuple[dict[str, Fragments], list[Problem]]:
    """Which files make up which unit, by directory listings alone."""
    problems: list[Problem] = []
    bases = {**_units_in(layers.vendor, problems), **_units_in(layers.site, problems)}
    found = {name: Fragments(name, path) for name, path in bases.items()}
    for name, folder in _drop_in_folders(layers.site).items():
        drop_ins = tuple(sorted(_units_in(folder, problems, any_name=True).values()))
        if name in found:
            found[name] = Fragments(name, found[name].base, drop_ins)
        elif drop_ins:
            problems.append(Problem(folder, 0, 0, "", f"there is no unit {name} to change; remove it", warning=True))
    return found, problems


def _names(folder: str, problems: list[Problem]) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(Problem(folder, 0, 0, "", f"cannot be read: {(error.strerror or str(error)).lower()}"))
        return []


def _units_in(folder: str, problems: list[Problem], *, any_name: bool = False) -> dict[str, str]:
    names = _names(folder, problems)
    if names and (problem := check_permissions(folder)):
        problems.append(problem)
        return {}
    found = {}
    for name in names:
        if _SILENT.fullmatch(name) or os.path.basename(name).endswith(".yaml.d"):
            continue
        if match := UNIT_FILE.fullmatch(name):
            found[match[1]] = f"{folder}/{name}"
        elif any_name and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.yaml", name):
            found[name] = f"{folder}/{name}"
        elif _NEAR_MISS.fullmatch(name):
            text = "is not read: a unit file is named like backup-manager.yaml (a-z, 0-9 and -); rename or remove it"
            problems.append(Problem(f"{folder}/{name}", 0, 0, "", text, warning=True))
    return found


def _drop_in_folders(site: str) -> dict[str, str]:
    found = {}
    for name in _names(site, []):
        match = re.fullmatch(r"([a-z0-9][a-z0-9-]{0,62})\.yaml\.d", name)
        if match and os.path.isdir(f"{site}/{name}"):
            found[match[1]] = f"{site}/{name}"
    return found


def load_one(fragments: Fragments, read: Callable[[str], Tree] = read_tree) -> Loaded:
    """One unit from its files; every problem of every file."""
    problems = [problem for path in fragments.paths if (problem := check_permissions(path))]
    if not problems and _masks(fragments.base):
        return Loaded(fragments.name, None, True, fragments.paths)
    trees = []
    for path in fragments.paths if not problems else ():
        try:
            trees.append(read(path))
        except BadFile as error:
            problems.extend(error.problems)
    if problems:
        return Loaded(fragments.name, None, False, fragments.paths, tuple(problems))
    try:
        tree = merge(trees)
        unit = load_unit(fragments.name, tree)
    except BadFile as error:
        return Loaded(fragments.name, None, False, fragments.paths, error.problems)
    return Loaded(fragments.name, unit, False, fragments.paths, tuple(warnings(unit, tree)), tree)


def _masks(path: str) -> bool:
    """An empty file, or a link to /dev/null, hides the unit."""
    try:
        return os.path.realpath(path) == "/dev/null" or os.stat(path).st_size == 0
    except OSError:
        return False


def merge(trees: list[Tree]) -> Tree:
    """Later files over earlier ones: scalars and lists replace, maps merge, null resets."""
    if len(trees) == 1:
        return trees[0]
    values: dict[str, Any] = {}
    places: dict[Any, tuple[int, int]] = {}
    sources: dict[str, str] = {}
    for tree in trees:
        _drop_keys_of_the_other_kind(values, tree)
        for key, value in tree.values.items():
            if isinstance(value, dict) and isinstance(values.get(key), dict):
                value = {name: item for name, item in {**values[key], **value}.items() if item is not None}
            else:
                for path in [path for path in places if path[0] == key]:
                    del places[path]
            values[key] = value
            sources[key] = tree.path
            places.update((path, place) for path, place in tree.places.items() if path[0] == key)
    return MergedTree(trees[0].path, values, places, sources)


def _drop_keys_of_the_other_kind(values: dict[str, Any], tree: Tree) -> None:
    """A file that changes `schedule` between the timed kinds need not reset what belonged to the other one."""
    kind = tree.values.get("schedule")
    if kind in TIMED_KEYS_OF and values.get("schedule") in TIMED_KEYS_OF and kind != values["schedule"]:
        for key in TIMED_KEYS_OF[values["schedule"]]:
            values.pop(key, None)


def load(layers: Layers) -> tuple[dict[str, Loaded], list[Problem]]:
    """All units, and the problems of the directories and of the units among each other."""
    found, problems = scan(layers)
    loaded = {name: load_one(fragments) for name, fragments in sorted(found.items())}
    return loaded, problems + cross_problems({name: one for name, one in loaded.items() if one.unit})


def cross_problems(loaded: dict[str, Loaded]) -> list[Problem]:
    """A daemon in a group with a timed service would starve it for ever."""
    members: dict[str, list[str]] = defaultdict(list)
    for one in loaded.values():
        if one.unit is not None and not isinstance(one.unit, Daemon):
            for group in one.unit.groups:
                members[group].append(one.name)
    problems = []
    for one in loaded.values():
        if isinstance(one.unit, Daemon):
            for group in one.unit.groups:
                if group in members:
                    text = (
                        f"shares group {group} with {members[group][0]}, which would never start; "
                        f"take the group per job with: vcsctl lock {group} -- COMMAND"
                    )
                    problems.append(problem_at(one.tree or Tree(one.fragments[0], {}), ("groups",), text))
    return problems
