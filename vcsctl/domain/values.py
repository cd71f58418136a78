"""The texts a unit file may hold, read into values, each with its own message. No I/O but the zone database.

Each `parse_*` takes what the YAML reader gives (text, list or mapping; every scalar is text) and returns
the value, or raises ValueError with a sentence that says what to write instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NODE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DURATION_PATTERN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
NUMBER_PATTERN = re.compile(r"\d+(?:\.\d+)?")
ENVIRONMENT_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ACCOUNT_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
TIME_PATTERN = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
LONGEST_DURATION_S = 366 * 24 * 3600.0  # beyond a year a typo is likelier than a wish
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL", "ABRT", "WINCH")
LIMITS = ("as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "rss", "stack")


def text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise ValueError("is empty; write a value or leave the key out")
    raise ValueError("must be a single value, not a list or a map")


def parse_text(value: object) -> str:
    return text_of(value)


def parse_bool(value: object) -> bool:
    text = text_of(value).lower()
    if text in ("true", "yes", "on"):
        return True
    if text in ("false", "no", "off"):
        return False
    raise ValueError(f"cannot read {text_of(value)!r} as true or false; write true or false")


def whole_number(lowest: int, highest: int, hint: str = "") -> Callable[[object], int]:
    """A parser of whole numbers within the limits; `hint` says what to do beyond them."""

    def parse(value: object) -> int:
        text = text_of(value)
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise ValueError(f"cannot read {text!r} as a whole number; write a number from {lowest} to {highest}")
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError(f"must be from {lowest} to {highest}, not {number}{hint}")
        return number

    return parse


def parse_duration(value: object) -> float:
    """Seconds."""
    text = text_of(value)
    if NUMBER_PATTERN.fullmatch(text):
        seconds = float(text)
    elif text and (match := DURATION_PATTERN.fullmatch(text)):
        hours, minutes, whole, milli = (int(part or 0) for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + whole + milli / 1000
    else:
        raise ValueError(f"cannot read {text!r} as a duration; write for example 90s, 15m, 2h or 1h30m")
    if not 0 < seconds <= LONGEST_DURATION_S:
        raise ValueError(f"must be more than 0 and at most 8784h, not {text}")
    return seconds


def one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = text_of(value)
        if text not in words:
            raise ValueError(f"cannot be {text!r}; write {', '.join(words[:-1])} or {words[-1]}")
        return text

    return parse


def parse_name(value: object) -> str:
    text = text_of(value)
    if not NAME_PATTERN.fullmatch(text):
        raise ValueError(f"bad name {text!r}; write up to 63 of a-z, 0-9 and -, beginning with a letter or digit")
    return text


def parse_node(value: object) -> str:
    text = text_of(value)
    if not NODE_PATTERN.fullmatch(text.removeprefix("label:")):
        raise ValueError(f"bad node {text!r}; write a node's name or label:NAME")
    return text


def parse_argv(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        argv = [text_of(item) for item in value]
    else:
        try:
            argv = shlex.split(text_of(value))
        except ValueError as error:
            raise ValueError(f"cannot be split into words ({error}); close the quote, or write a list") from None
    if not argv or not argv[0]:
        raise ValueError("names no program; write for example [/usr/libexec/vcs/calculator]")
    if "/" in argv[0] and not argv[0].startswith("/"):
        raise ValueError(f"{argv[0]!r} is a relative path; write the program's absolute path")
    if any("\0" in word for word in argv):
        raise ValueError("contains a NUL character; remove it")
    return tuple(argv)


def parse_time_of_day(value: object) -> str:
    """`HH:MM`."""
    text = text_of(value)
    if not TIME_PATTERN.fullmatch(text):
        hint = "; midnight is 00:00" if text == "24:00" else ""
        raise ValueError(f"cannot read {text!r} as a time of day; write HH:MM from 00:00 to 23:59{hint}")
    return text


def parse_day(value: object) -> str:
    text = text_of(value).lower()
    if text in WEEKDAYS or text == "last":
        return text
    if re.fullmatch(r"\d{1,2}", text) and 1 <= int(text) <= 31:
        return str(int(text))
    raise ValueError(f"cannot read {text!r} as a day; write mon to sun, 1 to 31, or last")


def parse_timezone(value: object) -> str:
    text = text_of(value)
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {text!r}; write an IANA name such as Europe/Berlin or UTC") from None
    return text


def parse_signal(value: object) -> str:
    text = text_of(value).upper().removeprefix("SIG")
    if text not in SIGNALS:
        raise ValueError(f"cannot be {text_of(value)!r}; write one of {', '.join(SIGNALS)}")
    return text


def parse_path(value: object) -> str:
    text = text_of(value)
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is not an absolute path; write it from / on")
    return text


def parse_optional_path(value: object) -> str:
    """An absolute path; a leading `-` says that the file may be missing (as in systemd)."""
    text = text_of(value)
    parse_path(text.removeprefix("-"))
    return text


def parse_account(value: object) -> str:
    text = text_of(value)
    if not ACCOUNT_PATTERN.fullmatch(text):
        raise ValueError(f"bad account {text!r}; write a user's or group's name or number")
    return text


def parse_umask(value: object) -> int:
    text = text_of(value)
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"cannot read {text!r} as a umask; write three octal digits such as 027")
    return int(text, 8)


def parse_environment(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a map; write NAME: value lines below it")
    for name, content in value.items():
        if not ENVIRONMENT_NAME_PATTERN.fullmatch(name):
            raise ValueError(f"bad variable name {name!r}; write letters, digits and _")
        if name.startswith("VCS_"):
            raise ValueError(f"{name} is set by vcsd for every run; choose another name")
        if not isinstance(content, str) or "\0" in content:
            raise ValueError(f"the value of {name} must be a single text")
    return dict(value)


def parse_limits(value: object) -> dict[str, tuple[int, int]]:
    """Resource limits as (soft, hard); -1 means unlimited."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a map; write for example nofile: 4096 below it")
    limits: dict[str, tuple[int, int]] = {}
    for name, content in value.items():
        if name not in LIMITS:
            raise ValueError(f"unknown limit {name!r}; write one of {', '.join(LIMITS)}")
        soft, _, hard = text_of(content).partition(":")
        limits[name] = (_limit(name, soft), _limit(name, hard or soft))
        if limits[name][1] != -1 and not -1 < limits[name][0] <= limits[name][1]:
            raise ValueError(f"{name}: the soft limit must not be above the hard one")
    return limits


