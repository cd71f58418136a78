"""What is wrong, and what was changed by hand: the lines that come first. Prints nothing."""

from __future__ import annotations

import _socket  # what `socket` adds to it takes a tenth of the time that `status` has
import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vcsctl.cli import daemon_view
from vcsctl.cli.context import Context
from vcsctl.cli.overview import Line, Overview, override_text
from vcsctl.cli.tables import listed

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Instance


def problems(
    overview: Overview,
    names: Collection[str] | None,
    daemons: Mapping[str, Sequence[Instance]],
    lines: Sequence[Line],
    *,
    in_detail: bool,
) -> list[str]:
    """`names`: the services asked for, of whose units alone the faults count; None: all. `lines`: those that are shown,
    `in_detail`: the one."""
    context = overview.context
    found = [
        f"on {where}: {text}" if where else text
        for where, text in context.catalogs.problems()
        if ": warning: " not in text and (names is None or any(f"/{name}.yaml" in text for name in names))
    ]
    found += map(str, overview.faults.problems.values())
    found += _faults_of_nodes(overview)
    for node in context.nodes.values():
        found += node.problems
    found += _without_vcsd(overview)
    for where, differing in context.catalogs.differences.items():
        texts = [f"{service} ({what})" for service, what in differing.items() if names is None or service in names]
        if texts:
            found.append(f"node {where} differs: {listed(texts)}")
    found += [text for name, instances in daemons.items() for text in daemon_view.faults(name, instances)]
    enabled = [line.name for line in lines if line.status == "enabled"]
    if in_detail:
        found += [text for name in enabled for text in _missing_on_each(context, name)]
    else:
        found += _missing_programs(context, enabled)
    return [f"problem: {text}" for text in dict.fromkeys(found)]


def _missing_programs(context: Context, names: Sequence[str]) -> Iterator[str]:
    """By the rows that are read already: those of other nodes of the same catalog would take longer than all else."""
    catalogs, published = context.catalogs, context.published
    lacking = dict[tuple[str, str], list[str]]()
    for name in names:
        rows = {published.node: published.units[name]} if catalogs.agree else catalogs.rows(name)
        for node, row in sorted(rows.items()):
            if row["missing"] and row["key"]:
                lacking.setdefault((name, row["missing"]), []).append(node)
    if len(lacking) > 1:
        each = listed(f"{name} ({program})" for name, program in lacking)
        yield f"program missing: {each}; install them; `vcsctl status NAME` says on which nodes"
        return
    for (name, program), where in lacking.items():
        yield _lacks(context, name, program, where)


def _lacks(context: Context, name: str, program: str, where: Sequence[str]) -> str:
    on, there = (f" on {listed(where)}", " there") if len(context.nodes) > 1 else ("", "")
    return f"{name}: program missing{on}: {program}; install it{there}"


def _missing_on_each(context: Context, name: str) -> Iterator[str]:
    """By what the nodes published, and on this machine by a look: too dear for all services."""
    from vcsctl.cli.targets import places  # here, since the tables need no units

    lacking = dict[str, list[str]]()
    for place in places(context, name):
        if place.missing:
            lacking.setdefault(place.missing, []).append(place.node)
    for program, where in lacking.items():
        yield _lacks(context, name, program, where)


def _without_vcsd(overview: Overview) -> list[str]:
    """What its absence means for all that is shown."""
    context, own = overview.context, overview.context.nodes.get(overview.context.config.node)
    if context.nodes and all(node.is_silent for node in context.nodes.values()):
        text = "no vcsd of this cell gives a sign of life; one that has only just been started needs a moment"
        until = "no slot and no request is started until then"
        return [f"{text}: {until}; what already runs goes on, and its outcome is shown"]
    if own is not None and not own.is_silent and _refuses(context.where.socket):
        text = "does not run, or has only just been started; until it answers it starts nothing new"
        return [f"vcsd on node {own.name} {text}"]
    return []


def _refuses(path: str) -> bool:
    """Whether whoever made that socket is no more. Its heartbeat would tell so only after a while."""
    with contextlib.closing(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # it is busy, or is not for us to ask, or there is none to be asked
            return False
    return False


def _faults_of_nodes(overview: Overview) -> list[str]:
    """What the nodes say of themselves; what several say is one problem, of the shared directory most likely."""
    nodes, told = overview.context.nodes, dict[str, list[str]]()
    for node in nodes.values():
        for text in node.state.faults if node.state else ():
            told.setdefault(text, []).append(node.name)
    return [f"on {', '.join(where)}: {text}" if len(nodes) > 1 else text for text, where in told.items()]


def overrides(lines: Sequence[Line]) -> list[str]:
    """Those in force, one line a service."""
    return [
        f"override: {line.name}: {'; '.join(override_text(key, one) for key, one in line.overrides.items())}"
        for line in lines
        if line.overrides
    ]
