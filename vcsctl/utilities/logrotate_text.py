"""The configuration that logrotate is given, made from validated settings. Text in, text out: nothing is run or read.

Whatever a settings file says, it ends up inside a quoted path, a number, a checked word or a quoted argument: no
directive of logrotate can come from it.
"""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from vcsctl.errors import UsageError
from vcsctl.utilities.settings import parse_plain_path, shown

# logrotate's own syntax; it knows no way to write them in a path that all its versions agree on.
_FORBIDDEN = "\"'\\{}"


@dataclass(frozen=True, slots=True)
class Stanza:
    """What is done with the logs of some patterns. Without `period` they are rotated by size alone."""

    patterns: tuple[str, ...]
    keep: int
    compress: bool
    period: str | None = None
    max_size: int | None = None
    copy_truncate: bool = False
    account: tuple[str, str] | None = None
    script: tuple[str, ...] = ()


def parse_log_pattern(value: object) -> str:
    """An absolute path, wildcards allowed."""
    pattern = parse_plain_path(value)
    if bad := _forbidden_in(pattern):
        raise ValueError(f"{pattern!r} contains {bad}, which logrotate reads as its own syntax; use a path without it")
    if pattern == "/":
        raise ValueError("names no file; write for example /var/log/freeradius/*.log")
    return pattern


def exactly(path: str) -> str:
    """A pattern that matches just this path. Raises UsageError where there is none."""
    if bad := _forbidden_in(path):
        raise UsageError(f"cannot rotate {shown(path)}: its name contains {bad}; move the directory")
    return glob.escape(path)


def _forbidden_in(path: str) -> str | None:
    return next((character for character in path if character in _FORBIDDEN or not character.isprintable()), None)


def configuration(stanzas: Iterable[Stanza]) -> str:
    return "\n".join(_stanza(stanza) for stanza in stanzas)


def _stanza(stanza: Stanza) -> str:
    lines = [f'"{pattern}"' for pattern in stanza.patterns]
    lines[-1] += " {"
    directives = ["missingok", "notifempty", f"rotate {stanza.keep}", *_when(stanza), *_how(stanza)]
    if stanza.account:
        directives.append(f"su {stanza.account[0]} {stanza.account[1]}")
    if stanza.script:
        directives += ["sharedscripts", "postrotate", f"  {shlex.join(stanza.script)}", "endscript"]
    return "\n".join([*lines, *(f"  {directive}" for directive in directives), "}", ""])


def _when(stanza: Stanza) -> list[str]:
    if stanza.period is None and stanza.max_size is not None:
        return [f"size {stanza.max_size}"]
    return [stanza.period or "daily", *([f"maxsize {stanza.max_size}"] if stanza.max_size is not None else [])]


def _how(stanza: Stanza) -> list[str]:
    compress = ["compress"] if stanza.compress else ["nocompress"]
    if stanza.copy_truncate:
        return ["copytruncate", *compress]
    # A program writes on into the renamed file until it opens its log anew: compress it the next time.
    return ["create", *compress, *(["delaycompress"] if stanza.compress else [])]
