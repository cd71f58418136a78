"""Which files make up which unit, by directory listings alone: vendor < site < drop-ins. Reads no file.

Needs neither YAML nor pydantic: when nothing changed, compiling ends here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from vcsctl.catalog.permissions import check_permissions
from vcsctl.errors import Problem

NAME = r"[a-z0-9][a-z0-9-]{0,62}"
UNIT_FILE = re.compile(rf"({NAME})\.yaml")
DROP_IN_FOLDER = re.compile(rf"({NAME})\.yaml\.d")
DROP_IN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.yaml")
# Dotfiles cover `.ansible_tmp*.yaml`, `.#x.yaml` and `.x.yaml.swp`; 4913 is vim's question whether it may write.
_SILENT = re.compile(r"\..*|#.*#|4913", re.DOTALL)
_NEAR_MISSES = (
    (
        re.compile(r".*\.(rpmnew|rpmsave|rpmorig|dpkg-\w+|ucf-\w+)", re.DOTALL),
        "is not read: a package manager left it here; take over from it what is wanted and remove it",
    ),
    (re.compile(r".*(~|\.(bak|orig|old|save|swp))", re.DOTALL), "is not read: it is a backup copy; remove it"),
    (
        re.compile(r".*\.ya?ml", re.DOTALL | re.IGNORECASE),
        "is not read: a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63); rename or remove it",
    ),
)


@dataclass(frozen=True, slots=True)
class Layers:
    """The two directories of unit files."""

    vendor: str
    site: str


class Fragments(NamedTuple):
    """The files that make up one unit, in the order in which they apply."""

    name: str
    base: str
    drop_ins: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()  # of the drop-ins' directory: what it may hold is part of the unit

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.base, *self.drop_ins)


def scan(layers: Layers) -> tuple[dict[str, Fragments], list[Problem]]:
    """The units' files, and what is wrong with directories and names.

    A problem that is no warning is one of a whole layer, named by its path, that cannot be had.
    """
    problems: list[Problem] = []
    bases: dict[str, str] = {}
    drop_in_folders: dict[str, str] = {}
    for folder in (layers.vendor, layers.site):
        for name in _names(folder, problems):
            path = f"{folder}/{name}"
            if match := UNIT_FILE.fullmatch(name):
                bases[match[1]] = path
            elif name.endswith(".yaml.d") and not _SILENT.fullmatch(name):
                _take_folder(path, name, folder == layers.site, drop_in_folders, problems)
            else:
                _judge_stranger(path, name, problems)
    found = {name: Fragments(name, path) for name, path in bases.items()}
    is_whole = all(problem.warning for problem in problems)
    for name, folder in drop_in_folders.items():
        drop_ins, faults = _drop_ins(folder, problems)
        if name in found:
            found[name] = Fragments(name, bases[name], drop_ins, tuple(faults))
        elif drop_ins and is_whole:
            problems.append(_warning(folder, f"is not read: there is no unit {name} to change; rename or remove it"))
    return found, problems


def _names(folder: str, problems: list[Problem]) -> list[str]:
    """A directory that is not there is an empty one."""
    try:
        names = sorted(os.listdir(folder)) if folder else []
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problems.append(Problem(folder, 0, 0, "", f"cannot be read: {reason}; its units stay as they were"))
        return []
    if names and (problem := check_permissions(folder)):
        problems.append(problem)
        return []
    return names


def _take_folder(path: str, name: str, in_site: bool, folders: dict[str, str], problems: list[Problem]) -> None:
    match = DROP_IN_FOLDER.fullmatch(name)
    if not in_site:
        problems.append(_warning(path, "is not read: drop-ins belong in the site's directory; move it there"))
    elif match is None:
        problems.append(_warning(path, "is not read: name it after the unit, like backup-manager.yaml.d"))
    elif not os.path.isdir(path):
        problems.append(_warning(path, "is not read: it must be a directory with drop-ins in it"))
    else:
        folders[match[1]] = path


def _drop_ins(folder: str, problems: list[Problem]) -> tuple[tuple[str, ...], list[Problem]]:
    faults: list[Problem] = []
    found = []
    for name in _names(folder, faults):
        path = f"{folder}/{name}"
        if DROP_IN.fullmatch(name):
            found.append(path)
        else:
            _judge_stranger(path, name, problems)
    return tuple(found), faults


def _judge_stranger(path: str, name: str, problems: list[Problem]) -> None:
    """Most of what else lies in the directory is nobody's business; what was probably meant is named."""
    if _SILENT.fullmatch(name):
        return
    for pattern, text in _NEAR_MISSES:
        if pattern.fullmatch(name):
            problems.append(_warning(path, text))
            return


def _warning(path: str, text: str) -> Problem:
    # A file's name may hold any byte; a message may not.
    shown = "".join(character if character.isprintable() else "?" for character in path)
    return Problem(shown, 0, 0, "", text, warning=True)
