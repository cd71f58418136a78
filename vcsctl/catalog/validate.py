"""Trees into dataclasses, through pydantic, with every fault as a sentence at its place. Reads no file content.

pydantic finds which field a fault belongs to and goes on to the next; the sentences are those of the parsers
that the fields carry.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar, cast

from vcsctl.catalog.permissions import check_permissions as check_permissions
from vcsctl.catalog.yaml_tree import BadFile, KeyPath, Tree
from vcsctl.domain.parsed import FieldError
from vcsctl.domain.unit import KINDS, Daemon, Periodical, Unit, field_parsers, keys_of
from vcsctl.domain.values import ItemError, quoted
from vcsctl.errors import Problem

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_EXAMPLES = {"period": "period: 5", "run_at": "run_at: 04:05", "exec": "exec: [/usr/libexec/vcs/calculator]"}
# Stand in for what is missing or wrong, so that the other keys can still be judged beside each other.
_STAND_INS: dict[str, Any] = {"name": "x", "exec": ("/",), "period": 60, "run_at": ("00:00",)}
# What other schedulers and supervisors call it.
KNOWN_ELSEWHERE = {
    "name": "the file's name is the unit's name; remove it",
    "command": "write exec",
    "cmd": "write exec",
    "program": "write exec",
    "args": "write the arguments into exec, as a list",
    "cron": "write schedule: periodical with period, or schedule: fixed-time with run_at",
    "interval": "write period, in minutes",
    "every": "write period, in minutes",
    "offset": "write align, in minutes",
    "time": "write run_at",
    "times": "write run_at",
    "at": "write run_at",
    "hosts": "write nodes",
    "host": "write nodes",
    "run_groups": "write groups",
    "status": "write enabled: true or false",
    "disabled": "write enabled: false",
    "active": "write enabled: true or false",
    "env": "write environment",
    "cwd": "write working_directory",
    "workdir": "write working_directory",
    "retry": "write retries, a map with attempts, delay and max_delay",
    "type": "write schedule: daemon, periodical or fixed-time",
}
_WHICH_KIND = "write daemon, periodical or fixed-time"
_DAY_MINUTES = 1440
_PARSERS: dict[type[Any], dict[str, Callable[[object], Any]]] = {}
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # making one takes longer than 100 units


def _parsers(cls: type[Any]) -> dict[str, Callable[[object], Any]]:
    if cls not in _PARSERS:
        _PARSERS[cls] = field_parsers(cls)
    return _PARSERS[cls]


def validate(cls: type[T], tree: Tree) -> T:
    """An instance of a dataclass whose fields carry `Parsed`. Raises BadFile with every problem."""
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    problems = [problem_at(tree, (key,), unknown_key(key, known)) for key in tree.values if key not in known]
    value: T = _validate(cls, tree, {key: tree.values[key] for key in tree.values if key in known}, problems)
    return value


def load_unit(name: str, tree: Tree) -> Unit:
    """The unit that a tree declares. Raises BadFile with every problem."""
    kind = tree.values.get("schedule")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadFile(_problems_of_no_kind(kind, tree))
    allowed = keys_of(kind)
    problems = [problem_at(tree, (key,), misplaced(key, kind, allowed)) for key in tree.values if key not in allowed]
    # `schedule` is the class, not a field of it.
    values = {key: value for key, value in tree.values.items() if key in allowed and key != "schedule"}
    return _validate(KINDS[kind], tree, {"name": name, **values}, problems)


def _problems_of_no_kind(kind: object, tree: Tree) -> tuple[Problem, ...]:
    """Without a kind there is no class to validate against; each key can still be judged alone."""
    fault = "is required" if kind is None else f"cannot be {quoted(str(kind))}"
    if isinstance(kind, list | dict):
        fault = "must be a single word"
    problems = [problem_at(tree, ("schedule",), f"{fault}; {_WHICH_KIND}")]
    parsers = {key: parser for cls in KINDS.values() for key, parser in _parsers(cls).items() if key != "name"}
    for key, value in tree.values.items():
        if key in parsers and value is not None:
            try:
                parsers[key](value)
            except ValueError as error:
                problems.append(problem_at(tree, _path_of((key,), error, tree), str(error)))
        elif key not in parsers and key != "schedule":
            problems.append(problem_at(tree, (key,), unknown_key(key, (*parsers, "schedule"))))
    return tuple(sorted(problems))


def _validate(cls: type[T], tree: Tree, values: dict[str, Any], problems: list[Problem]) -> T:
    # A null resets a key to its default.
    given = {key: value for key, value in values.items() if value is not None}
    if not problems and (made := _straight(cls, given)) is not None:
        return made
    value, faults = _through_pydantic(cls, given)
    problems += [_problem(tree, fault) for fault in faults]
    faulty = {fault["loc"][0] for fault in faults if fault["loc"]}
    if faulty:
        problems += _faults_beside_each_other(cls, tree, given, faulty)
    if problems:
        raise BadFile(tuple(sorted(problems)))
    return value


def _straight(cls: type[T], given: dict[str, Any]) -> T | None:
    """The instance, by the parsers that pydantic would call; None at any fault, which pydantic then names."""
    parsers = _parsers(cls)
    try:
        return cls(**{key: parsers[key](value) for key, value in given.items()})
    except (ValueError, TypeError, KeyError):
        return None


def _through_pydantic(cls: type[T], given: dict[str, Any]) -> tuple[T, list[Any]]:
    """The instance and no faults, or its faults, all of them."""
    # Imported here: only who meets a fault pays for pydantic, which takes longer to load than 10,000 units to look at.
    from pydantic import TypeAdapter, ValidationError

    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    try:
        return _ADAPTERS[cls].validate_python(given), []
    except ValidationError as error:
        return cast(T, None), list(error.errors(include_url=False))


def _faults_beside_each_other(
    cls: type[Any], tree: Tree, given: dict[str, Any], faulty: Collection[int | str]
) -> list[Problem]:
    """pydantic gives up on the class when one field is wrong; a unit's good fields are judged all the same."""
    if cls not in KINDS.values():
        return []  # there are no stand-ins for what other files lack
    parsers = _parsers(cls)
    stand_ins = {key: value for key, value in _STAND_INS.items() if key in parsers}
    good = {key: parsers[key](value) for key, value in given.items() if key in parsers and key not in faulty}
    try:
        cls(**{**stand_ins, **good})
    except FieldError as error:
        return [problem_at(tree, (error.key,), str(error))]
    return []


