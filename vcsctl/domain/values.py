"""The texts a unit file may hold, read into values, each with its own message. No I/O but the zone database.

Each `parse_*` takes what the YAML reader gives (text, list or mapping; every scalar is text) and returns
the value, or raises ValueError with a sentence that says what to write instead. A parser with limits is an object
that tells them: the schema for editors is made from the same ones.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NODE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# [0-9] and not \d, which takes the digits of every script; bounded, since int() refuses very long numbers.
DURATION_PATTERN = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?(?:([0-9]{1,9})ms)?")
NUMBER_PATTERN = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
ENVIRONMENT_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ACCOUNT_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_CONTROL_PATTERN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # would do something to a terminal
_SIZE_PATTERN = re.compile(r"([0-9]{1,15})(K|M|G|T)?(?:i?B)?")
_SIZE_FACTORS = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_ADDRESS_PATTERN = re.compile(r"(?:[^\s:]+:|\[[0-9A-Fa-f:.]+\]:)?[0-9]{1,5}")
TIME_PATTERN = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
LONGEST_DURATION_S = 366 * 24 * 3600.0  # beyond a year a typo is likelier than a wish
_LONGEST_QUOTE = 60  # characters of a value that a message repeats
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL", "ABRT", "WINCH")
LIMITS = ("as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "rss", "stack")


def quoted(text: str) -> str:
    """A value as a message shows it: in one line and not too long."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")


def text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("is empty; write a value or leave it out")
    raise ValueError(f"must be a single value, not a {'map' if isinstance(value, Mapping) else 'list'}; write one")


def parse_text(value: object) -> str:
    text = text_of(value)
    if match := _CONTROL_PATTERN.search(text):
        raise ValueError(f"contains the control character U+{ord(match[0]):04X}; remove it")
    return text


def parse_line(value: object) -> str:
    text = text_of(value)
    if not text.isprintable():
        raise ValueError("must be one line of readable text; write the rest into description")
    return text


def parse_bool(value: object) -> bool:
    text = text_of(value).lower()
    if text in ("true", "yes", "on"):
        return True
    if text in ("false", "no", "off"):
        return False
    raise ValueError(f"cannot read {quoted(text_of(value))} as true or false; write true or false")


class WholeNumber:
    """A parser of whole numbers within the limits; `hint` says what to do beyond them."""

    __slots__ = ("highest", "hint", "lowest")

    def __init__(self, lowest: int, highest: int, hint: str = "") -> None:
        self.lowest, self.highest, self.hint = lowest, highest, hint

    def __call__(self, value: object) -> int:
        text = text_of(value)
        within = f"from {self.lowest} to {self.highest}"
        if not re.fullmatch(r"-?[0-9]{1,9}", text):
            raise ValueError(f"cannot read {quoted(text)} as a whole number; write a number {within}")
        number = int(text)
        if not self.lowest <= number <= self.highest:
            raise ValueError(f"must be {within}, not {number}{self.hint}")
        return number


