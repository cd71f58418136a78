"""why: what a service does next and the facts behind it, by the same functions that vcsd decides with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from vcsctl.cli.context import Context, in_time, show
from vcsctl.cli.daemon_view import sentence
from vcsctl.cli.daemons import Instance
from vcsctl.cli.decisions import changed_since, of_daemon, service_seen
from vcsctl.cli.orders import cell_of
from vcsctl.cli.overview import Overview, outdated_notes
from vcsctl.cli.tables import local, value_text
from vcsctl.cli.targets import node_option, places
from vcsctl.domain.decision import Start, Wait
from vcsctl.domain.effective import fitting, in_force
from vcsctl.domain.reconcile import decide
from vcsctl.domain.run import Claim, to_text
from vcsctl.domain.unit import schedule_text
from vcsctl.errors import StorageError
from vcsctl.store import state
from vcsctl.store.mounts import Storage, storage_of
from vcsctl.store.records import Stored
from vcsctl.vcsd.observe import Observer


@click.command()
@click.argument("name")
@node_option
@click.pass_obj
def why(context: Context, name: str, node: str | None) -> None:
    """Explain what a service does next, and why.

    Example: vcsctl why backup-manager

    One that runs on each of its nodes is explained for all of them, or for --node.
    """
    in_time(lambda: _why(context, name, node), lambda: _why_here(context, name, node))


def _why_here(context: Context, name: str, node: str | None) -> None:
    """While the shared directory cannot be read: of a daemon that needs none its records lie on this machine."""
    own = context.of_this_machine()
    if own is not None and name in own.published.units:
        show("by the records of this machine:")
        _why(own, name, node)


def _why(context: Context, name: str, node: str | None) -> None:
    overview = Overview(context)
    row = context.row(name)
    keys = overview.keys_on(name, node)
    if row["plain"] is None:
        what = "an empty file masks it" if row["masked"] else "its unit file is broken and was never good"
        show(f"nothing starts it: {what}; see `vcsctl cat {name}` and `vcsctl status {name}`")
        return
    for text in _declared(overview, name):
        show(text)
    if row["plain"]["schedule"] == "daemon":
        for text in _facts_of_daemon(overview, name, node):
            show(text)
        return
    for key in keys:
        indent = "  " if len(keys) > 1 else ""
        if indent:
            show(f"{key}:")
        for text in _facts(overview, name, key):
            show(f"{indent}{text}")


def _declared(overview: Overview, name: str) -> Iterator[str]:
    """What is the same for all its KEYs."""
    context = overview.context
    row, unit, override = context.row(name), context.unit(name), overview.overrides.get(name)
    _, unfit = fitting(unit, override)
    if unfit:
        yield unfit
    yield f"declared: {'enabled' if unit.enabled else 'disabled'}, {schedule_text(unit)}"
    counting = in_force(override, unit)
    for field, changed in counting.items():
        reason = f" ({changed.reason})" if changed.reason else ""
        yield f"override: {field}={value_text(changed.value)} by {changed.by} at {local(changed.at)}{reason}"
    yield from outdated_notes(name, (override.fields.keys() if override else set()) - counting.keys())
    if row["stale"]:
        yield "unit file: broken; the last good version is in force"
    for node, differing in context.catalogs.differences.items():
        if name in differing:
            yield f"node {node} differs: {differing[name]}"
    if (union := context.catalogs.groups(name)) != tuple(sorted(unit.groups)):
        yield f"groups: the nodes disagree; a run takes those of all known nodes: {', '.join(union)}"
    yield from _where(overview, name)


def _where(overview: Overview, name: str) -> Iterator[str]:
    """Which nodes may run it, and which of them can now; in a cell of one only what hinders it."""
    context, found = overview.context, []
    for place in places(context, name):
        node = context.nodes.get(place.node)
        missing = f"program missing: {place.missing}" if place.missing else ""
        found.append((place.node, "; ".join(filter(None, (node.hindrance if node else "", missing)))))
    if len(context.nodes) == 1:
        yield from (hindrance for _, hindrance in found if hindrance)
    elif found:
        yield "may run on: " + ", ".join(f"{node} ({hindrance or 'can now'})" for node, hindrance in found)
    else:
        yield "may run on: no known node"


def _facts_of_daemon(overview: Overview, name: str, node: str | None) -> Iterator[str]:
    """How it is on each node, and what its node decides where that can be asked here."""
    found = overview.daemons.of(overview.line(name, overview.context.row(name)))
    found = [one for one in found if node in (None, one.node)]
    if not found:
        yield "now: not running, and no known node may run it"
    told = set()  # of one that may run on any node each of them has the same run
    for one in found:
        yield f"{one.key}{f' on {one.node}' if one.node else ''}: {sentence(one)}"
        yield from (f"  {text}" for text in _decided(overview, name, one))
        run = overview.running.get(one.key)
        if run is not None and one.key not in told:
            told.add(one.key)
            yield from _of_a_silent_node(overview.context, run)


def _decided(overview: Overview, name: str, one: Instance) -> Iterator[str]:
    paths = cell_of(overview.context, overview.context.unit(name), one.node)
    if paths is None or one.state == "unknown":
        return  # only its own node knows
    found, decision = of_daemon(overview, name, one, paths)
    if found.run is not None:
        end = f"{found.end.value.outcome}: {found.end.value.why}" if found.end else "no outcome yet"
        yield f"last claim: {found.run.value.run_id} on {found.runs_on}, {found.run.value.why}; {end}"
    blocked = overview.waits_for(one.key) if isinstance(decision, Start | Wait) else ""
    lacking = f"program missing: {one.why}" if one.state == "program missing" else ""
    yield f"now: {'; '.join(dict.fromkeys(filter(None, (decision.why, lacking or blocked))))}"
    if changed := changed_since(overview, name, one):
        yield changed


def _facts(overview: Overview, name: str, key: str) -> Iterator[str]:
    context = overview.context
    service = service_seen(overview, name, key)
    observer = Observer(context.paths, state.StateReader(context.paths, overview.faults))
    found = observer.state(key)
    if found.run is not None:
        end = f"{found.end.value.outcome}: {found.end.value.why}" if found.end else "no outcome yet"
        yield f"last claim: {found.run.value.run_id} on {found.run.value.node}, {found.run.value.why}; {end}"
    if found.watermark:
        yield f"slots up to {to_text(found.watermark)} are claimed"
    groups = context.catalogs.groups(name)
    view = observer.view(service, found, overview.pending.get(key), groups, live=key in overview.running)
    decision = decide(view, datetime.now(UTC))
    if isinstance(decision, Start | Wait):
        place = overview.pending[key].place if key in overview.pending else None
        yield f"in queue since {local(place)}" if place else "not in the queue yet"
        reasons = dict.fromkeys((decision.why, overview.waits_for(key)))
        yield f"now: {'; '.join(reasons)}"
    else:
        yield f"now: {decision.why}"
    for run in overview.in_its_way(key):
        yield from _of_a_silent_node(context, run)


def _of_a_silent_node(context: Context, run: Stored[Claim]) -> Iterator[str]:
    """Others try the lock of such a run at each heartbeat: while it has no outcome its lock is held."""
    node = context.nodes.get(run.value.node)
    if node is None or not node.is_silent:
        return
    told = f"{run.value.run_id}: vcsd on its node {node.name} has been {node.silence}"
    if all(other.is_silent for other in context.nodes.values()):
        yield f"{told}, and no other node is up that could look whether its lock is free"
        return
    yield f"{told}; its lock is still held, or it would be recorded lost: it may go on there"
    with contextlib.suppress(StorageError):  # where the kernel does not say, there is no advice to give
        yield from _advice(node.name, storage_of(context.paths.root))


def _advice(node: str, storage: Storage) -> Iterator[str]:
    if storage.mount.nfs_version == "3":
        address = storage.mount.value("addr") or "ADDRESS"
        yield f"if {node} is dead: NFS 3 keeps its locks until it is up again, or until the file server is told:"
        yield f"see that {node} is off, stop the other nodes' runs (their locks are freed too), and on the server do"
        yield f"  echo {address} > /proc/fs/nfsd/unlock_ip    # the server's own address; see docs/storage.md"
    elif storage.lease_s is not None:
        yield f"if {node} is dead: the file server gives its locks away when its lease of {storage.lease_s:g} s is over"


COMMANDS: dict[str, click.Command] = {"why": why}
