"""One file judged among those it is to be put beside, before it is: what the set gets by it. Never writes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from vcsctl.catalog.inspect import misnamed, problems_of
from vcsctl.catalog.layers import cross_problems, load_one
from vcsctl.catalog.scan import DROP_IN, DROP_IN_FOLDER, UNIT_FILE, Fragments, Layers, scan
from vcsctl.catalog.suspects import refuse_unknown
from vcsctl.domain.judged import Known
from vcsctl.errors import Problem


@dataclass(frozen=True, slots=True)
class Candidate:
    """The file at `path`, which is to become `name` in the site's directory: NAME.yaml or NAME.yaml.d/FILE.yaml."""

    name: str
    path: str


def called(path: str) -> str:
    """What a file becomes by its own name and place."""
    folder, file = os.path.split(os.path.abspath(path))
    above = os.path.basename(folder)
    return f"{above}/{file}" if DROP_IN_FOLDER.fullmatch(above) else file


@dataclass(frozen=True, slots=True)
class Judgement:
    """`problems`: all of the set with the candidate. `by_it`: those that it has, or that the others get by it."""

    problems: tuple[Problem, ...]
    by_it: frozenset[Problem]


def judge(candidate: Candidate, layers: Layers, known: Known) -> Judgement:
    """`layers`: the site's directory is the one the file is to be put into.

    A fault that the others have without it is none of its: it would keep even the file from coming that mends it.
    """
    found, strays = scan(layers)
    changed, fault = _with(candidate, layers, found)
    if fault is not None:
        return Judgement((fault,), frozenset((fault,)))
    refuse_unknown(known.durations, {*found, changed.name})
    # What is the same with and without the candidate is read once.
    units = {name: load_one(fragments) for name, fragments in found.items() if name != changed.name}
    before = dict(units)
    if changed.name in found:
        before[changed.name] = load_one(found[changed.name])
    after = {**units, changed.name: load_one(changed)}
    without = Counter(map(_place, problems_of((before, [*strays, *cross_problems(before)]), known)))
    problems = problems_of((after, [*_left(strays, changed, layers), *cross_problems(after)]), known)
    with_it = Counter(map(_place, problems))
    # Without the others there is nothing to judge by.
    unread = {problem for problem in strays if problem.path in (layers.site, layers.vendor)}
    by_it = {problem for problem in problems if with_it[_place(problem)] > without[_place(problem)]}
    own = {problem for problem in problems if problem.path == candidate.path}
    return Judgement(tuple(problems), frozenset(by_it | own | unread))


def _place(problem: Problem) -> Problem:
    """What is said of a place may name the candidate as one of several, and be as true without it."""
    return problem._replace(text="")


def _with(candidate: Candidate, layers: Layers, found: dict[str, Fragments]) -> tuple[Fragments, Problem | None]:
    """The files of the unit that the candidate is, or belongs to, once it is there."""
    folder, file = os.path.split(candidate.name)
    if match := DROP_IN_FOLDER.fullmatch(folder):
        old = found.get(match[1])
        if not DROP_IN.fullmatch(file):
            text = "is not read: a drop-in is named like 10-times.yaml; rename it"
        elif old is None:
            text = f"cannot be judged: there is no unit {match[1]} to change; put that into {layers.site} first"
        else:
            named = {os.path.basename(path): path for path in old.drop_ins} | {file: candidate.path}
            drop_ins = tuple(path for _, path in sorted(named.items()))
            return Fragments(old.name, old.base, drop_ins, old.problems), None
        return Fragments(match[1], candidate.path), Problem(candidate.path, 0, 0, "", text)
    match = UNIT_FILE.fullmatch(f"{candidate.name.removesuffix('.yaml')}.yaml")
    if match is None or folder:
        return Fragments("", candidate.path), misnamed(candidate.name, candidate.path)
    old = found.get(match[1], Fragments(match[1], candidate.path))
    return old._replace(base=candidate.path), None


def _left(strays: list[Problem], changed: Fragments, layers: Layers) -> list[Problem]:
    """Without what is said of drop-ins that lack a unit, when this is the unit."""
    folder = f"{layers.site}/{changed.name}.yaml.d"
    return [problem for problem in strays if not (problem.path == folder and problem.warning)]
