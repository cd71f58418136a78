"""Unit files as people judge them before vcsd does: what is wrong with files and directories.

Never writes, and needs neither vcsd nor the shared directory.
"""

from __future__ import annotations

import os

from vcsctl.catalog.layers import Loaded, load, load_one
from vcsctl.catalog.permissions import check_permissions
from vcsctl.catalog.scan import DROP_IN, DROP_IN_FOLDER, UNIT_FILE, Fragments, Layers
from vcsctl.catalog.suspects import refuse_unknown, suspects, suspects_of_set
from vcsctl.catalog.yaml_tree import unreadable
from vcsctl.domain.judged import Known
from vcsctl.errors import Problem

_NAMED = "a unit file is named like backup-manager.yaml (a-z, 0-9 and -, at most 63)"


def verify(paths: tuple[str, ...], layers: Layers, known: Known) -> list[Problem]:
    """Every problem, sorted. Files are judged alone, directories as a whole, no paths mean all that vcsd reads."""
    if not paths:
        return problems_of(_load(layers, known), known)
    found: set[Problem] = set()
    for path in paths:
        # A directory with a unit file's name stands where a file should.
        is_folder = os.path.isdir(path) and not UNIT_FILE.fullmatch(os.path.basename(path))
        found.update(_verify_folder(path, layers, known) if is_folder else _verify_file(path, layers, known))
    return sorted(found)


def verify_as(name: str, path: str, layers: Layers, known: Known) -> list[Problem]:
    """A file judged alone, as if it were the unit `name`, or the drop-in `name.yaml.d/10-times.yaml`."""
    folder, file = os.path.split(name)
    if match := DROP_IN_FOLDER.fullmatch(folder):
        return _verify_drop_in(match[1], file, path, (layers.site, layers.vendor), known)
    if match := UNIT_FILE.fullmatch(f"{name.removesuffix('.yaml')}.yaml"):
        return _judged(Fragments(match[1], path), known)
    return [misnamed(name, path)]


def misnamed(name: str, path: str) -> Problem:
    return Problem(path, 0, 0, "", f"cannot be the unit {name!r}: {_NAMED}")


def problems_of(loaded: tuple[dict[str, Loaded], list[Problem]], known: Known) -> list[Problem]:
    """Of a whole set, as `load` gives it."""
    units, others = loaded
    own = (problem for one in units.values() for problem in one.problems)
    return sorted([*others, *own, *suspects_of_set(units.values(), known)])


def _judged(fragments: Fragments, known: Known) -> list[Problem]:
    one = load_one(fragments)
    return sorted([*one.problems, *suspects(one, known)])


def _verify_file(path: str, layers: Layers, known: Known) -> list[Problem]:
    folder, file = os.path.split(os.path.abspath(path))
    if match := DROP_IN_FOLDER.fullmatch(os.path.basename(folder)):
        folders = (os.path.dirname(folder), layers.site, layers.vendor)
        problems = _verify_drop_in(match[1], file, path, folders, known)
        refused = check_permissions(os.path.dirname(path) or ".")
        return sorted([*problems, refused]) if refused else problems
    if match := UNIT_FILE.fullmatch(file):
        return _judged(Fragments(match[1], path), known)
    if not os.path.lexists(path):
        return [Problem(path, 0, 0, "", "cannot be read: no such file or directory")]
    return [Problem(path, 0, 0, "", f"cannot be a unit: {_NAMED}; rename it, or use --as NAME")]


def _verify_drop_in(name: str, file: str, path: str, folders: tuple[str, ...], known: Known) -> list[Problem]:
    """A drop-in is judged on top of the unit that it changes."""
    if not DROP_IN.fullmatch(file):
        return [Problem(path, 0, 0, "", "is not read: a drop-in is named like 10-times.yaml; rename it")]
    base = next((base for folder in folders if os.path.exists(base := f"{folder}/{name}.yaml")), None)
    if base is None:
        return [Problem(path, 0, 0, "", f"cannot be judged: there is no unit {name} to change; verify it beside one")]
    return _judged(Fragments(name, base, (path,)), known)


def _verify_folder(folder: str, layers: Layers, known: Known) -> set[Problem]:
    """The directory as the site's, above the vendor's units, so that drop-ins have something to change."""
    folder = folder.rstrip("/") or "/"
    if DROP_IN_FOLDER.fullmatch(os.path.basename(os.path.abspath(folder))):
        try:
            files = [f"{folder}/{name}" for name in sorted(os.listdir(folder)) if DROP_IN.fullmatch(name)]
        except OSError as error:
            return {Problem(folder, 0, 0, "", unreadable(error))}
        return {problem for file in files for problem in _verify_file(file, layers, known)}
    vendor = layers.vendor
    if not os.path.isdir(vendor) or os.path.samefile(folder, vendor):
        vendor = ""
    below = problems_of(load(Layers(vendor, "")), known)
    return set(problems_of(_load(Layers(vendor, folder), known), known)) - set(below)


def _load(layers: Layers, known: Known) -> tuple[dict[str, Loaded], list[Problem]]:
    loaded = load(layers)
    refuse_unknown(known.durations, loaded[0])
    return loaded
