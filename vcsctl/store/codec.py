"""Records of the domain to JSON objects and back, each field's type checked. No files.

Reading is strict about types (a foreign file must not become a record) and lenient about unknown keys
(the next version may add some).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vcsctl.domain.run import from_text, to_text

FORMAT_VERSION = 1
OLDEST_READABLE_VERSION = 1
_LARGEST_NUMBER = 1e10  # three centuries of seconds; what is beyond, and NaN, is nobody's duration
T = TypeVar("T")


class BadRecordError(ValueError):
    """The bytes are not a record of the kind expected."""


def encode(record: Any) -> bytes:
    """One line of JSON with a `version`; fields at their default are left out."""
    return (json.dumps({"version": FORMAT_VERSION, **_plain(record)}, separators=(",", ":")) + "\n").encode()


def decode(cls: type[T], data: bytes) -> T:
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRecordError("is not complete JSON") from error
    if not isinstance(plain, dict) or not isinstance(version := plain.pop("version", None), int):
        raise BadRecordError("is not one of our records (no version)")
    if not OLDEST_READABLE_VERSION <= version <= FORMAT_VERSION + 1:
        raise BadRecordError(f"has format version {version}, this program reads up to {FORMAT_VERSION + 1}")
    return _from_plain(cls, plain)


def _plain(record: Any) -> dict[str, Any]:
    plain = {}
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if f.default is not dataclasses.MISSING and value == f.default:
            continue
        plain[f.name] = _json_value(value)
    return plain


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, tuple | list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {name: _json_value(item) for name, item in value.items()}
    return _plain(value) if dataclasses.is_dataclass(value) else value


def _from_plain(cls: type[T], plain: object) -> T:
    if not isinstance(plain, dict):
        raise BadRecordError("is not a map")
    readers = _readers(cls)  # type: ignore[arg-type]  # a class is hashable
    try:
        return cls(**{key: readers[key](value) for key, value in plain.items() if key in readers})
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRecordError(f"is not a record of kind {cls.__name__} ({error})") from error


@cache
def _readers(cls: type[Any]) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(cls)
    return {f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)}


def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        inner = _reader(next(part for part in arguments if part is not NoneType))
        return lambda value: None if value is None else inner(value)
    if origin is Literal:
        return lambda value: _checked(value, value in arguments)
    if origin is tuple:
        item = _reader(arguments[0])
        return lambda value: tuple(item(part) for part in _checked(value, isinstance(value, list)))
    if origin is dict:
        content = _reader(arguments[1])
        return lambda value: {
            _checked(name, isinstance(name, str)): content(part)
            for name, part in _checked(value, isinstance(value, dict)).items()
        }
    if hint is Any:
        return lambda value: value
    if hint is datetime:
        return lambda value: from_text(_checked(value, isinstance(value, str)))
    if dataclasses.is_dataclass(hint):
        return lambda value: _from_plain(hint, value)  # type: ignore[arg-type]
    if hint is float:
        return lambda value: float(_checked(value, isinstance(value, int | float) and abs(value) < _LARGEST_NUMBER))
    if hint is int:
        return lambda value: _checked(value, isinstance(value, int) and not isinstance(value, bool))
    return lambda value: _checked(value, isinstance(value, hint))


def _checked(value: Any, fits: bool) -> Any:
    if not fits:
        raise ValueError(f"unexpected value {value!r:.60}")
    return value