def parse_duration(value: object) -> float:
    """Seconds."""
    text = text_of(value)
    if NUMBER_PATTERN.fullmatch(text):
        seconds = float(text)
    elif text and (match := DURATION_PATTERN.fullmatch(text)):
        hours, minutes, whole, milli = (int(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + whole + milli / 1000
    else:
        raise ValueError(f"cannot read {quoted(text)} as a duration; write for example 90s, 15m, 2h or 1h30m")
    if not 0 < seconds <= LONGEST_DURATION_S:
        raise ValueError(f"must be more than 0 and at most 8784h, not {text[:_LONGEST_QUOTE]}")
    return seconds


class OneOf:
    """A parser of one of some words."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, value: object) -> str:
        text = text_of(value)
        if text not in self.words:
            raise ValueError(f"cannot be {quoted(text)}; write {', '.join(self.words[:-1])} or {self.words[-1]}")
        return text


def parse_name(value: object) -> str:
    text = text_of(value)
    if not NAME_PATTERN.fullmatch(text):
        raise ValueError(f"bad name {quoted(text)}; write up to 63 of a-z, 0-9 and -, beginning with a letter or digit")
    return text


def parse_node(value: object) -> str:
    text = text_of(value)
    if not NODE_PATTERN.fullmatch(text.removeprefix("label:")):
        raise ValueError(f"bad node {quoted(text)}; write a node's name or label:NAME")
    return text


def parse_argv(value: object) -> tuple[str, ...]:
    argv = _listed_words(value) if isinstance(value, list) else _split_words(value)
    if not argv or not argv[0]:
        raise ValueError("names no program; write for example [/usr/libexec/vcs/calculator]")
    if "/" in argv[0] and not argv[0].startswith("/"):
        raise ValueError(f"{quoted(argv[0])} is a relative path; write the program's absolute path")
    for place, word in enumerate(argv):
        if "\0" in word:
            raise ItemError(place, "contains a NUL character; remove it")
    return tuple(argv)


def _listed_words(items: list[Any]) -> list[str]:
    for place, item in enumerate(items):
        if item is None:
            raise ItemError(place, 'has an empty item; write "" for an empty argument')
        if not isinstance(item, str):
            raise ItemError(place, "has an item that is a list or a map; write each argument as one text")
    return items


def _split_words(value: object) -> list[str]:
    if isinstance(value, Mapping):
        raise ValueError("must be a list of texts, not a map; write for example [/usr/libexec/vcs/calculator]")
    text = text_of(value)
    try:
        return shlex.split(text)
    except ValueError as error:
        remedy = "write the backslash twice" if "escape" in str(error) else "close the quote"
        fault = f"cannot be split into words ({str(error).lower()})"
        raise ValueError(f"{fault}; {remedy}, or write a list") from None


def parse_time_of_day(value: object) -> str:
    """`HH:MM`."""
    text = text_of(value)
    if not TIME_PATTERN.fullmatch(text):
        hint = "; midnight is 00:00" if text == "24:00" else ""
        raise ValueError(f"cannot read {quoted(text)} as a time of day; write HH:MM from 00:00 to 23:59{hint}")
    return text


def parse_day(value: object) -> str:
    text = text_of(value).lower()
    if text in WEEKDAYS or text == "last":
        return text
    if re.fullmatch(r"[0-9]{1,2}", text) and 1 <= int(text) <= 31:
        return str(int(text))
    raise ValueError(f"cannot read {quoted(text)} as a day; write mon to sun, 1 to 31, or last")


def parse_timezone(value: object) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # here: few who read a configuration meet a zone

    text = text_of(value)
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {quoted(text)}; write an IANA name such as Europe/Berlin or UTC") from None
    return text


def parse_signal(value: object) -> str:
    text = text_of(value).upper().removeprefix("SIG")
    if text not in SIGNALS:
        raise ValueError(f"cannot be {quoted(text_of(value))}; write one of {', '.join(SIGNALS)}")
    return text


def parse_path(value: object) -> str:
    text = text_of(value)
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{quoted(text)} is not an absolute path; write it from / on")
    return text


def parse_optional_path(value: object) -> str:
    """An absolute path; a leading `-` says that the file may be missing (as in systemd)."""
    text = text_of(value)
    parse_path(text.removeprefix("-"))
    return text


def parse_account(value: object) -> str:
    text = text_of(value)
    if not ACCOUNT_PATTERN.fullmatch(text):
        raise ValueError(f"bad account {quoted(text)}; write a user's or group's name or number")
    return text


def parse_umask(value: object) -> int:
    text = text_of(value)
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"cannot read {quoted(text)} as a umask; write three octal digits such as 027")
    return int(text, 8)


def parse_environment(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a map; write NAME: value lines below it")
    for name, content in value.items():
        if not ENVIRONMENT_NAME_PATTERN.fullmatch(name):
            raise ItemError(name, f"bad variable name {quoted(name)}; write letters, digits and _")
        if name.startswith("VCS_"):
            raise ItemError(name, f"{name} is set by vcsd for every run; choose another name")
        if content is None:
            raise ItemError(name, f'{name} has no value; write {name}: "" for an empty one')
        if not isinstance(content, str) or "\0" in content:
            raise ItemError(name, f"the value of {name} must be a single text, not a list or a map")
    return dict(value)


def parse_limits(value: object) -> dict[str, tuple[int, int]]:
    """Resource limits as (soft, hard); -1 means unlimited."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a map; write for example nofile: 4096 below it")
    limits: dict[str, tuple[int, int]] = {}
    for name, content in value.items():
        if name not in LIMITS:
            raise ItemError(name, f"unknown limit {quoted(name)}; write one of {', '.join(LIMITS)}")
        try:
            soft, _, hard = text_of(content).partition(":")
            limits[name] = (_limit(soft), _limit(hard or soft))
        except ValueError as error:
            raise ItemError(name, f"{name}: {error}") from None
        if limits[name][1] != -1 and not -1 < limits[name][0] <= limits[name][1]:
            raise ItemError(name, f"{name}: the soft limit is above the hard one; write SOFT:HARD with SOFT <= HARD")
    return limits


def _limit(text: str) -> int:
    if text == "unlimited":
        return -1
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"cannot read {quoted(text)}; write a whole number, SOFT:HARD or unlimited")
    return int(text)


