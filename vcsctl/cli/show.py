"""status, queue, history, logs: reading commands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

import click

from vcsctl.cli import daemon_view
from vcsctl.cli.context import Context, in_time, show, show_json
from vcsctl.cli.daemons import Instance, own_daemons
from vcsctl.cli.lock_view import lock_lines, plain_locks
from vcsctl.cli.overview import KINDS, NO_KIND, Line, Overview
from vcsctl.cli.tables import listed, local, seconds, table
from vcsctl.domain.history import Row
from vcsctl.domain.run import LOCK, Claim, parse_run_id, service_of, to_text
from vcsctl.domain.values import NAME_PATTERN
from vcsctl.errors import NotRunningError, UsageError
from vcsctl.runners.leftovers import log_path_of_daemon
from vcsctl.store import history
from vcsctl.store.records import Stored

HEADER = ("STATUS", "NAME", "SCHEDULE", "ALLOWED NODES", "RUN GROUPS", "LAST RUN", "IN QUEUE")
output_option = click.option(
    "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer."
)
_FOLLOW_PAUSE_S = 0.2


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
        "last_run": _row(last) if last else None,
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
        "last_run": _row(line.last_run) if line.last_run else None,
        "queued_since": to_text(line.queued_since) if line.queued_since else None,
        "waits_for": line.waits_for or None,
        "notes": list(line.notes),
        **of_a_daemon,
    }


def _row(row: Row) -> dict[str, Any]:
    return {key: to_text(value) if isinstance(value, datetime) else value for key, value in asdict(row).items()}


@click.command()
@output_option
@click.pass_obj
def queue(context: Context, output: str) -> None:
    """Show what waits, since when and for what."""
    in_time(lambda: _queue(context, output))


def _queue(context: Context, output: str) -> None:
    overview = Overview(context)
    entries = []
    for pending in overview.queue:
        what = [queued.request.id for queued in pending.requests]
        what += [f"slot {to_text(pending.slots_first)}"] if pending.slots_first else []
        entries.append((pending.key, pending.place, what, overview.waits_for(pending.key)))
    if output == "json":
        fields = ("key", "since", "entries", "waits_for")
        rows = [(key, to_text(place) if place else None, what, why) for key, place, what, why in entries]
        show_json("queue", [dict(zip(fields, row, strict=True)) for row in rows])
        return
    if entries:
        cells = [(key, local(place), ", ".join(what), why) for key, place, what, why in entries]
        for text in table(("KEY", "SINCE", "ENTRIES", "WAITS FOR"), cells):
            show(text)


@click.command(name="history")
@click.argument("name")
@click.option("-n", "--lines", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many rows.")
@output_option
@click.pass_obj
def history_command(context: Context, name: str, lines: int, output: str) -> None:
    """Show the recorded outcomes of a service, the newest last."""
    in_time(lambda: _history(context, name, lines, output))


def _history(context: Context, name: str, lines: int, output: str) -> None:
    # A service whose unit is gone keeps its history.
    known = bool(NAME_PATTERN.fullmatch(name))
    rows = list(reversed(list(islice(history.read(context.paths, name), lines)))) if known else []
    if not rows and name != LOCK:
        context.row(name)
    if output == "json":
        show_json("history", [_row(row) for row in rows])
        return
    header = ("AT", "RUN", "NODE", "OUTCOME", "TRIGGER", "DURATION", "WHY")
    cells = [
        (
            local(r.at),
            r.id,
            r.node,
            r.outcome,
            r.trigger,
            seconds(r.duration_s),
            r.why + (f" ({r.count} slots)" if r.count > 1 else ""),
        )
        for r in rows
    ]
    for text in table(header, cells) if cells else ():
        show(text)


@click.command()
@click.argument("name")
@click.option("--run", "run_id", metavar="RUN", help="A run's id, as `history` shows it; default: the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added.")
@click.pass_obj
def logs(context: Context, name: str, run_id: str | None, follow: bool) -> None:
    """Print the log of a run.

    Example: vcsctl logs calculator -f
    """
    if run_id is not None and (service_of(run_id.rpartition(".")[0]) != name or not parse_run_id(run_id)):
        raise UsageError(f"{run_id!r} is no run of {name}; take one from `vcsctl history {name}`")
    # The logs are on this node's own disk: they can be read while the shared directory does not answer.
    if run_id is not None and (whole := _log_of_daemon(context, name)):
        raise UsageError(f"{name} is a daemon: its log {whole} goes on over all its runs; leave --run out")
    path = _newest_log(context, name, run_id)
    if path is None:
        in_time(lambda: _no_log(context, name, run_id))
        return
    while path:
        _print_log(path, lambda: _newest_log(context, name, run_id) if follow else None)
        path = _newest_log(context, name, run_id) if follow else None


def _no_log(context: Context, name: str, run_id: str | None) -> None:
    context.row(name)
    raise NotRunningError(f"no log of {run_id or name} on this node; `vcsctl history {name}` says where it ran")


def _newest_log(context: Context, name: str, run_id: str | None) -> str | None:
    if run_id is None and (whole := _log_of_daemon(context, name)):
        return whole
    folder = f"{context.config.log_dir}/{name}"
    if not NAME_PATTERN.fullmatch(name) or not os.path.isdir(folder):
        return None
    names = [f"{run_id}.log"] if run_id else [entry for entry in os.listdir(folder) if entry.endswith(".log")]
    paths = [f"{folder}/{entry}" for entry in names if os.path.isfile(f"{folder}/{entry}")]
    return max(paths, key=_number_of_log, default=None)


def _log_of_daemon(context: Context, name: str) -> str:
    """The log of a daemon on this machine; empty where there is none."""
    config = context.config
    if not NAME_PATTERN.fullmatch(name):
        return ""
    paths = [log_path_of_daemon(config.log_dir, key) for key in (name, f"{name}@{config.node}")]
    found = [path for path in paths if os.path.isfile(path)]
    return max(found, key=os.path.getmtime, default="")


def _number_of_log(path: str) -> int:
    """By the run's number: a rotation gives an old log a new time."""
    run = parse_run_id(os.path.basename(path).removesuffix(".log"))
    return run[1] if run else 0


def _print_log(path: str, newest: Callable[[], str | None]) -> None:
    """Prints a log until `newest` names another one, or its name another file, and all of it."""
    with open(path, "rb") as file:
        over = False
        while True:
            if data := file.read(1 << 16):
                click.echo(data, nl=False)
            elif over:
                return
            elif os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)  # it was emptied: what it held is in an older part
            elif newest() == path and _is_still(path, file.fileno()):
                time.sleep(_FOLLOW_PAUSE_S)
            else:
                over = True  # one more look: what was written before the other log began


def _is_still(path: str, descriptor: int) -> bool:
    """Whether a name is that file's: a log that grew too large gets another name, and begins anew."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


COMMANDS: dict[str, click.Command] = {"status": status, "queue": queue, "history": history_command, "logs": logs}
