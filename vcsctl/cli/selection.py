"""Which services a listing is about: names, globs of names, and how they are. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from vcsctl.cli.hints import is_glob, likely
from vcsctl.cli.overview import Line, Overview
from vcsctl.errors import UnknownUnitError

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Instance

_ENDED_BADLY = ("failed", "timeout", "lost")


class Selection(NamedTuple):
    """Of `failed`, `queued` and `running` any is enough; all else narrows."""

    names: tuple[str, ...] = ()
    failed: bool = False
    queued: bool = False
    running: bool = False
    group: str | None = None
    node: str | None = None

    @property
    def is_filter(self) -> bool:
        return self.failed or self.queued or self.running or self.group is not None or self.node is not None

    @property
    def only(self) -> str | None:
        """The one service that was asked for by its plain name."""
        return self.names[0] if len(self.names) == 1 and not self.is_filter and not is_glob(self.names[0]) else None

    def names_it(self, service: str) -> bool:
        """By its name alone."""
        return not self.names or any(fnmatchcase(service, name) for name in self.names)


def chosen_names(selection: Selection, overview: Overview) -> list[str]:
    """By names and globs alone. Raises UnknownUnitError for what is not there."""
    known = overview.context.published.units
    if selection.node is not None:
        overview.context.node(selection.node)
    if selection.group is not None:
        _known_group(overview, selection.group)
    if not selection.names:
        return sorted(known)
    found = set()
    for name in selection.names:
        if not is_glob(name):
            overview.context.row(name)
            found.add(name)
        elif matching := {one for one in known if fnmatchcase(one, name)}:
            found |= matching
        else:
            raise UnknownUnitError(f"no service matches {name}; `vcsctl status` lists them all")
    return sorted(found)


def _known_group(overview: Overview, group: str) -> None:
    catalogs = overview.context.catalogs
    known = {one for name in overview.context.published.units for one in catalogs.groups(name)}
    if group not in known:
        hint = likely(group, known, "`vcsctl status` shows them all")
        raise UnknownUnitError(f"no service is in a run group {group}; {hint}")


def is_chosen(selection: Selection, overview: Overview, line: Line, instances: Sequence[Instance]) -> bool:
    if selection.group is not None and selection.group not in overview.context.catalogs.groups(line.name):
        return False
    node = selection.node
    if not (selection.failed or selection.queued or selection.running):
        return node is None or _may_run_on(overview, line, node) or node in running_on(line, instances)
    return bool(
        (selection.failed and (failed := failed_on(line, instances)) and node in (None, *failed))
        or (selection.queued and line.queued_since and (node is None or _may_run_on(overview, line, node)))
        or (selection.running and (there := running_on(line, instances)) and node in (None, *there))
    )


def _may_run_on(overview: Overview, line: Line, node: str) -> bool:
    row = overview.context.catalogs.rows(line.name).get(node)
    return bool(row and row["key"])


def running_on(line: Line, instances: Sequence[Instance]) -> set[str]:
    """The nodes where it runs."""
    return {run.value.node for run in line.runs} | {one.node for one in instances if one.is_up}


def failed_on(line: Line, instances: Sequence[Instance]) -> set[str]:
    """The nodes where it ended badly or is not well; of a unit that cannot be read none by name."""
    if line.status == "broken":
        return {""}
    if line.kind == "daemon":
        return {one.node for one in instances if _is_bad(one)}
    last = line.last_run
    return {last.node} if last is not None and last.outcome in _ENDED_BADLY else set()


def _is_bad(one: Instance) -> bool:
    unwell = one.is_up and one.told is not None and one.told.healthy is False
    return unwell or one.state in ("failed", "unknown", "program missing")


def meaning(line: Line, instances: Sequence[Instance]) -> str:
    """How it is, as `paint` and `mark` know it."""
    if line.runs and line.kind != "daemon":
        return "busy"
    if failed_on(line, instances):
        return "bad"
    if line.queued_since:
        return "waits"
    return "good" if line.status == "enabled" else "faint"
