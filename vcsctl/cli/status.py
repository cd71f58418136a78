"""status: all services as tables, or one in detail; what is wrong comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from vcsctl.cli import daemon_view
from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.daemons import Instance, own_daemons
from vcsctl.cli.history import plain_row
from vcsctl.cli.lock_view import lock_lines, plain_locks
from vcsctl.cli.overview import KINDS, NO_KIND, Line, Overview
from vcsctl.cli.tables import listed, local, seconds, table
from vcsctl.domain.history import Row
from vcsctl.domain.run import Claim, service_of, to_text
from vcsctl.runners.leftovers import log_path_of_daemon
from vcsctl.store.records import Stored

HEADER = ("STATUS", "NAME", "SCHEDULE", "ALLOWED NODES", "RUN GROUPS", "LAST RUN", "IN QUEUE")


@click.command()
@click.argument("name", required=False)
@output_option
@click.pass_obj
def status(context: Context, name: str | None, output: str) -> None:
    """Show all services, or one.

    Example: vcsctl status calculator
    """
    in_time(lambda: _status(context, name, output), lambda: _of_this_machine(context, name, output))


def _status(context: Context, name: str | None, output: str) -> None:
    overview = Overview(context)
    lines = [overview.line(name, context.row(name))] if name is not None else overview.lines()
    instances = {line.name: overview.daemons.of(line) for line in lines if line.kind == "daemon"}
    problems = _problems(context, overview, name)
    problems += [
        f"problem: {text}" for service, found in instances.items() for text in daemon_view.faults(service, found)
    ]
    if output == "json":
        beside: dict[str, Any] = {}
        if name is None:
            beside["locks"] = plain_locks(overview)
        else:
            beside["keys"] = [_plain_key(overview, key) for key in overview.keys(name)]
        if name in instances:
            beside["log_lines"] = {one.key: _log_tail(overview, one) for one in instances[name]}
        services = [_plain(line, instances.get(line.name)) for line in lines]
        show_json("services", services, problems=problems, **beside)
        return
    for problem in problems:
        show(problem)
    for kind, title in KINDS:
        several = len(context.nodes) > 1
        rows = [_cells(line, instances.get(line.name, ()), several) for line in lines if line.kind == kind]
        if rows:
            show(f"{title}")
            for text in table(HEADER, rows):
                show(f"  {text}")
            show("")
    if name is not None:
        _details(overview, lines[0], instances.get(name, ()))
        return
    for text in lock_lines(overview):
        show(text)
    if any(line.notes for line in lines):
        show("* `vcsctl status NAME` says more")


def _of_this_machine(context: Context, name: str | None, output: str) -> None:
    """While the shared directory cannot be read: what the runners of this machine tell of their daemons."""
    told = [one for one in own_daemons(context).values() if name in (None, service_of(one.key))]
    found = [Instance(one.key, one.node, one.phase, one.since, "", one) for one in told]
    found += [one for one in _at_rest_here(context, name) if one.key not in {one.key for one in told}]
    found.sort(key=lambda one: one.key)
    if output == "json":
        show_json("instances", [daemon_view.plain(one) for one in found])
        return
    if found:
        show("daemons of this machine, as their runners tell:")
    for one in found:
        for text in daemon_view.details(one, log_path_of_daemon(context.config.log_dir, one.key) if name else ""):
            show(f"  {text}")


def _at_rest_here(context: Context, name: str | None) -> Iterator[Instance]:
    """Daemons that need no shared directory and do not run: of these this machine's own cell tells."""
    own = context.of_this_machine()
    if own is None or name not in (None, *own.published.units):
        return
    overview = Overview(own)
    for line in [overview.line(name, own.row(name))] if name is not None else overview.lines():
        yield from (one for one in overview.daemons.of(line) if one.node == context.config.node)


def _details(overview: Overview, line: Line, instances: Sequence[Instance]) -> None:
    from vcsctl.cli.decisions import changed_since  # here, since what it loads would delay the table of all services

    if line.kind != NO_KIND:
        if line.title or line.description:
            show(": ".join(filter(None, (line.title, line.description))))
        show(f"provider: {line.provider}")
    for note in line.notes:
        show(note)
    for instance in instances:
        changed = changed_since(overview, line.name, instance)
        for text in daemon_view.details(instance, _log_here(overview, instance), changed):
            show(text)
    keys = overview.keys(line.name)
    if keys != [line.name] and not instances:
        for text in table(("KEY", "LAST RUN", "IN QUEUE"), [_key_cells(overview, key) for key in keys]):
            show(text)


