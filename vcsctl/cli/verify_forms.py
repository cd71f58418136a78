"""Problems as other programs want them: SARIF for code scanning, annotations for GitHub's workflows. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from vcsctl import __version__
from vcsctl.errors import Problem

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_FILE_AS_A_WHOLE = "file"
# https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands: what a value and, beside that,
# a property must not hold as it is.
_IN_VALUES = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = {**_IN_VALUES, ":": "%3A", ",": "%2C"}


def sarif(problems: Sequence[Problem]) -> dict[str, Any]:
    """SARIF 2.1.0. The rule of a problem is the key it is about."""
    rules = sorted({_rule(problem) for problem in problems})
    driver = {"name": "vcsctl verify", "version": __version__, "rules": [{"id": rule} for rule in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, rules) for problem in problems],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem, rules: list[str]) -> dict[str, Any]:
    where: dict[str, Any] = {"artifactLocation": {"uri": _uri(problem.path)}}
    if problem.line:
        where["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
    return {
        "ruleId": _rule(problem),
        "ruleIndex": rules.index(_rule(problem)),
        "level": "warning" if problem.warning else "error",
        "message": {"text": _message(problem)},
        "locations": [{"physicalLocation": where}],
    }


def _rule(problem: Problem) -> str:
    return problem.key or _FILE_AS_A_WHOLE


def _message(problem: Problem) -> str:
    return f"{problem.key}: {problem.text}" if problem.key else problem.text


def _uri(path: str) -> str:
    """Relative where it lies below the working directory: that is how a repository's files are known elsewhere."""
    near = _near(path)
    # A first part with a colon would be read as a scheme, which quoting the colon prevents.
    return f"file://{_quoted(near)}" if os.path.isabs(near) else _quoted(near)


def _quoted(path: str) -> str:
    return quote(os.fsencode(path))  # a name need not be UTF-8


def _near(path: str) -> str:
    whole, here = os.path.abspath(path), os.getcwd().rstrip("/")
    return os.path.relpath(whole, here) if whole.startswith(f"{here}/") else whole


def annotation(problem: Problem) -> str:
    """One line that a GitHub workflow shows at its place in a change."""
    properties = {"file": _near(problem.path)}
    if problem.line:
        properties |= {"line": str(problem.line), "col": str(max(problem.column, 1))}
    shown = ",".join(f"{name}={_escaped(value, _IN_PROPERTIES)}" for name, value in properties.items())
    kind = "warning" if problem.warning else "error"
    return f"::{kind} {shown}::{_escaped(_message(problem), _IN_VALUES)}"


def _escaped(text: str, marks: dict[str, str]) -> str:
    return "".join(marks.get(character, character) for character in text)
