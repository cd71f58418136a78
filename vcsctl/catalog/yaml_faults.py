"""What a YAML parser complains of, as a sentence that says what to write instead. Reads no file.

A parser names the rule that was broken; whoever wrote the file wants to hear which of the usual slips it was.
"""

from __future__ import annotations

from typing import Any

Place = tuple[int, int]
_SAME_COLUMN = "begin every key of a map in the same column"
_UNQUOTED = "put the value in quotes"
# Part of the parser's text → the sentence. The first that fits counts; the trickier ones are judged below.
_SENTENCES = (
    ("tab character", "a tab cannot indent; use spaces"),
    ("expected '-' indicator", "a list ends here without its key's indentation; indent all items of a list alike"),
    ("sequence entries are not allowed", "a list's item cannot stand here; write each '- ITEM' in a line of its own"),
    ("expected <document start>", f"is indented less than the lines above; {_SAME_COLUMN}"),
    ("escape", "a backslash within double quotes needs a meaning; write it twice, or use single quotes"),
    ("hexdecimal", "a backslash within double quotes needs a meaning; write it twice, or use single quotes"),
    ("alphabetic or numeric", "a text cannot begin with * or &; put it in quotes"),
    ("comment or line break", "only a line's end can follow | or >; write the text in the lines below, indented"),
    ("directive", "a line cannot begin with %; put the text in quotes or remove the line"),
    ("incompatible yaml document", "asks for another version of YAML; remove the %YAML line"),
    ("tag", "tags (!) are not allowed; write the plain value"),
)


def syntax_fault(error: Any, text: str) -> tuple[Place | None, str]:
    """The place and the sentence for a `yaml.MarkedYAMLError`."""
    problem, context = (error.problem or "").lower(), (error.context or "").lower()
    place = _place(error.problem_mark or error.context_mark)
    begin = _place(error.context_mark) or place
    before, character = _around(text, place)
    if "unexpected end of stream" in problem:
        return begin, "the quote that opens here is not closed; close it"
    if "flow" in context and ("expected ',' or" in problem or not character):
        what, closing = ("list", "]") if "sequence" in context or text_at(text, begin) == "[" else ("map", "}")
        line = f" (noticed in line {place[0]})" if place and begin and place[0] != begin[0] else ""
        return begin, f"the {what} that opens here lacks a comma or its {closing}{line}; close it"
    if "expected ':'" in problem:
        return begin, "there is no ': ' after this key; write KEY: VALUE"
    if "cannot start any token" in problem:
        if character == "\t":
            return place, "a tab cannot indent; use spaces"
        return place, f"a text cannot begin with {character}; put it in quotes"
    if "mapping values are not allowed" in problem:
        return place, _second_colon(before)
    if "expected key" in problem:
        return place, _no_key(before, character)
    if "expected node content" in problem:
        return place, f"a value is missing before {character or 'the end'}; write it, or put the text in quotes"
    if "expected <document start>" in problem and "\n..." in text:
        return place, "text after the line ..., which ends the unit; remove that line"
    for part, sentence in _SENTENCES:
        if part in problem:
            return place, sentence
    return place, f"cannot be read as YAML ({problem or 'wrong syntax'}); write KEY: VALUE lines"


def _second_colon(before: str) -> str:
    if "\t" in before[: len(before) - len(before.lstrip())]:
        return "a tab cannot indent; use spaces"
    if ": " in before or before.rstrip().endswith(":"):
        return f"a second ': ' in one line; {_UNQUOTED}"
    if before[:1].strip():
        return "there is no ': ' after the key in the line above; write KEY: VALUE"
    return f"a key cannot be indented below a value; {_SAME_COLUMN}"


def _no_key(before: str, character: str) -> str:
    if before.rstrip().endswith(("'", '"')):
        return "text after the closing quote; quote the whole value once, and double a quote within it"
    if character == ":":
        return "the key before ':' is empty; write KEY: VALUE"
    if character == "-":
        return "a list's item that belongs to no key; write it below its key, or remove it"
    if character in ("]", "}"):
        return f"a {character} that closes nothing; remove it"
    return f"wrong indentation; {_SAME_COLUMN}"


def text_at(text: str, place: Place | None) -> str:
    return _around(text, place)[1]


def _place(mark: Any) -> Place | None:
    return (mark.line + 1, mark.column + 1) if mark else None


def _around(text: str, place: Place | None) -> tuple[str, str]:
    """The part of the line before a place, and the character there; empty at the end of the file."""
    if place is None:
        return "", ""
    lines = text.split("\n", place[0])
    if len(lines) < place[0]:
        return "", ""
    line = lines[place[0] - 1]
    return line[: place[1] - 1], line[place[1] - 1 : place[1]]
