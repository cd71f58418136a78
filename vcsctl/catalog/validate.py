"""Trees into dataclasses, through pydantic, with every fault as a sentence at its place. Reads no file content.

pydantic finds which field a fault belongs to and goes on to the next; the sentences are those of the parsers
that the fields carry.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vcsctl.catalog.permissions import check_permissions as check_permissions
from vcsctl.catalog.yaml_tree import BadFile, KeyPath, Tree
from vcsctl.domain.unit import KINDS, FieldError, Periodical, Unit, keys_of
from vcsctl.domain.values import ItemError
from vcsctl.errors import Problem

T = TypeVar("T")
_EXAMPLES = {
    "period": "period: 5",
    "run_at": "run_at: 04:05",
    "exec": "exec: [/usr/libexec/vcs/calculator]",
}
_DAY_MINUTES = 1440


@cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def validate(cls: type[T], tree: Tree) -> T:
    """An instance of a dataclass whose fields carry `Parsed`. Raises BadFile with every problem."""
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    problems = [problem_at(tree, (key,), unknown_key(key, known)) for key in tree.values if key not in known]
    value: T = _validate(cls, tree, {key: tree.values[key] for key in tree.values if key in known}, problems)
    return value


def load_unit(name: str, tree: Tree) -> Unit:
    """The unit that a tree declares. Raises BadFile with every problem."""
    kind = tree.values.get("schedule")
    if kind is None:
        text = "is required; write daemon, periodical or fixed-time"
        raise BadFile((problem_at(tree, ("schedule",), text),))
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadFile((problem_at(tree, ("schedule",), f"cannot be {kind!r}; write daemon, periodical or fixed-time"),))
    allowed = keys_of(kind)
    problems = [problem_at(tree, (key,), _misplaced(key, kind, allowed)) for key in tree.values if key not in allowed]
    # A null resets a key to its default; `schedule` is the class, not a field.
    values = {key: value for key, value in tree.values.items() if key in allowed and key != "schedule"}
    unit: Unit = _validate(KINDS[kind], tree, {"name": name, **values}, problems)
    return unit


def _validate(cls: Any, tree: Tree, values: dict[str, Any], problems: list[Problem]) -> Any:
    try:
        value = _adapter(cls).validate_python({key: item for key, item in values.items() if item is not None})
    except ValidationError as error:
        problems += [_problem(tree, fault) for fault in error.errors(include_url=False)]
    except FieldError as error:
        problems.append(problem_at(tree, (error.key,), str(error)))
    if problems:
        raise BadFile(tuple(sorted(problems)))
    return value


def _problem(tree: Tree, fault: Any) -> Problem:
    path: KeyPath = tuple(fault["loc"])
    cause = fault.get("ctx", {}).get("error")
    if fault["type"] == "missing":
        key = str(path[-1])
        return problem_at(tree, path, f"is required; write for example {_EXAMPLES.get(key, f'{key}: VALUE')}")
    if isinstance(cause, FieldError):
        path = (cause.key,)
    elif isinstance(cause, ItemError) and (*path, cause.place) in tree.places:
        path = (*path, cause.place)
    return problem_at(tree, path, str(cause) if cause else f"cannot be used ({fault['msg'].lower()})")


def problem_at(tree: Tree, path: KeyPath, text: str, *, warning: bool = False) -> Problem:
    """A problem at the most precise place that is known; a missing key is shown at the top of the file."""
    line, column = next(
        (tree.places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in tree.places), (1, 1)
    )
    return Problem(_file_of(tree, path), line, column, str(path[0]) if path else "", text, warning)


def _file_of(tree: Tree, path: KeyPath) -> str:
    """The file a key came from: a merged tree knows for each key."""
    return str(getattr(tree, "sources", {}).get(path[0] if path else "", tree.path))


def unknown_key(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else "unknown key; remove it"


def _misplaced(key: str, kind: str, allowed: Collection[str]) -> str:
    owners = [other for other in KINDS if key in keys_of(other)]
    if owners:
        return f"belongs to {' and '.join(owners)} services, and this one is {kind}; remove it"
    return unknown_key(key, allowed)


def warnings(unit: Unit, tree: Tree) -> list[Problem]:
    """What is allowed and probably not meant."""
    if not isinstance(unit, Periodical) or _DAY_MINUTES % unit.period == 0:
        return []
    last = max(range(unit.align, _DAY_MINUTES, unit.period))
    gap = _DAY_MINUTES - last + unit.align
    text = (
        f"does not divide the day: after {last // 60:02}:{last % 60:02} the next slot is 00:{unit.align:02}, "
        f"{gap} minutes later instead of {unit.period}"
    )
    return [problem_at(tree, ("period",), text, warning=True)]