def _log_here(overview: Overview, instance: Instance) -> str:
    """The path of its log on this machine; empty where it is another's."""
    config = overview.context.config
    return log_path_of_daemon(config.log_dir, instance.key) if instance.node == config.node else ""


def _log_tail(overview: Overview, instance: Instance) -> list[str]:
    path = _log_here(overview, instance)
    return daemon_view.log_tail(path) if path else []


def _key_cells(overview: Overview, key: str) -> tuple[str, ...]:
    run, pending = overview.running.get(key), overview.pending.get(key)
    last = _last_words((run,) if run else (), overview.last_of_key.get(key), False)
    return key, last, _queue_words(pending.place, overview.waits_for(key)) if pending else "-"


def _plain_key(overview: Overview, key: str) -> dict[str, Any]:
    run, pending, last = overview.running.get(key), overview.pending.get(key), overview.last_of_key.get(key)
    return {
        "key": key,
        "running": run.value.run_id if run else None,
        "last_run": plain_row(last) if last else None,
        "queued_since": to_text(pending.place) if pending and pending.place else None,
        "waits_for": overview.waits_for(key) if pending else None,
    }


def _problems(context: Context, overview: Overview, name: str | None) -> list[str]:
    """What is wrong comes first; of the unit files' faults, those of the service asked for."""
    found = [
        f"on {where}: {text}" if where else text
        for where, text in context.catalogs.problems()
        if ": warning: " not in text and (not name or f"/{name}.yaml" in text)
    ]
    found += map(str, overview.faults.problems.values())
    found += _faults_of_nodes(context)
    for node in context.nodes.values():
        found += node.problems
    for where, differing in context.catalogs.differences.items():
        texts = [f"{service} ({what})" for service, what in differing.items() if name in (None, service)]
        if texts:
            found.append(f"node {where} differs: {listed(texts)}")
    return [f"problem: {text}" for text in dict.fromkeys(found)]


def _faults_of_nodes(context: Context) -> list[str]:
    """What the nodes say of themselves; what several say is one problem, of the shared directory most likely."""
    told: dict[str, list[str]] = {}
    for node in context.nodes.values():
        for text in node.state.faults if node.state else ():
            told.setdefault(text, []).append(node.name)
    return [f"on {', '.join(where)}: {text}" if len(context.nodes) > 1 else text for text, where in told.items()]


def _cells(line: Line, instances: Sequence[Instance], where: bool) -> tuple[str, ...]:
    """`where`: say on which nodes it runs, which goes without saying in a cell of one."""
    notes = " *" if line.notes else ""
    allowed, groups = ", ".join(line.allowed_nodes) or "all", ", ".join(line.run_groups) or "-"
    last, queued = _last_words(line.runs, line.last_run, where), _queue_words(line.queued_since, line.waits_for)
    last = daemon_view.cell_words(instances, where) or last
    return (line.status + notes, line.name, line.schedule, allowed, groups, last, queued)


def _last_words(runs: Sequence[Stored[Claim]], last: Row | None, where: bool) -> str:
    if runs:
        nodes = f" on {listed(sorted(run.value.node for run in runs))}" if where else ""
        return f"running since {local(runs[0].at)}{nodes}"
    if last is None:
        return "-"
    node = f" on {last.node}" if where else ""
    return f"{local(last.at)} {last.outcome} {seconds(last.duration_s)}".rstrip() + node


def _queue_words(since: datetime | None, waits_for: str) -> str:
    return f"since {local(since)}, {waits_for}" if since else "-"


def _plain(line: Line, instances: Sequence[Instance] | None) -> dict[str, Any]:
    of_a_daemon = {} if instances is None else {"instances": [daemon_view.plain(one) for one in instances]}
    return {
        "status": line.status,
        "name": line.name,
        "title": line.title,
        "description": line.description,
        "provider": line.provider,
        "kind": line.kind,
        "schedule": line.schedule,
        "allowed_nodes": list(line.allowed_nodes),
        "run_groups": list(line.run_groups),
        "running": line.runs[0].value.run_id if line.runs else None,
        "runs": [{"id": run.value.run_id, "node": run.value.node, "since": to_text(run.at)} for run in line.runs],
        "last_run": plain_row(line.last_run) if line.last_run else None,
        "queued_since": to_text(line.queued_since) if line.queued_since else None,
        "waits_for": line.waits_for or None,
        "notes": list(line.notes),
        **of_a_daemon,
    }


COMMANDS: dict[str, click.Command] = {"status": status}
