"""What can be said of this machine's daemons while the shared directory cannot be read."""

from __future__ import annotations

from collections.abc import Iterator

from vcsctl.cli import daemon_view
from vcsctl.cli.context import Context, show, show_json
from vcsctl.cli.daemons import Instance, own_daemons
from vcsctl.cli.overview import Overview
from vcsctl.cli.selection import Selection
from vcsctl.domain.run import service_of
from vcsctl.runners.leftovers import log_path_of_daemon


def show_daemons(context: Context, selection: Selection, output: str) -> None:
    """While the shared directory cannot be read: what the runners of this machine tell of their daemons."""
    told = [one for one in own_daemons(context).values() if selection.names_it(service_of(one.key))]
    found = [Instance(one.key, one.node, one.phase, one.since, "", one) for one in told]
    found += [one for one in _at_rest_here(context, selection) if one.key not in {one.key for one in told}]
    found.sort(key=lambda one: one.key)
    if output == "json":
        show_json("instances", [daemon_view.plain(one) for one in found])
        return
    if found:
        show("daemons of this machine, as their runners tell:")
    for one in found:
        log = log_path_of_daemon(context.config.log_dir, one.key) if selection.only else ""
        for text in daemon_view.details(one, log):
            show(f"  {text}")


def _at_rest_here(context: Context, selection: Selection) -> Iterator[Instance]:
    """Daemons that need no shared directory and do not run: of these this machine's own cell tells."""
    own = context.of_this_machine()
    if own is None:
        return
    overview = Overview(own)
    for name, row in sorted(own.published.units.items()):
        if selection.names_it(name):
            line = overview.line(name, row)
            yield from (one for one in overview.daemons.of(line) if one.node == context.config.node)
