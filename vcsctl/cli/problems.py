"""What is wrong, and what was changed by hand: the lines that come first. Prints nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vcsctl.cli import daemon_view
from vcsctl.cli.daemons import Instance
from vcsctl.cli.overview import Line, Overview, override_text
from vcsctl.cli.tables import listed


def problems(overview: Overview, names: Collection[str] | None, daemons: Mapping[str, Sequence[Instance]]) -> list[str]:
    """`names`: the services asked for, of whose units alone the faults count; None: all."""
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
    for where, differing in context.catalogs.differences.items():
        texts = [f"{service} ({what})" for service, what in differing.items() if names is None or service in names]
        if texts:
            found.append(f"node {where} differs: {listed(texts)}")
    found += [text for name, instances in daemons.items() for text in daemon_view.faults(name, instances)]
    return [f"problem: {text}" for text in dict.fromkeys(found)]


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