def parse_start_limit(value: object) -> tuple[int, float]:
    """(starts, within seconds), from for example `5 in 60s`."""
    match = re.fullmatch(r"([0-9]{1,4}) in (\S+)", text_of(value))
    if not match or int(match[1]) < 1:
        raise ValueError(f"cannot read {quoted(text_of(value))}; write for example 5 in 60s")
    return int(match[1]), parse_duration(match[2])


def parse_size(value: object) -> int:
    """Bytes, from for example 500M or 2G (powers of 1024) or a bare number."""
    text = text_of(value)
    match = _SIZE_PATTERN.fullmatch(text)
    if not match or int(match[1]) == 0:
        raise ValueError(f"cannot read {text!r} as a size; write for example 500M, 2G or a number of bytes")
    return int(match[1]) * _SIZE_FACTORS[match[2]]


def parse_address(value: object) -> str:
    """`HOST:PORT` or `PORT` (this machine)."""
    text = text_of(value)
    port = text.rpartition(":")[2]
    if not _ADDRESS_PATTERN.fullmatch(text) or not 1 <= int(port) <= 65535:
        raise ValueError(f"cannot read {quoted(text)} as an address; write HOST:PORT, for example 127.0.0.1:1812")
    return text


def parse_url(value: object) -> str:
    text = text_of(value)
    if text.startswith("https://"):
        raise ValueError(
            "cannot be asked over https; write an http:// URL, or exec with a program: [/usr/bin/curl, -fsS, URL]"
        )
    match = re.fullmatch(r"http://(?:\[[0-9A-Fa-f:.]+\]|[^\s/:?#@]+)(?::([0-9]{1,5}))?(?:[/?#]\S*)?", text)
    if not match or not 1 <= int(match[1] or 80) <= 65535:
        raise ValueError(f"cannot read {quoted(text)} as a URL; write for example http://127.0.0.1:8080/health")
    return text


def as_list(value: object) -> list[Any]:
    """A single value stands for a list of one."""
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping):
        raise ValueError("must be a list, not a map; write [ONE, TWO] or '- ONE' lines")
    return [text_of(value)]


class UniqueList:
    """A parser of a list without repetitions; the fault of an item names its place in the list."""

    __slots__ = ("lowest", "parse")

    def __init__(self, parse: Callable[[object], str], *, lowest: int = 0) -> None:
        self.parse, self.lowest = parse, lowest

    def __call__(self, value: object) -> tuple[str, ...]:
        items: list[str] = []
        for place, item in enumerate(as_list(value)):
            try:
                parsed = self.parse(item)
            except ValueError as error:
                raise ItemError(place, str(error)) from None
            if parsed in items:
                raise ItemError(place, f"{quoted(parsed)} is listed twice; remove one")
            items.append(parsed)
        if len(items) < self.lowest:
            raise ValueError("is an empty list; write at least one value")
        return tuple(items)


class ItemError(ValueError):
    """A fault of one item of a list or one key of a map, so that the message can point at its line."""

    def __init__(self, place: int | str, text: str) -> None:
        super().__init__(text)
        self.place = place
