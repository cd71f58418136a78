"""Unit files as people judge them before vcsd does: what is wrong with files and directories.

Never writes, and needs neither vcsd nor the shared directory.
"""

from __future__ import annotations

import os

from vcsctl.catalog.layers import Loaded, load, load_one
from vcsctl.catalog.permissions import check_permissions
from vcsctl.catalog.scan import DROP_IN, DROP_IN_FOLDER, UNIT_FILE, Fragments, Layers
from vcsctl.catalog.yaml_tree import unreadable
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import Problem

_NAMED = "a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63)"


def verify(paths: tuple[str, ...], layers: Layers) -> list[Problem]:
    """Every problem, sorted. Files are judged alone, directories as a whole, no paths mean all that vcsd reads."""
    if not paths:
        return _problems(*load(layers))
    found: set[Problem] = set()
    for path in paths:
        # A directory with a unit file's name stands where a file should.
        is_folder = os.path.isdir(path) and not UNIT_FILE.fullmatch(os.path.basename(path))
        found.update(_verify_folder(path, layers) if is_folder else _verify_file(path, layers))
    return sorted(found)


def verify_as(name: str, path: str) -> list[Problem]:
    """A file judged alone, as if it were the unit `name`."""
    if not NAME_PATTERN.fullmatch(name):
        return [Problem(path, 0, 0, "", f"cannot be the unit {name!r}: {_NAMED}")]
    return sorted(load_one(Fragments(name, path)).problems)


def _verify_file(path: str, layers: Layers) -> list[Problem]:
    folder, file = os.path.split(os.path.abspath(path))
    if match := DROP_IN_FOLDER.fullmatch(os.path.basename(folder)):
        return _verify_drop_in(match[1], path, (os.path.dirname(folder), layers.site, layers.vendor))
    if match := UNIT_FILE.fullmatch(file):
        return verify_as(match[1], path)
    if not os.path.lexists(path):
        return [Problem(path, 0, 0, "", "cannot be read: no such file or directory")]
    return [Problem(path, 0, 0, "", f"cannot be a unit: {_NAMED}; rename it, or use --as NAME")]


def _verify_drop_in(name: str, path: str, folders: tuple[str, ...]) -> list[Problem]:
    """A drop-in is judged on top of the unit that it changes."""
    if not DROP_IN.fullmatch(os.path.basename(path)):
        return [Problem(path, 0, 0, "", "is not read: a drop-in is named like 10-times.yaml; rename it")]
    base = next((base for folder in folders if os.path.exists(base := f"{folder}/{name}.yaml")), None)
    if base is None:
        return [Problem(path, 0, 0, "", f"cannot be judged: there is no unit {name} to change; verify it beside one")]
    refused = check_permissions(os.path.dirname(path) or ".")
    return sorted(load_one(Fragments(name, base, (path,), (refused,) if refused else ())).problems)


def _verify_folder(folder: str, layers: Layers) -> set[Problem]:
    """The directory as the site's, above the vendor's units, so that drop-ins have something to change."""
    folder = folder.rstrip("/") or "/"
    if DROP_IN_FOLDER.fullmatch(os.path.basename(os.path.abspath(folder))):
        try:
            files = [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if DROP_IN.fullmatch(name)]
        except OSError as error:
            return {Problem(folder, 0, 0, "", unreadable(error))}
        return {problem for file in files for problem in _verify_file(file, layers)}
    vendor = layers.vendor
    if not os.path.isdir(vendor) or os.path.samefile(folder, vendor):
        vendor = ""
    below = _problems(*load(Layers(vendor, "")))
    return set(_problems(*load(Layers(vendor, folder)))) - set(below)


def _problems(loaded: dict[str, Loaded], others: list[Problem]) -> list[Problem]:
    return sorted([*others, *(problem for one in loaded.values() for problem in one.problems)])
