"""YAML files as trees of texts with the place of every key, read strictly and in bounded time. Knows no unit.

Every scalar is text, whatever YAML 1.1 would make of it: an unquoted 12:30 is not 750, `no` is not false, 022
is not 18. The file is read as a stream of events, not by a constructor: nothing nests deeper than we allow,
nothing is expanded, nothing is made but texts, lists and maps.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vcsctl.errors import USAGE, Problem, VcsError

LARGEST_FILE = 256 * 1024  # a unit is a page; a file beyond this is something else
DEEPEST = 8
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: ten times faster
_NULLS = ("", "~", "null", "Null", "NULL")
Place = tuple[int, int]
KeyPath = tuple[str | int, ...]


class BadFile(VcsError):  # noqa: N818 - reads as what it is: a bad file, with its problems
    """One file or set of files with all its problems."""

    exit_code = USAGE

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Tree:
    """The content of one file; `places` maps the path of each key and item to its line and column, from 1."""

    path: str
    values: dict[str, Any]
    places: Mapping[KeyPath, Place] = field(default_factory=dict)


def read_tree(path: str) -> Tree:
    """Raises BadFile."""
    return parse_tree(read_bytes(path), path)


def read_bytes(path: str) -> bytes:
    """At most LARGEST_FILE bytes of a regular file; never waits on a pipe. Raises BadFile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _bad(path, None, "", f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _bad(path, None, "", "is not a regular file; remove it or put a file in its place")
        data = os.read(descriptor, LARGEST_FILE + 1)
        if max(status.st_size, len(data)) > LARGEST_FILE:
            size = max(status.st_size, len(data))
            raise _bad(path, None, "", f"is too large ({size} bytes); a unit file has at most {LARGEST_FILE}")
        return data
    except OSError as error:
        raise _bad(path, None, "", f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.close(descriptor)


def parse_tree(data: bytes, path: str) -> Tree:
    """Raises BadFile with the first fault: what follows a broken place cannot be trusted."""
    if len(data) > LARGEST_FILE:
        raise _bad(path, None, "", f"is too large ({len(data)} bytes); a unit file has at most {LARGEST_FILE}")
    text = _decoded(data, path)
    try:
        return _Builder(path).build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else None
        raise _bad(path, place, "", _syntax(error)) from None
    except yaml.YAMLError:
        raise _bad(path, None, "", "cannot be read as YAML; rewrite it") from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "").lower()
    if "tab" in problem or "cannot start any token" in problem:
        return "a character that cannot stand here; indent with spaces, and quote texts that begin with @, ` or %"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line, or wrong indentation; quote the text or indent it as its neighbours"
    if "did not find expected ',' or" in problem:
        return "a list or map that is not closed; close it with ] or }"
    if "could not find expected ':'" in problem:
        return "a key without ': '; write KEY: VALUE"
    if "unexpected end of stream" in problem:
        return "a quoted text that is not closed; close the quote"
    if "did not find expected key" in problem or "block mapping" in (error.context or ""):
        return "wrong indentation; begin every key of a map in the same column"
    return f"cannot be read as YAML ({problem or 'syntax error'}); rewrite the line"


def _decoded(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(path, _place_of(data, error.start), "", "is not UTF-8; save the file as UTF-8") from None
    for offset, character in enumerate(text):
        if (character < " " and character not in "\n\r\t") or character == "\x7f":
            place = _place_of(text[:offset].encode() + b"?", len(text[:offset].encode()))
            what = f"contains the control character {ord(character):#04x}; it is not a text file, or remove it"
            raise _bad(path, place, "", what)
    return text


def _place_of(data: bytes, offset: int) -> Place:
    before = data[:offset]
    return before.count(b"\n") + 1, offset - before.rfind(b"\n")


def _bad(path: str, place: Place | None, key: str, text: str) -> BadFile:
    line, column = place or (0, 0)
    return BadFile((Problem(path, line, column, key, text),))


@dataclass(slots=True)
class _Open:
    """A list or map that is being read; `key` is the map's key that waits for its value."""

    container: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None


class _Builder:
    def __init__(self, path: str) -> None:
        self._path = path
        self._stack: list[_Open] = []
        self._root: Any = None
        self._places: dict[KeyPath, Place] = {}
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Tree:
        for event in events:
            self._take(event)
        if self._root is None:
            self._root = {}
        if not isinstance(self._root, dict):
            raise _bad(self._path, (1, 1), "", "must be a map; write KEY: VALUE lines")
        return Tree(self._path, self._root, self._places)

    def _take(self, event: Any) -> None:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._bad(place, "a second document; write one unit in one file")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._bad(place, "anchors and aliases (& and *) are not allowed; write the value out")
        elif getattr(event, "tag", None) and not isinstance(event, yaml.DocumentStartEvent):
            if not getattr(event, "implicit", (False,)) or event.tag != "!":
                raise self._bad(place, f"tags ({event.tag}) are not allowed; write the plain value")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], place)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._stack.pop()

    def _bad(self, place: Place, text: str) -> BadFile:
        key = next((str(part) for part in self._here() if isinstance(part, str)), "")
        return _bad(self._path, place, key, text)

    def _here(self) -> KeyPath:
        if not self._stack:
            return ()
        top = self._stack[-1]
        return (*top.path, top.key) if top.key is not None else top.path

    def _scalar(self, event: Any, place: Place) -> None:
        is_plain = not event.style  # None in pure Python, empty from libyaml
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.container, dict) and top.key is None:
            self._key(top, event.value, place)
            return
        self._put(None if is_plain and event.value in _NULLS else event.value, place)

    def _key(self, top: _Open, key: str, place: Place) -> None:
        if key == "<<":
            raise self._bad(place, "merge keys (<<) are not allowed; write the keys out")
        if (*top.path, key) in self._places:
            line = self._places[*top.path, key][0]
            raise _bad(self._path, place, key, f"is given twice, first in line {line}; remove one")
        self._places[*top.path, key] = place
        top.key = key

    def _put(self, value: Any, place: Place) -> None:
        if not self._stack:
            self._root = value if value is not None else {}
            return
        top = self._stack[-1]
        if isinstance(top.container, list):
            self._places[*top.path, len(top.container)] = place
            top.container.append(value)
        elif top.key is None:
            raise self._bad(place, "a key must be a single text; write KEY: VALUE")
        else:
            top.container[top.key] = value
            top.key = None

    def _open(self, container: dict[str, Any] | list[Any], place: Place) -> None:
        if len(self._stack) >= DEEPEST:
            raise self._bad(place, f"is nested deeper than {DEEPEST} levels; unit files are nearly flat")
        path = self._here()
        if self._stack and isinstance(self._stack[-1].container, list):
            path = (*path, len(self._stack[-1].container))
        self._put(container, place)
        self._stack.append(_Open(container, path))
