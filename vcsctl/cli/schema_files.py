"""Writes the schemas and the table of keys in docs/unit-file.md, from the model and its texts.

`make schema` runs it in a working copy; a test compares the files with what it would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vcsctl.catalog.schema import FILES, as_text, schema
from vcsctl.catalog.schema_values import Schema
from vcsctl.domain.unit import KINDS, keys_of

_BEGIN, _END = "<!-- keys: written by `make schema` -->\n", "<!-- end of keys -->\n"
_MAPS = ("retries", "ready", "health", "reload")


def written(root: Path) -> dict[Path, str]:
    """Each file with the text that it should have."""
    made = {root / name: as_text(form) for form, name in FILES.items()}
    page = root / "docs/unit-file.md"
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    return {**made, page: f"{before}{_BEGIN}{table()}{_END}{after}"}


def table() -> str:
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows(schema("unit")))
    return f"| key | kinds | meaning | default |\n|---|---|---|---|\n{rows}"


def _rows(made: Schema) -> Iterator[tuple[str, ...]]:
    branches = dict(zip(KINDS, (part["then"]["properties"] for part in made["allOf"]), strict=True))
    for key in dict.fromkeys(key for kind in KINDS for key in keys_of(kind)):
        kinds = [kind for kind in KINDS if key in keys_of(kind)]
        ones = {kind: {**made["properties"], **branches[kind]}[key] for kind in kinds}
        one = ones[kinds[0]]
        defaults = {kind: _told(each) for kind, each in ones.items()}
        if len(set(defaults.values())) > 1:  # of the timed kinds it is one
            default = f"{defaults['daemon']} (daemon), {defaults['periodical']} (others)"
        else:
            default = defaults[kinds[0]]
        needed = any(key in part.get("required", ()) for part in (made, *(part["then"] for part in made["allOf"])))
        who = "all" if len(kinds) == len(KINDS) else ", ".join(kinds)
        yield f"`{key}`", who, _meaning(one), "required" if needed else default
        if key in _MAPS:
            for name, inner in one["properties"].items():
                yield f"`{key}.{name}`", who, _meaning(inner), _told(inner)


def _meaning(one: dict[str, Any]) -> str:
    words = [f"`{word}`" for word in one.get("enum", ()) if word is not None]
    text = one.get("markdownDescription", one["description"]).replace("|", r"\|")
    return f"{text} One of {', '.join(words)}." if words else text


def _told(one: dict[str, Any]) -> str:
    default = one.get("default")
    if isinstance(default, list):
        default = f"[{', '.join(map(str, default))}]"
    return "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> None:
    for path, text in written(Path(__file__).parents[2]).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
