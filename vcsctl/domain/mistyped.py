"""Names in units that are likely misspelt: run groups that one unit is in alone, nodes that nobody has. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import lru_cache

from vcsctl.domain.finding import Finding
from vcsctl.domain.unit import Unit

_SHORTEST = 4  # of shorter names one letter is too much of the name to be a slip
_LABEL = "label:"


def lonely_groups(units: Iterable[Unit]) -> Iterator[Finding]:
    """A group that one unit alone is in excludes nothing. That may be meant (`vcsctl lock`, or units to come): it is
    told only where another group's name is one slip away, and of two such groups once."""
    members: dict[str, list[tuple[str, int]]] = {}
    for unit in units:
        for place, group in enumerate(unit.groups):
            members.setdefault(group, []).append((unit.name, place))
    near = _Near(members)
    for group, inside in members.items():
        if len(inside) > 1:
            continue
        name, place = inside[0]
        for other in near.to(group):
            others = sorted(member for member, _ in members[other])
            if name not in others and (len(others) > 1 or others[0] < name):
                of = others[0] if len(others) == 1 else f"{others[0]} and {len(others) - 1} more"
                text = f"no other unit is in {group!r}; write {other!r} if the group of {of} is meant"
                yield Finding(name, ("groups", place), f"{text}, else a name that differs by more than a letter")
                break


def unknown_nodes(unit: Unit, known: frozenset[str]) -> Iterator[Finding]:
    """`known`: all nodes' names, and their labels as `label:NAME`."""
    nowhere = "" if any(node in known for node in unit.nodes) else ", so it runs nowhere"
    for place, node in enumerate(unit.nodes):
        if node not in known:
            label = node.removeprefix(_LABEL)
            fault = f"no node has the label {label!r}" if node.startswith(_LABEL) else f"no node is called {node!r}"
            near = _likely(node, known)
            remedy = f"write {near!r}, or add it to --nodes" if near else "write one of --nodes, or add it there"
            yield Finding(unit.name, ("nodes", place), f"{fault}{nowhere}; {remedy}")


@lru_cache(maxsize=1024)  # the same wrong name is likely to be in many units
def _likely(node: str, known: frozenset[str]) -> str:
    return next(iter(difflib.get_close_matches(node, sorted(known), n=1)), "")


class _Near:
    """Names one slip apart, without comparing each with each: two such share what is left without one letter."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_rest: dict[str, set[str]] = {}
        for name in names:
            if len(name) >= _SHORTEST:
                for rest in _rests(name):
                    self._by_rest.setdefault(rest, set()).add(name)

    def to(self, name: str) -> list[str]:
        found = {other for rest in _rests(name) for other in self._by_rest.get(rest, ())}
        return sorted(other for other in found if is_slip(name, other))


def _rests(name: str) -> set[str]:
    return {name, *(name[:place] + name[place + 1 :] for place in range(len(name)))}


def is_slip(one: str, other: str) -> bool:
    """Whether the two differ by one letter that is missing, wrong or twice, or by two that changed places; not where
    that letter is a number or a word of its own, as in rates-a and rates-b: those are told apart on purpose."""
    if one == other or min(len(one), len(other)) < _SHORTEST:
        return False
    begin = _common(one, other)
    end = _common(one[begin:][::-1], other[begin:][::-1])
    first, second = one[begin : len(one) - end], other[begin : len(other) - end]
    if len(first) == len(second) == 2:
        return first == second[::-1] and first.isalpha()
    if max(len(first), len(second)) != 1:
        return False
    if first.isdigit() or second.isdigit():
        return False
    before, after = one[begin - 1 : begin] or "-", one[len(one) - end :][:1] or "-"
    return not before == after == "-"


def _common(one: str, other: str) -> int:
    """How many letters the two begin with alike."""
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
