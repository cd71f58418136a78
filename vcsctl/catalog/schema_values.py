"""How a value of a unit file looks as JSON Schema, for each parser of the model.

A fragment is flat, a list of types and what each must be like, rather than `anyOf`, whose faults no editor explains
well. `errorMessage` is what editors say instead of a pattern. A test compares all of it with the parsers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from vcsctl.domain import unit, values

Schema = dict[str, Any]
# Up to 65535; each use says beside it what 0 is.
_PORT = "(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DURATION = "(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?(?:[0-9]{1,9}ms)?"
_SPAN = rf"(?=[0-9hms.]*[1-9])(?:[0-9]{{1,9}}(?:\.[0-9]{{1,9}})?|{_DURATION})$"
_NO_NUL = r"[^\u0000]*$"
_HIDDEN = (  # what str.isprintable() refuses, apart from marks of some scripts
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
)
_SPACE = r" \t\r\n"  # to shlex
_WORD = (  # the first word of a text that is split: absolute, without any slash, or with quotes, which are not followed
    rf"^[{_SPACE}]*(?:/|[\"'\\]|[^{_SPACE}/\"'\\]+(?:[\"'\\{_SPACE}]|$))"
)


def fragment(parser: Callable[[object], Any]) -> Schema:
    """What a parser takes. KeyError: a parser that is not known here."""
    match parser:
        case values.WholeNumber():
            return _whole(parser.lowest, parser.highest)
        case values.OneOf():
            return {"enum": list(parser.words)}
        case values.UniqueList():
            return _list(fragment(parser.parse), parser.lowest)
    return _FRAGMENTS[parser]


def _whole(lowest: int, highest: int) -> Schema:
    text = f"write a whole number from {lowest} to {highest}"
    kinds = {"type": ["integer", "string"], "minimum": lowest, "maximum": highest}
    return {**kinds, "pattern": f"^(?:{_digits(lowest, highest)})$", "errorMessage": text}


def _digits(lowest: int, highest: int) -> str:
    """A pattern of the numbers, written in quotes: by their last digits, those with the same ones together."""
    last: defaultdict[str, str] = defaultdict(str)
    for number in range(lowest, highest + 1):
        last[str(number)[:-1]] += str(number)[-1]
    before: defaultdict[str, list[str]] = defaultdict(list)
    for prefix, digits in last.items():
        before[digits].append(prefix)
    return "|".join(f"(?:{'|'.join(prefixes)})[{digits}]" for digits, prefixes in before.items())


def _list(item: Schema, lowest: int = 0) -> Schema:
    """A list, or one item as a list of one."""
    least = {"minItems": lowest} if lowest else {}
    alone = {key: value for key, value in item.items() if key != "type"}
    return {**alone, "type": ["array", *item["type"]], "items": item, "uniqueItems": True, **least}


def _text(pattern: str, message: str, *, numbers: str = "", **more: Any) -> Schema:
    kinds = ["string", numbers] if numbers else ["string"]
    return {"type": kinds, "pattern": pattern, "errorMessage": message, **more}


def _any_case(*words: str) -> str:
    return "|".join("".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in word) for word in words)


def _argv() -> Schema:
    message = "write the program's absolute path and its arguments, for example [/usr/libexec/vcs/calculator, --full]"
    word = {"type": ["string", "number", "boolean"], "pattern": f"^{_NO_NUL}"}
    first = {
        "type": ["string", "number", "boolean"],
        "pattern": r"^(?:/|(?=[^/]+$))" + _NO_NUL,
        "errorMessage": message,
    }
    listed = {"items": [first], "additionalItems": word, "minItems": 1}
    return {"type": ["array", "string"], **listed, "pattern": rf"(?=^{_NO_NUL}){_WORD}", "errorMessage": message}


def _environment() -> Schema:
    name = _text(
        r"^(?!VCS_)[A-Za-z_][A-Za-z0-9_]*$", "write letters, digits and _; VCS_ names are set by vcsctl itself"
    )
    content = _text(f"^{_NO_NUL}", 'write a single text, "" for an empty one')
    content["type"] = ["string", "number", "boolean"]
    message = "write a map, with NAME: value lines"
    return {"type": ["object"], "propertyNames": name, "additionalProperties": content, "errorMessage": message}


def _limits() -> Schema:
    number = "(?:[0-9]{1,18}|unlimited)"
    pattern = f"^(?:unlimited(?::(?:unlimited)?)?|[0-9]{{1,18}}(?::{number}?)?)$"
    limit = _text(
        pattern, "write a whole number, SOFT:HARD or unlimited", numbers="integer", minimum=0, maximum=10**18 - 1
    )
    return {
        "type": ["object"],
        "properties": {name: dict(limit) for name in values.LIMITS},
        "additionalProperties": False,
        "errorMessage": f"write a map with one or more of {', '.join(values.LIMITS)}",
    }


_DURATION_TEXT = "write a duration such as 90s, 15m, 2h or 1h30m, more than 0 and at most 8784h"
_FRAGMENTS: dict[Callable[[object], Any], Schema] = {
    values.parse_text: _text(
        r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$", "remove the control character", numbers="number"
    ),
    values.parse_line: _text(f"^[^{_HIDDEN}]*$", "write one line of readable text", numbers="number"),
    values.parse_bool: {
        "type": ["boolean", "string"],
        "pattern": f"^(?:{_any_case('true', 'yes', 'on', 'false', 'no', 'off')})$",
        "errorMessage": "write true or false",
    },
    values.parse_duration: _text(
        f"^{_SPAN}", _DURATION_TEXT, numbers="number", exclusiveMinimum=0, maximum=values.LONGEST_DURATION_S
    ),
    values.parse_name: _text(
        f"^{values.NAME_PATTERN.pattern}$",
        "write up to 63 of a-z, 0-9 and -, beginning with a letter or digit",
        numbers="integer",
        minimum=0,
    ),
    values.parse_node: _text(
        f"^(?:label:)?{values.NODE_PATTERN.pattern}$",
        "write a node's name or label:NAME",
        numbers="integer",
        minimum=0,
    ),
    values.parse_argv: _argv(),
    values.parse_time_of_day: _text(f"^{values.TIME_PATTERN.pattern}$", 'write "HH:MM" from 00:00 to 23:59, in quotes'),
    values.parse_day: _text(
        f"^(?:{_any_case(*values.WEEKDAYS, 'last')}|0?[1-9]|[12][0-9]|3[01])$",
        "write mon to sun, 1 to 31, or last",
        numbers="integer",
        minimum=1,
        maximum=31,
    ),
    values.parse_timezone: _text(
        r"^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$", "write an IANA name such as Europe/Berlin or UTC"
    ),
    values.parse_signal: _text(
        f"^(?:{_any_case('sig')})?(?:{_any_case(*values.SIGNALS)})$",
        f"write one of {', '.join(values.SIGNALS)}",
        examples=list(values.SIGNALS),
    ),
    values.parse_path: _text(f"^/{_NO_NUL}", "write an absolute path, from / on"),
    values.parse_optional_path: _text(
        f"^-?/{_NO_NUL}", "write an absolute path, from / on; a - before it: may be missing"
    ),
    values.parse_account: _text(
        f"^{values.ACCOUNT_PATTERN.pattern}$", "write a user's or group's name or number", numbers="integer", minimum=0
    ),
    values.parse_umask: _text(
        "^0?[0-7]{3}$", "write three octal digits such as 027", numbers="integer", minimum=0, maximum=777
    ),
    values.parse_environment: _environment(),
    values.parse_limits: _limits(),
    values.parse_start_limit: _text(f"^(?!0+ )[0-9]{{1,4}} in {_SPAN}", "write for example 5 in 60s"),
    values.parse_size: _text(
        "^(?=0*[1-9])[0-9]{1,15}[KMGT]?(?:i?B)?$",
        "write a size such as 500M or 2G, or a number of bytes",
        numbers="integer",
        minimum=1,
        maximum=10**15 - 1,
    ),
    values.parse_address: _text(
        rf"^(?:[^\s:]+:|\[[0-9A-Fa-f:.]+\]:)?(?!0+$){_PORT}$",
        "write HOST:PORT, for example 127.0.0.1:1812",
        numbers="integer",
        minimum=1,
        maximum=65535,
    ),
    values.parse_url: _text(
        rf"^http://(?:\[[0-9A-Fa-f:.]+\]|[^\s/:?#@]+)(?::(?!0+(?:[/?#]|$)){_PORT})?(?:[/?#]\S*)?$",
        "write for example http://127.0.0.1:8080/health; https cannot be asked",
    ),
    unit.parse_exit_codes: _list(_whole(0, 255), 1),
}
