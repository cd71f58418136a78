"""verify: the gate that unit files pass before vcsd reads them. Needs no vcsd, no root and no shared directory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from vcsctl.catalog import inspect
from vcsctl.catalog.candidate import Candidate, called, judge
from vcsctl.catalog.layers import Layers
from vcsctl.cli.context import Context, show_json
from vcsctl.cli.verify_forms import annotation, sarif
from vcsctl.domain.judged import Known
from vcsctl.domain.values import parse_duration, parse_name, parse_node, parse_timezone
from vcsctl.errors import USAGE, Problem, UsageError


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--as", "name", metavar="NAME", help="Judge one file, whatever it is called, as NAME or NAME.yaml.d/FILE.yaml."
)
@click.option("--with-dir", "folder", metavar="DIR", help="Judge one file among those of DIR, where it is to be put.")
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--nodes", "listed", metavar="LIST", help="All nodes there are: a,b,label:x or a file of them.")
@click.option("--timezone", "zone", metavar="ZONE", help="The cell's zone, for units that name none.")
@click.option(
    "--duration", "given", metavar="NAME=TIME", multiple=True, help="What a run of NAME lasts, for example 90s."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "sarif", "github"]),
    default="table",
    help="Form of the answer.",
)
@click.pass_obj
def verify(
    context: Context,
    paths: tuple[str, ...],
    name: str | None,
    folder: str | None,
    strict: bool,
    listed: str | None,
    zone: str | None,
    given: tuple[str, ...],
    output: str,
) -> None:
    """Check unit files or directories of them; without any, all that vcsd would read.

    Examples:
    vcsctl verify --as backup-manager new.yaml
    vcsctl verify --strict --output github services.d

    Silent and 0 when all is well, else each problem with its place, and exit code 2 when one is an error. With
    --with-dir only what DIR gets by the file is an error; what is wrong there without it is a warning.
    """
    known = Known(datetime.now(UTC), _nodes(listed), _timezone(zone), dict(map(_duration, given)))
    layers = Layers(context.where.vendor_units, context.where.site_units)
    for option, value in (("--as", name), ("--with-dir", folder)):
        if value is not None and len(paths) != 1:
            raise UsageError(f"{option} judges one file; write vcsctl verify {option} {_METAVARS[option]} FILE")
    if given and folder is None and (name is not None or not all(map(os.path.isdir, paths))):
        raise UsageError("--duration judges whole sets; name a directory, or judge the file in one with --with-dir DIR")
    if folder is not None:
        problems = _beside(
            Candidate(called(paths[0]) if name is None else name, paths[0]), folder, layers, known, strict=strict
        )
    else:
        found = (
            inspect.verify_as(name, paths[0], layers, known)
            if name is not None
            else inspect.verify(paths, layers, known)
        )
        problems = [problem._replace(warning=problem.warning and not strict) for problem in found]
    _show(problems, output)
    if any(not problem.warning for problem in problems):
        raise click.exceptions.Exit(USAGE)


_METAVARS = {"--as": "NAME", "--with-dir": "DIR"}


def _beside(candidate: Candidate, folder: str, layers: Layers, known: Known, *, strict: bool) -> list[Problem]:
    if not os.path.isdir(folder):
        raise UsageError(f"--with-dir: {folder} is no directory; name the one that the file is to be put into")
    if os.path.isdir(candidate.path):
        raise UsageError(f"--with-dir judges one file, and {candidate.path} is a directory; verify it by itself")
    vendor = "" if _is_same(folder, layers.vendor) else layers.vendor
    judgement = judge(candidate, Layers(vendor, folder.rstrip("/") or "/"), known)
    return [
        problem._replace(warning=(problem.warning and not strict) or problem not in judgement.by_it)
        for problem in judgement.problems
    ]


def _is_same(folder: str, other: str) -> bool:
    return os.path.isdir(other) and os.path.samefile(folder, other)


def _show(problems: Sequence[Problem], output: str) -> None:
    match output:
        case "json":
            fields = ("path", "line", "column", "key", "text", "warning")
            show_json("problems", [{field: getattr(problem, field) for field in fields} for problem in problems])
        case "sarif":
            click.echo(json.dumps(sarif(problems), indent=2))
        case "github":
            for problem in problems:
                click.echo(annotation(problem))
        case _:
            for problem in problems:
                click.echo(str(problem), err=problem.warning)


def _nodes(listed: str | None) -> frozenset[str] | None:
    """The words of a list or of a file, `#` begins a comment there."""
    if listed is None:
        return None
    text = listed
    if "/" in listed or os.path.isfile(listed):
        try:
            with open(listed, encoding="utf-8") as file:
                text = "\n".join(line.partition("#")[0] for line in file)
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or "it is no text").lower()
            raise UsageError(f"--nodes: cannot read {listed}: {reason}; name a file of nodes, or list them") from None
    try:
        nodes = frozenset(map(parse_node, text.replace(",", " ").split()))
    except ValueError as error:
        raise UsageError(f"--nodes: {error}") from None
    if not nodes:
        raise UsageError("--nodes names no node; write for example --nodes bill1,bill2,label:rt")
    return nodes


def _timezone(zone: str | None) -> str | None:
    try:
        return None if zone is None else parse_timezone(zone)
    except ValueError as error:
        raise UsageError(f"--timezone: {error}") from None


def _duration(given: str) -> tuple[str, float]:
    name, equals, text = given.partition("=")
    try:
        if not equals:
            raise ValueError(f"cannot read {given!r}; write for example calculator=90s")
        return parse_name(name), parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None


COMMANDS: dict[str, click.Command] = {"verify": verify}
