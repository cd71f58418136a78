"""What is probably not meant in units that can be read, as warnings at their places. Judges nothing itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from vcsctl.catalog.layers import Loaded
from vcsctl.catalog.validate import problem_at
from vcsctl.catalog.yaml_tree import KeyPath, Tree
from vcsctl.domain.finding import Finding
from vcsctl.domain.judged import Known, alone, together
from vcsctl.errors import Problem, UnknownUnitError

# Where a key is left to its default, what it belongs to is the nearest thing to point at.
_INSTEAD = {"align": "period"}


def suspects(one: Loaded, known: Known) -> list[Problem]:
    """Of a unit judged alone."""
    if one.unit is None or one.tree is None:
        return []
    return [_warning(finding, one.tree) for finding in alone(one.unit, known)]


def suspects_of_set(loaded: Iterable[Loaded], known: Known) -> list[Problem]:
    units, trees = {}, {}
    for one in loaded:
        if one.unit is not None and one.tree is not None:
            units[one.name], trees[one.name] = one.unit, one.tree
    return [_warning(finding, trees[finding.name]) for finding in together(units.values(), known)]


def refuse_unknown(names: Iterable[str], units: Iterable[str]) -> None:
    """Of `Known.durations`: one that is of no service would be passed over in silence."""
    there = set(units)
    for name in sorted(set(names) - there):
        near = difflib.get_close_matches(name, sorted(there), n=1)
        hint = f"did you mean {near[0]}?" if near else "name one of those that are verified"
        raise UnknownUnitError(f"unknown service {name}; {hint}")


def _warning(finding: Finding, tree: Tree) -> Problem:
    key = str(finding.place[0])
    place: KeyPath = finding.place if finding.place[:1] in tree.places else (_INSTEAD.get(key, key),)
    return problem_at(tree, place, finding.text, warning=True)._replace(key=key)
