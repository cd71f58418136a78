"""The utilities' YAML files: values, and lists of maps with the place of every fault. Does nothing with them.

A utility's settings are a dataclass whose fields carry the parser of their text, as a unit's do. A field of
`Items(CLS)` is a list of maps, one of `Part(CLS)` a map; each map is validated as a file of its own kind would
be, so that a misspelt key deep in a list is reported at its own line and column.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic_core import core_schema

from vcsctl.catalog.validate import check_permissions, problem_at, validate
from vcsctl.catalog.yaml_tree import BadFile, KeyPath, Tree, read_tree
from vcsctl.domain import values
from vcsctl.errors import Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Items:
    """A list of maps, each an instance of `cls`."""

    cls: type[Any]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Any:
        return core_schema.any_schema()  # `_read` has made the instances


@dataclass(frozen=True, slots=True)
class Part(Items):
    """One map, an instance of `cls`."""


def load(cls: type[T], default_path: str, chosen_path: str | None) -> T:
    """The settings of the chosen file, else the default one, else the defaults. Raises BadFile with every problem."""
    if chosen_path is None and not os.path.lexists(default_path):
        return cls()
    path = chosen_path or default_path
    if problem := check_permissions(path):
        raise BadFile((problem,))
    return _read(cls, read_tree(path))


def _read(cls: type[T], tree: Tree) -> T:
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for key, value in tree.values.items():
        try:
            found[key] = _nested(cls, tree, key, value)
        except BadFile as error:
            problems += error.problems
    try:
        settings = validate(cls, Tree(tree.path, found, tree.places))
    except BadFile as error:
        raise BadFile(tuple(sorted([*problems, *error.problems]))) from None
    if problems:
        raise BadFile(tuple(sorted(problems)))
    return settings


def _nested(cls: type[Any], tree: Tree, key: str, value: Any) -> Any:
    """The value of one key, its maps already turned into what the field's class says."""
    kind = _nested_fields(cls).get(key)
    if kind is None or value is None:
        return value
    if isinstance(kind, Part):
        if not isinstance(value, dict):
            raise BadFile((problem_at(tree, (key,), f"must be a map of {_keys_of(kind.cls)}"),))
        return _read(kind.cls, _part_of(tree, (key,), value))
    if not isinstance(value, list):
        raise BadFile((problem_at(tree, (key,), f"must be a list of maps of {_keys_of(kind.cls)}"),))
    problems: list[Problem] = []
    items = []
    for place, item in enumerate(value):
        try:
            if not isinstance(item, dict):
                raise BadFile((problem_at(tree, (key, place), f"must be a map of {_keys_of(kind.cls)}"),))
            items.append(_read(kind.cls, _part_of(tree, (key, place), item)))
        except BadFile as error:
            problems += error.problems
    if problems:
        raise BadFile(tuple(problems))
    return tuple(items)


def _nested_fields(cls: type[Any]) -> dict[str, Items]:
    hints = get_type_hints(cls, include_extras=True)
    return {key: kind for key, hint in hints.items() for kind in _marks(hint)}


def _marks(hint: Any) -> Iterator[Items]:
    for part in (hint, *get_args(hint)):
        yield from (extra for extra in getattr(part, "__metadata__", ()) if isinstance(extra, Items))


def _keys_of(cls: type[Any]) -> str:
    return ", ".join(f.name for f in dataclasses.fields(cls))


def _part_of(tree: Tree, path: KeyPath, content: dict[str, Any]) -> Tree:
    """The map at `path` as a tree of its own, its keys at their places in the file."""
    places = {key[len(path) :]: place for key, place in tree.places.items() if key[: len(path)] == path}
    return Tree(tree.path, content, places)


def parse_plain_path(value: object) -> str:
    """An absolute path without `.` and `..`, ends of lines and other characters that show nothing."""
    path = values.parse_path(value)
    if not path.isprintable():
        raise ValueError(f"{path!r} contains a character that cannot be shown; remove it")
    if {".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!r} contains . or ..; write the path without them")
    return "/" + "/".join(part for part in path.split("/") if part)


def list_of(parse: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """A parser of at least one value, without repetitions."""
    return values.UniqueList(parse, lowest=1)


def size_text(size: int) -> str:
    """For people: 3.4 GiB."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def shown(path: str) -> str:
    """A path as a message may show it: one line, whatever bytes a name was made of."""
    return path if path.isprintable() else repr(path)