def _limit(name: str, text: str) -> int:
    if text == "unlimited":
        return -1
    if not re.fullmatch(r"\d{1,18}", text):
        raise ValueError(f"{name}: cannot read {text!r}; write a whole number, SOFT:HARD or unlimited")
    return int(text)


def parse_start_limit(value: object) -> tuple[int, float]:
    """(starts, within seconds), from for example `5 in 60s`."""
    match = re.fullmatch(r"(\d{1,4}) in (\S+)", text_of(value))
    if not match or int(match[1]) < 1:
        raise ValueError(f"cannot read {text_of(value)!r}; write for example 5 in 60s")
    return int(match[1]), parse_duration(match[2])


def parse_address(value: object) -> str:
    """`HOST:PORT` or `PORT` (this machine)."""
    text = text_of(value)
    port = text.rpartition(":")[2]
    if not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"cannot read {text!r} as an address; write HOST:PORT, for example 127.0.0.1:1812")
    return text


def parse_url(value: object) -> str:
    text = text_of(value)
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError(f"cannot read {text!r} as a URL; write for example http://127.0.0.1:8080/health")
    return text


def as_list(value: object) -> list[Any]:
    """A single value stands for a list of one."""
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping):
        raise ValueError("must be a list, not a map")
    return [text_of(value)]


def unique_list(parse: Callable[[object], str], *, lowest: int = 0) -> Callable[[object], tuple[str, ...]]:
    """A parser of a list without repetitions; the fault of an item names its place in the list."""

    def parse_list(value: object) -> tuple[str, ...]:
        items: list[str] = []
        for place, item in enumerate(as_list(value)):
            try:
                parsed = parse(item)
            except ValueError as error:
                raise ItemError(place, str(error)) from None
            if parsed in items:
                raise ItemError(place, f"{parsed!r} is listed twice; remove one")
            items.append(parsed)
        if len(items) < lowest:
            raise ValueError("is an empty list; write at least one value")
        return tuple(items)

    return parse_list


class ItemError(ValueError):
    """A fault of one item of a list, so that the message can point at its line."""

    def __init__(self, place: int, text: str) -> None:
        super().__init__(text)
        self.place = place
