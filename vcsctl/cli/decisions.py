"""What vcsd decides of a KEY, asked of the same functions with what a command can see. Prints nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from vcsctl.cli.daemons import Instance
from vcsctl.cli.orders import cell_of
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import listed
from vcsctl.cli.targets import places
from vcsctl.domain.decision import Decision
from vcsctl.domain.effective import fitting
from vcsctl.domain.reconcile import decide
from vcsctl.domain.unit import Daemon, from_plain, late_changes, schedule_of
from vcsctl.store import state
from vcsctl.store.paths import Paths
from vcsctl.store.state import KeyState
from vcsctl.vcsd.observe import Observer, daemon_facts
from vcsctl.vcsd.services import Service, schedule_digest


def service_seen(overview: Overview, name: str, key: str) -> Service:
    """The service as the KEY's node declares it."""
    context = overview.context
    row = context.catalogs.rows(name).get(key.partition("@")[2])
    unit = from_plain(row["plain"]) if row and row["plain"] else context.unit(name)
    override = overview.overrides.get(name)
    current, _ = fitting(unit, override)
    schedule = None if isinstance(current, Daemon) else schedule_of(current, context.published.timezone)
    moment = override.moment if override else None
    return Service(name, key, unit, current, schedule, schedule_digest(current, schedule), moment)


def of_daemon(overview: Overview, name: str, one: Instance, paths: Paths) -> tuple[KeyState, Decision]:
    """What is on record of it, and what its node decides."""
    context, service = overview.context, service_seen(overview, name, one.key)
    observer = Observer(paths, state.StateReader(paths, overview.faults))
    found = observer.state(one.key)
    known = context.nodes.get(one.node)
    able, others = [], []
    for place in places(context, name):
        if place.key == one.key and place.node != one.node:
            others.append(place.node)
            there = context.nodes.get(place.node)
            if there is not None and not there.hindrance and not place.missing:
                able.append(place.node)
    facts = daemon_facts(
        service,
        found,
        node=one.node,
        drained=known is not None and (known.asked_to_drain or known.is_drained),
        others=others,
        able=able,
        boot_ids={node.name: node.state.boot_id for node in context.nodes.values() if node.state},
    )
    groups = context.catalogs.groups(name)
    view = observer.view(service, found, overview.pending.get(one.key), groups, live=one.told is not None)
    view = replace(view, daemon=facts, live=view.live or one.key in overview.running)
    return found, decide(view, datetime.now(UTC))


def changed_since(overview: Overview, name: str, one: Instance) -> str:
    """Which keys its live run does not go by yet, as a sentence. Empty also where that is not known here: the claim of
    one that needs no share lies on its own node."""
    service = service_seen(overview, name, one.key)
    paths = cell_of(overview.context, service.unit, one.node)
    if paths is None or one.told is None or one.state == "unknown":
        return ""
    found = state.read_key(paths, one.key, overview.faults).run
    if found is None or found.value.run_id != one.told.run_id:
        return ""
    try:
        before = from_plain(found.value.unit or {})
    except (KeyError, TypeError, ValueError):  # of another version
        return ""
    if not isinstance(before, Daemon) or not isinstance(service.effective, Daemon):
        return ""
    changes = late_changes(before, service.effective)
    return f"its unit changed since ({listed(changes)}); in force after `vcsctl restart {name}`" if changes else ""
