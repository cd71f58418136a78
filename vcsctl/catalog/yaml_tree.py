"""YAML files as trees of texts with the place of every key, read strictly and in bounded time. Knows no unit.

Every scalar is text, whatever YAML 1.1 would make of it: an unquoted 12:30 is not 750, `no` is not false, 022
is not 18. The file is read as a stream of events, not by a constructor: nothing nests deeper than we allow,
nothing is expanded, nothing is made but texts, lists and maps.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from vcsctl.catalog.yaml_faults import Place as Place
from vcsctl.catalog.yaml_faults import syntax_fault
from vcsctl.errors import USAGE, Problem, VcsError

LARGEST_FILE = 256 * 1024  # a unit is a page; a file beyond this is something else
DEEPEST = 8
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: ten times faster
# What YAML does not count as text (NUL and its like mean that this is no text file at all), and the line ends that
# no editor shows as one: the lines that we name must be those that people see.
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NULLS = ("", "~", "null", "Null", "NULL")
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

    def file_of(self, path: KeyPath) -> str:
        """The file that a place lies in; a tree merged from several knows better."""
        return self.path


def read_tree(path: str) -> Tree:
    """Raises BadFile."""
    return parse_tree(read_bytes(path), path)


def read_bytes(path: str) -> bytes:
    """At most LARGEST_FILE bytes of a regular file; never waits on a pipe. Raises BadFile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _bad(path, None, "", unreadable(error)) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _bad(path, None, "", "is not a regular file; remove it or put a file in its place")
        if status.st_size > LARGEST_FILE:
            raise _bad(path, None, "", _too_large(status.st_size))
        # It may grow while it is read; files under /proc say that they are empty.
        data = os.read(descriptor, LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise _bad(path, None, "", _too_large(len(data)))
        return data
    except OSError as error:
        raise _bad(path, None, "", unreadable(error)) from None
    finally:
        os.close(descriptor)


def parse_tree(data: bytes, path: str) -> Tree:
    """Raises BadFile with the first fault: what follows a broken place cannot be trusted."""
    if len(data) > LARGEST_FILE:
        raise _bad(path, None, "", _too_large(len(data)))
    text = _decoded(data, path)
    try:
        return _Builder(path).build(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):
            # Some builds of libyaml look a thousand characters ahead and stop at a limit of their own, before the
            # event that is one too deep for us is out. The parser in Python has no such limit and gets there.
            return _Builder(path).build(yaml.parse(text, Loader=yaml.SafeLoader))
        place, sentence = syntax_fault(error, text)
        raise _bad(path, place, "", sentence) from None
    except yaml.YAMLError:
        raise _bad(path, None, "", "cannot be read as YAML; write KEY: VALUE lines") from None


def _decoded(data: bytes, path: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()  # the codec counts from behind a byte order mark
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        byte = f"{error.object[error.start]:#04x}"
        raise _bad(path, place, "", f"the byte {byte} is not UTF-8; save the file as UTF-8") from None
    if match := _UNREADABLE.search(text):
        place = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
        what = f"U+{ord(match[0]):04X} is a control character; remove it, or put a text file here"
        raise _bad(path, place, "", what)
    return text


def unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; mend the path, or remove the link that leads nowhere"
    return f"cannot be read: {(error.strerror or str(error)).lower()}; remove the file or mend its mode"


def _too_large(size: int) -> str:
    return f"is too large ({size} bytes); a unit file has at most {LARGEST_FILE}"


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
        self._first: Place = (1, 1)  # where the content begins
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Tree:
        for event in events:
            if type(event) is yaml.ScalarEvent and not event.anchor and not event.tag:  # nearly all are
                mark: Any = event.start_mark
                self._scalar(event, (mark.line + 1, mark.column + 1))
            else:
                self._take(event)
        if self._root is None:
            self._root = {}
        if not isinstance(self._root, dict):
            raise _bad(self._path, self._first, "", "is not a map of keys; write KEY: VALUE lines")
        return Tree(self._path, self._root, self._places)

    def _take(self, event: Any) -> None:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._bad(place, "a second document; write one unit in one file")
        elif isinstance(event, yaml.AliasEvent):
            raise self._bad(place, f"the alias *{event.anchor} is not allowed; write the value out")
        elif isinstance(event, yaml.NodeEvent) and event.anchor:
            raise self._bad(place, f"the anchor &{event.anchor} is not allowed; write the value out at each place")
        elif getattr(event, "tag", None):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._bad(place, f"the tag {tag} is not allowed; write the plain value")
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
        else:
            self._put(None if is_plain and event.value in _NULLS else event.value, place)

    def _key(self, top: _Open, key: str, place: Place) -> None:
        if key == "<<":
            raise self._bad(place, "merge keys (<<) are not allowed; write the keys out")
        if not key:
            raise self._bad(place, "the key before ':' is empty; write KEY: VALUE")
        if (*top.path, key) in self._places:
            line = self._places[*top.path, key][0]
            what = f"{key} is" if top.path else "is"
            fault = f"{what} given twice, first in line {line}; remove one of them"
            raise _bad(self._path, place, str(top.path[0]) if top.path else key, fault)
        self._places[*top.path, key] = place
        top.key = key

    def _put(self, value: Any, place: Place) -> None:
        if not self._stack:
            self._root, self._first = (value if value is not None else {}), place
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
