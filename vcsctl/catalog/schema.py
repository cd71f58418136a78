"""The JSON Schema of unit files and drop-ins, made from the model. Reads no file; only who asks for it loads it.

It judges what an editor sees: YAML 1.2, where a number is a number, while the reader of unit files sees texts. Where
the two must differ is listed in docs/unit-file.md, and held by tests. `errorMessage` and `doNotSuggest` are words of
yaml-language-server, which others pass over.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, Literal

from vcsctl.catalog.schema_values import Schema, fragment
from vcsctl.catalog.validate import KNOWN_ELSEWHERE, misplaced, unknown_key
from vcsctl.domain.key_texts import EXAMPLES, TEXTS
from vcsctl.domain.key_texts import KINDS as KIND_TEXTS
from vcsctl.domain.unit import KINDS, TIMED_KEYS_OF, Nested, Probe, field_parsers, keys_of, parse_ready
from vcsctl.domain.values import parse_duration, parse_size, parse_start_limit

Form = Literal["unit", "drop-in"]
FILES: dict[Form, str] = {"unit": "unit.schema.json", "drop-in": "drop-in.schema.json"}
_WAYS = ("tcp", "http", "exec", "after", "signal")  # of which a map has exactly one
_NULL: Schema = {"type": "null"}


def schema(form: Form) -> Schema:
    """Of a whole unit, or of a drop-in: any of the keys, and null resets each."""
    by_kind = {kind: {key: _key(kind, key, form) for key in keys_of(kind) if key != "schedule"} for kind in KINDS}
    every = {key: one for keys in by_kind.values() for key, one in keys.items()}
    common = {key: one for key, one in every.items() if all(keys.get(key) == one for keys in by_kind.values())}
    # Known here, so that only what no kind has is unknown; what it must be like its own kind says.
    others = dict.fromkeys((key for key in every if key not in common), True)
    elsewhere = {key: _refused(unknown_key(key, ("exec",))) for key in KNOWN_ELSEWHERE if key not in every}
    title = "vcsctl unit" if form == "unit" else "vcsctl drop-in"
    made: Schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": title,
        "description": f"Written by `vcsctl schema{'' if form == 'unit' else ' --drop-in'}`.",
        "type": "object",
        "properties": {"schedule": _schedule(form), **common, **others, **elsewhere},
        "additionalProperties": False,
        "allOf": [_of_kind(kind, by_kind, common, form) for kind in KINDS],
    }
    if form == "unit":
        made["required"] = ["schedule", "exec"]
    else:  # of which kind the unit is cannot be seen from here
        free = {key: {name: part for name, part in every[key].items() if name != "default"} for key in others}
        made["allOf"].append({"if": {"required": ["schedule"]}, "else": {"properties": free}})
    return made


def as_text(form: Form) -> str:
    """As a file."""
    return json.dumps(schema(form), indent=1) + "\n"


def _schedule(form: Form) -> Schema:
    explained = {**_described(TEXTS["schedule"]), "enumDescriptions": list(KIND_TEXTS.values())}
    message = "write daemon, periodical or fixed-time"
    return _nullable({**explained, "enum": list(KINDS), "errorMessage": message}, form == "drop-in")


def _of_kind(kind: str, by_kind: dict[str, dict[str, Schema]], common: dict[str, Schema], form: Form) -> Schema:
    own = {key: one for key, one in by_kind[kind].items() if key not in common}
    allowed = keys_of(kind)
    foreign = {key: None for keys in by_kind.values() for key in keys if key not in allowed}
    then: Schema = {"properties": {**own, **{key: _refused(misplaced(key, kind, allowed)) for key in foreign}}}
    if form == "unit" and kind in TIMED_KEYS_OF:
        then["required"] = [TIMED_KEYS_OF[kind][0]]
    return {"if": {"properties": {"schedule": {"const": kind}}, "required": ["schedule"]}, "then": then}


def _refused(message: str) -> Schema:
    """What nothing fits, so that an editor says the message."""
    return {"type": "string", "pattern": "(?!)", "errorMessage": message, "doNotSuggest": True}


def _nullable(one: Schema, is_so: bool) -> Schema:
    if not is_so:
        return one
    if "enum" in one:
        more = {"enumDescriptions": [*one["enumDescriptions"], "Reset."]} if "enumDescriptions" in one else {}
        return {**one, "enum": [*one["enum"], None], **more}
    return {**one, "type": [*one["type"], "null"]}


def _key(kind: str, key: str, form: Form) -> Schema:
    cls = KINDS[kind]
    parser = field_parsers(cls)[key]
    (described,) = (f for f in dataclasses.fields(cls) if f.name == key)
    is_required = described.default is dataclasses.MISSING and described.default_factory is dataclasses.MISSING
    made = _explained(key, _value(key, parser, form), _default(described, parser))
    return _nullable(made, form == "drop-in" or not is_required)


def _value(path: str, parser: Callable[[object], Any], form: Form) -> Schema:
    if isinstance(parser, Nested):
        return _map(path, parser.cls, form)
    if parser is parse_ready:
        word = {"pattern": "^notify$", "errorMessage": "write notify, or a map with one of tcp, http, exec, after"}
        return {**_map(path, Probe, form), **word, "type": ["string", "object"]}
    made = fragment(parser)
    if form == "drop-in" and made.get("type") == ["object"]:  # maps merge: null takes an item away
        inner = {name: _nullable(one, True) for name, one in made.get("properties", {}).items()}
        more = made["additionalProperties"]
        return {
            **made,
            **({"properties": inner} if inner else {}),
            "additionalProperties": _nullable(more, True) if isinstance(more, dict) else more,
        }
    return made


def _map(path: str, cls: type[Any], form: Form) -> Schema:
    """A map within a unit; null leaves any of its keys at its default."""
    properties = {}
    parsers = field_parsers(cls)
    for field in dataclasses.fields(cls):
        name, parser = f"{path}.{field.name}", parsers[field.name]
        properties[field.name] = _nullable(_explained(name, fragment(parser), _default(field, parser)), True)
    made: Schema = {"type": ["object"], "properties": properties, "additionalProperties": False}
    made["errorMessage"] = f"write a map with one or more of {', '.join(properties)}"
    if ways := [key for key in _WAYS if key in properties]:
        made["allOf"] = [{"if": {"type": "object"}, "then": _one_way(ways, form)}]
    return made


def _one_way(ways: list[str], form: Form) -> Schema:
    """Exactly one, in a drop-in at most one, has a value. Not by `oneOf`, which does not say which is too many."""
    message = f"write exactly one of {', '.join(ways)}"
    given = {way: {"required": [way], "properties": {way: {"not": _NULL}}, "errorMessage": message} for way in ways}
    beside: Schema = {**_NULL, "errorMessage": message, "doNotSuggest": True}
    alone = [
        {"if": given[way], "then": {"properties": {other: beside for other in ways if other != way}}} for way in ways
    ]
    return {"allOf": alone} if form == "drop-in" else {"allOf": alone, "anyOf": list(given.values())}


def _explained(path: str, made: Schema, default: Any) -> Schema:
    examples = {"examples": EXAMPLES[path]} if path in EXAMPLES else {}
    return {**_described(TEXTS[path]), **made, **examples, **({} if default is None else {"default": default})}


def _described(text: str) -> Schema:
    """Some editors show marks as they are, some only what is called Markdown without them."""
    plain = text.replace("`", "")
    return {"description": plain} if plain == text else {"description": plain, "markdownDescription": text}


def _default(field: dataclasses.Field[Any], parser: Callable[[object], Any]) -> Any:
    """The default as a unit file would say it; None where there is none, or none that says anything."""
    value = field.default
    if value is dataclasses.MISSING or dataclasses.is_dataclass(value) or value in (None, "", ()):
        return None
    if parser is parse_duration:
        return _span(value)
    if parser is parse_start_limit:
        return f"{value[0]} in {_span(value[1])}"
    if parser is parse_size:
        return f"{value >> 20}M"
    return list(value) if isinstance(value, tuple) else value


def _span(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 60:g}m" if seconds > 60 and seconds % 60 == 0 else f"{seconds:g}s"