def _problem(tree: Tree, fault: Any) -> Problem:
    path: KeyPath = tuple(fault["loc"][:1])
    cause = fault.get("ctx", {}).get("error")
    if fault["type"] == "missing":
        key = str(path[0])
        kind = ("schedule",) if path not in tree.places and key in ("period", "run_at") else path
        text = f"is required; write for example {_EXAMPLES.get(key, f'{key}: VALUE')}"
        return problem_at(tree, kind, text)._replace(key=key)
    if isinstance(cause, FieldError):
        return problem_at(tree, (cause.key,), str(cause))
    return problem_at(tree, _path_of(path, cause, tree), str(cause) if cause else "cannot be used; remove it")


def _path_of(path: KeyPath, cause: object, tree: Tree) -> KeyPath:
    """The list's item or the map's key that is at fault, where the parser says which."""
    if isinstance(cause, ItemError) and (*path, cause.place) in tree.places:
        return (*path, cause.place)
    return path


def problem_at(tree: Tree, path: KeyPath, text: str, *, warning: bool = False) -> Problem:
    """A problem at the most precise place that is known; a missing key is shown at the top of the file."""
    known = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in tree.places), ())
    line, column = tree.places.get(known, (1, 1))
    return Problem(tree.file_of(known), line, column, str(path[0]) if path else "", text, warning)


def unknown_key(key: str, known: Collection[str]) -> str:
    if key in KNOWN_ELSEWHERE and "exec" in known:
        return f"unknown key; {KNOWN_ELSEWHERE[key]}"
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else "unknown key; remove it"


def misplaced(key: str, kind: str, allowed: Collection[str]) -> str:
    owners = [other for other in KINDS if key in keys_of(other)]
    if owners:
        this = "a daemon" if kind == "daemon" else kind
        owner = "daemons" if owners == ["daemon"] else f"{' and '.join(owners)} services"
        return f"belongs to {owner}, and this one is {this}; remove it"
    return unknown_key(key, allowed)


def warnings(unit: Unit, tree: Tree) -> list[Problem]:
    """What is allowed and probably not meant."""
    return [*_uneven_period(unit, tree), *_going_on_without_locks(unit, tree), *_excluding_itself(unit, tree)]


def _going_on_without_locks(unit: Unit, tree: Tree) -> list[Problem]:
    if unit.on_storage_loss != "continue" or not (unit.groups or unit.run_on == "any"):
        return []
    what = f"group {unit.groups[0]}" if unit.groups else "this service"
    may = f"a run that goes on after its locks were lost may run beside another of {what}"
    text = f"{may}; write stop, or be sure that it does no harm"
    return [problem_at(tree, ("on_storage_loss",), text, warning=True)]


def _excluding_itself(unit: Unit, tree: Tree) -> list[Problem]:
    is_on_one = len(unit.nodes) == 1 and not unit.nodes[0].startswith("label:")
    if not isinstance(unit, Daemon) or unit.run_on != "each" or not unit.groups or is_on_one:
        return []
    text = (
        f"one node at a time can run it: its runs on the others would hold group {unit.groups[0]} too; "
        "write run_on: any, or leave its groups out"
    )
    return [problem_at(tree, ("groups",), text, warning=True)]


def _uneven_period(unit: Unit, tree: Tree) -> list[Problem]:
    if not isinstance(unit, Periodical) or _DAY_MINUTES % unit.period == 0:
        return []
    last = max(range(unit.align, _DAY_MINUTES, unit.period))
    gap = _DAY_MINUTES - last + unit.align
    text = (
        f"{unit.period} does not divide the day: after {last // 60:02}:{last % 60:02} the next slot is at "
        f"00:{unit.align:02}, {gap} minutes later; a period that divides 1440 has no such gap"
    )
    return [problem_at(tree, ("period",), text, warning=True)]
