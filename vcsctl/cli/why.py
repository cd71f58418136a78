"""why: what a service does next or did at a slot, and the facts behind it, by the functions that vcsd decides with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from vcsctl.cli.chain import KeyChain, Link, of_a_silent_node
from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.daemon_view import sentence
from vcsctl.cli.daemons import Instance
from vcsctl.cli.decisions import changed_since, of_daemon
from vcsctl.cli.layout import wrapped
from vcsctl.cli.moments import Moment, moment_option
from vcsctl.cli.orders import cell_of
from vcsctl.cli.overview import Overview, outdated_notes, override_text
from vcsctl.cli.slot_view import slot_links
from vcsctl.cli.tables import elsewhere, readable, when
from vcsctl.cli.targets import node_option, places
from vcsctl.cli.terminal import columns, paint
from vcsctl.domain.decision import Start, Wait
from vcsctl.domain.effective import fitting, in_force
from vcsctl.domain.run import to_text
from vcsctl.domain.unit import Daemon, FixedTime, Unit, schedule_text
from vcsctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    name: str
    node: str | None
    at: Moment | None


@click.command()
@click.argument("name")
@moment_option("--at", "at", help="What became of the slot of that moment, in the service's zone: 14:05, 2026-11-25.")
@node_option
@output_option
@click.pass_obj
def why(context: Context, name: str, at: Moment | None, node: str | None, output: str) -> None:
    """Explain what comes next, or became of a slot, and why.

    Example: vcsctl why calculator --at 14:05

    What is shown is in local time. A TIME without an offset is one of the service's time zone, which is named where it
    is another. A service that runs on each of its nodes is explained for all of them, or for --node.
    """
    asked = Asked(name, node, at)
    in_time(lambda: _why(context, asked, output), lambda: _why_here(context, asked, output))


def _why_here(context: Context, asked: Asked, output: str) -> None:
    """While the shared directory cannot be read: of a daemon that needs none its records lie on this machine."""
    own = context.of_this_machine()
    if own is not None and asked.name in own.published.units:
        if output == "table":
            show("by the records of this machine:")
        _why(own, asked, output)


def _why(context: Context, asked: Asked, output: str) -> None:
    parts = list(_parts(Overview(context), asked))
    if output == "json":
        show_json("why", [_plain(link, key) for key, links in parts for link in links])
        return
    several = sum(1 for key, _ in parts if key) > 1
    for key, links in parts:
        if key and several:
            show(f"{key}:")
        for link in links:
            for text in _lines(link, "  " if key and several else ""):
                show(text)


def _lines(link: Link, indent: str) -> Iterator[str]:
    """On a terminal no word is cut, and what goes on in the next line is indented."""
    label = link.text.removesuffix(link.fact).strip()
    for number, text in enumerate(readable(link.text).splitlines()):
        words = text.lstrip()
        lines = list(wrapped(words, columns(), len(indent) + len(text) - len(words), 4))
        if number == 0 and label:
            lines[0] = lines[0].replace(label, paint("strong", label), 1)
        yield from lines


def _plain(link: Link, key: str) -> dict[str, Any]:
    return {"link": link.link, "fact": link.fact, **({"key": key} if key else {}), **link.data}


def _parts(overview: Overview, asked: Asked) -> Iterator[tuple[str, list[Link]]]:
    """What is so of all its KEYs, then each KEY with what is so of it alone."""
    context, name = overview.context, asked.name
    row = context.row(name)
    keys = overview.keys_on(name, asked.node)
    if row["plain"] is None:
        yield "", list(_nothing_to_start(context, name))
        return
    is_daemon = isinstance(fitting(context.unit(name), overview.overrides.get(name))[0], Daemon)
    if asked.at is not None:
        if is_daemon:
            raise UsageError(f"{name} is a daemon: it has no slots; leave --at out")
        for key in keys:
            yield key, list(slot_links(KeyChain(overview, name, key), asked.at))
        return
    yield "", list(_declared(overview, name))
    if is_daemon:
        yield "", list(_facts_of_daemon(overview, name, asked.node))
        return
    for key in keys:
        yield key, list(KeyChain(overview, name, key).links())


def _nothing_to_start(context: Context, name: str) -> Iterator[Link]:
    masked = context.row(name)["masked"]
    what = "an empty file masks it" if masked else "its unit file is broken and was never good"
    fact = f"nothing starts it: {what}; see `vcsctl cat {name}` and `vcsctl status {name}`"
    yield Link("now", fact, data={"decision": "masked" if masked else "broken"})
    yield from _faults_of_file(context, name)


def _faults_of_file(context: Context, name: str) -> Iterator[Link]:
    for where, text in context.catalogs.problems():
        if f"/{name}.yaml" in text and ": warning: " not in text:
            yield Link("unit file", f"on {where}: {text}" if where else text)


def _declared(overview: Overview, name: str) -> Iterator[Link]:
    """What is the same for all its KEYs."""
    context = overview.context
    row, unit, override = context.row(name), context.unit(name), overview.overrides.get(name)
    current, unfit = fitting(unit, override)
    if unfit:
        yield Link("override", unfit)
    yield Link("declared", _status_text(context, unit), data={"enabled": unit.enabled, "schedule": schedule_text(unit)})
    counting = in_force(override, unit)
    for field, changed in counting.items():
        data = {"field": field, "value": changed.value, "by": changed.by, "at": to_text(changed.at)}
        yield Link("override", override_text(field, changed), data=data | {"reason": changed.reason})
    if counting and not unfit:
        yield Link(
            "effective",
            _status_text(context, current),
            data={"enabled": current.enabled, "schedule": schedule_text(current)},
        )
    for note in outdated_notes(name, (override.fields.keys() if override else set()) - counting.keys()):
        label, _, fact = note.partition(": ")
        yield Link("override", fact, label)
    if row["stale"]:
        yield Link("unit file", "broken; the last good version is in force")
        yield from _faults_of_file(context, name)
    for node, differing in context.catalogs.differences.items():
        if name in differing:
            yield Link("differs", differing[name], f"node {node} differs", {"node": node})
    if (union := context.catalogs.groups(name)) != tuple(sorted(unit.groups)):
        yield Link("groups", f"the nodes disagree; a run takes those of all known nodes: {', '.join(union)}")
    yield from _where(overview, name)


def _status_text(context: Context, unit: Unit) -> str:
    """The times of a fixed-time service are those of its zone."""
    text = f"{'enabled' if unit.enabled else 'disabled'}, {schedule_text(unit)}"
    if not isinstance(unit, FixedTime):
        return text
    zone = unit.timezone or context.published.timezone
    now = datetime.now(UTC)
    differs = any(elsewhere(now + timedelta(days=days), zone) for days in (0, 182))  # in summer or in winter
    return f"{text}, {zone}" if differs else text


def _where(overview: Overview, name: str) -> Iterator[Link]:
    """Which nodes may run it, and which of them can now; in a cell of one only what hinders it."""
    context, found = overview.context, []
    for place in places(context, name):
        found.append((place.node, place.hindrance(context.nodes.get(place.node))))
    data = {"nodes": {node: hindrance or None for node, hindrance in found}}
    if found and len(context.nodes) == 1:
        yield from (Link("nodes", hindrance, f"node {node}", data) for node, hindrance in found if hindrance)
        return
    fact = ", ".join(f"{node} ({hindrance or 'can now'})" for node, hindrance in found) or "no known node"
    yield Link("nodes", fact, "may run on", data)


def _facts_of_daemon(overview: Overview, name: str, node: str | None) -> Iterator[Link]:
    """How it is on each node, and what its node decides where that can be asked here."""
    found = overview.daemons.of(overview.line(name, overview.context.row(name)))
    found = [one for one in found if node in (None, one.node)]
    if not found:
        yield Link("now", "not running, and no known node may run it")
    told = set()  # of one that may run on any node each of them has the same run
    for one in found:
        data = {"key": one.key, "node": one.node, "state": one.state}
        yield Link("daemon", sentence(one), f"{one.key}{f' on {one.node}' if one.node else ''}", data)
        yield from _decided(overview, name, one)
        run = overview.running.get(one.key)
        if run is not None and one.key not in told:
            told.add(one.key)
            yield from of_a_silent_node(overview.context, run)


def _decided(overview: Overview, name: str, one: Instance) -> Iterator[Link]:
    """Indented below its daemon, of which it tells."""
    paths = cell_of(overview.context, overview.context.unit(name), one.node)
    if paths is None or one.state == "unknown":
        return  # only its own node knows
    found, decision = of_daemon(overview, name, one, paths)
    data = {"key": one.key, "node": one.node}
    if found.run is not None:
        end = f"{found.end.value.outcome}: {found.end.value.why}" if found.end else "no outcome yet"
        began = when(found.run.at, datetime.now(UTC))  # why it was claimed is no more so since
        fact = f"{found.run.value.run_id} on {found.runs_on}, {began}, the reason then: {found.run.value.why}; {end}"
        yield Link("last claim", fact, "  last claim", data)
    blocked = overview.waits_for(one.key) if isinstance(decision, Start | Wait) else ""
    fact = "; ".join(dict.fromkeys(filter(None, (decision.why, *(_way_out(overview, name, one) or (blocked,))))))
    yield Link("now", fact, "  now", data | {"decision": type(decision).__name__.lower()})
    if changed := changed_since(overview, name, one):
        yield Link("changed", changed, "  ", data)


def _way_out(overview: Overview, name: str, one: Instance) -> tuple[str, ...]:
    """What its node lacks to start it, and what would mend that."""
    place = next((one_of for one_of in places(overview.context, name) if one_of.node == one.node), None)
    if place is None or one.state not in ("drained", "program missing", "waiting"):
        return ()
    remedy = place.remedy(overview.context.nodes.get(one.node))
    missing = f"program missing: {place.missing}" if place.missing else ""
    return (missing, f"it starts when {remedy}") if remedy else ()


COMMANDS: dict[str, click.Command] = {"why": why}
