"""What somebody who mistyped a name most likely meant. Knows no service."""

from __future__ import annotations

from collections.abc import Iterable


def likely(name: str, known: Iterable[str], otherwise: str) -> str:
    """The hint of a message; `otherwise` where nothing known is like it."""
    import difflib  # 4 ms that only a mistake is worth

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def is_glob(name: str) -> bool:
    """Whether it is a pattern of names: no name has these characters."""
    return any(char in name for char in "*?[")
