"""What `simulate` and `advise` start from, gathered from the shared directory: the KEYs as they are now or at rest, how
long their runs last, and which services can start nothing. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from statistics import median

import click

from vcsctl.cli.cell_nodes import why_none_can
from vcsctl.cli.context import Context
from vcsctl.cli.decisions import service_seen
from vcsctl.cli.hints import likely
from vcsctl.cli.overview import Overview
from vcsctl.cli.progress import along
from vcsctl.cli.targets import Place, places
from vcsctl.domain.decision import KeyView
from vcsctl.domain.effective import RETIMING, fitting, in_force
from vcsctl.domain.forecast import Live, Outset, at_rest, held_for_good
from vcsctl.domain.run import service_of
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, TimedUnit, Unit
from vcsctl.domain.values import parse_duration
from vcsctl.errors import UnknownUnitError, UsageError
from vcsctl.store import history, state
from vcsctl.vcsd.observe import Observer

ASSUMED_S = 10.0  # what a run lasts of which nothing is known
_MOST_RUNS = 100  # enough for their spread, and young enough to be like the next ones
_LOOK_BACK = 1000  # rows: where so many hold no run that went well, older ones tell nothing of today

durations_option = click.option(
    "--duration", "given", metavar="NAME=TIME", multiple=True, help="What a run of NAME lasts, for example 90s."
)
all_option = click.option(
    "--all", "everything", is_flag=True, help="As if every service were enabled and its program there."
)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What the runs of a service last, one after the other, and where that is known from."""

    seconds: tuple[float, ...]
    source: str

    @property
    def usual_s(self) -> float:
        return median(self.seconds)

    @property
    def mean_s(self) -> float:
        return sum(self.seconds) / len(self.seconds)


_ASSUMED = Lasting((ASSUMED_S,), "assumed")
_NONE_WENT_WELL = replace(_ASSUMED)  # as long; what differs is why


@dataclass(slots=True)
class Gathered:
    """`units` are the timed services that are played, `keys` what runs of them. `never`: those that are enabled and
    can start nothing, each with the reason; `idle`: those that are not to start anything, and daemons that cannot.
    `silent`: nodes that are taken for up."""

    start: datetime
    until: datetime
    timezone: str
    fair_after: timedelta
    units: dict[str, Periodical | FixedTime] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lasting: dict[str, Lasting] = field(default_factory=dict)
    never: dict[str, str] = field(default_factory=dict)
    idle: dict[str, str] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    retimed: set[str] = field(
        default_factory=set
    )  # an operator has changed when they run: files alone do not move them
    kept: list[KeyView] = field(default_factory=list)  # of daemons that hold groups

    @property
    def assumed(self) -> list[str]:
        return [name for name in self.units if self.lasting[name] in (_ASSUMED, _NONE_WENT_WELL)]

    @property
    def never_well(self) -> list[str]:
        """Those of which there is history, and no run in it that went well."""
        return [name for name in self.units if self.lasting[name] is _NONE_WENT_WELL]

    def outset(self, aligns: Mapping[str, int] | None = None) -> Outset:
        """All at rest, with other aligns where they are named."""
        views = list(self.kept)
        for name, unit in self.units.items():
            if isinstance(unit, Periodical) and name in (aligns or {}):
                unit = replace(unit, align=(aligns or {})[name])
            for key in self.keys[name]:
                views.append(at_rest(unit, key, self.timezone, self.start, self.groups[name]))
        live = {view.key: Live(self.start, None) for view in self.kept}
        durations_s = {name: lasting.seconds for name, lasting in self.lasting.items()}
        return Outset(tuple(views), durations_s, self.fair_after, live)


def gather(
    context: Context, overview: Overview, start: datetime, hours: float, given: tuple[str, ...], *, everything: bool
) -> Gathered:
    published = context.published
    until = start + timedelta(hours=hours)
    fair_after = timedelta(seconds=context.config.fair_after)
    found = Gathered(start, until, published.timezone, fair_after)
    found.lasting = durations_of(given, published.units)
    found.silent = [node.name for node in context.nodes.values() if node.is_silent and not node.asked_to_drain]
    for name, row in along(sorted(published.units.items()), "reading", len(published.units)):
        if row["masked"]:
            found.idle[name] = "masked"
            continue
        if row["plain"] is None:
            found.never[name] = "its unit file is broken"
            continue
        declared, override = context.unit(name), overview.overrides.get(name)
        unit, _ = fitting(declared, override)
        if isinstance(unit, Daemon) and name in found.lasting:
            raise UsageError(f"--duration: {name} is a daemon: its runs have no end to foresee")
        if unit.enabled or everything:
            _add(found, context, replace(unit, enabled=True), everything=everything)
        else:
            found.idle[name] = "disabled"
        if name in found.units and in_force(override, declared).keys() & RETIMING - {"enabled"}:
            found.retimed.add(name)
    return found


def _add(found: Gathered, context: Context, unit: Unit, *, everything: bool) -> None:
    name, groups = unit.name, context.catalogs.groups(unit.name)
    able, never = _able(context, unit, heed_programs=not everything)
    if isinstance(unit, Daemon):
        keys = sorted({place.key for place in able}) if groups else []
        found.kept += [held_for_good(unit, key, groups, found.start) for key in keys]
        if never:
            found.idle[name] = never
        return
    if never:
        found.never[name] = never
        return
    found.units[name], found.groups[name] = unit, groups
    found.keys[name] = sorted({place.key for place in able})
    found.lasting[name] = found.lasting.get(name) or lasting_of(context, name)


def _able(context: Context, unit: Unit, *, heed_programs: bool) -> tuple[list[Place], str]:
    """The places where it may start, and why there are none. A node that is silent counts: it may be up again soon."""
    where = places(context, unit.name)
    if not where:
        return [], "no known node may run it"
    having = [place for place in where if not (place.missing and heed_programs)]
    if not having:
        return [], f"program missing: {where[0].missing}"
    nodes = context.nodes
    able = [one for one in having if not (nodes[one.node].asked_to_drain or nodes[one.node].is_drained)]
    return able, "" if able else why_none_can(unit.name, {"nodes": unit.nodes}, nodes.values())


def lasting_of(context: Context, name: str) -> Lasting:
    """The last runs that went well, in their order: their spread counts as much for the waits as their mean."""
    rows, newest, has_rows = islice(history.durations(context.paths, name), _LOOK_BACK), list[float](), False
    for lasted_s in rows:
        has_rows = True
        if lasted_s is not None:
            newest.append(lasted_s)
        if len(newest) == _MOST_RUNS:
            break
    if not newest:
        return _NONE_WENT_WELL if has_rows else _ASSUMED
    return Lasting(tuple(reversed(newest)), f"{len(newest)} runs")


def known_lasting(context: Context, name: str) -> Lasting | None:
    """The same where there were such runs."""
    found = lasting_of(context, name)
    return None if found is _ASSUMED or found is _NONE_WENT_WELL else found


def durations_of(texts: tuple[str, ...], known: Mapping[str, object]) -> dict[str, Lasting]:
    found = {}
    for text in texts:
        name, equals, duration = text.partition("=")
        if not equals:
            raise UsageError(f"--duration: cannot read {text!r}; write for example calculator=90s")
        if name not in known:
            raise UnknownUnitError(f"unknown service {name}; {likely(name, known, '`vcsctl status` lists them all')}")
        try:
            found[name] = Lasting((parse_duration(duration),), "given")
        except ValueError as error:
            raise UsageError(f"--duration {name}: {error}") from None
    return found


def as_now(context: Context, overview: Overview, found: Gathered) -> Outset:
    """With what waits and runs at present. A run that has lasted longer than is usual is given as long again."""
    _add_requested(found, context, overview)
    rest, live = found.outset(), dict[str, Live]()
    observer = Observer(context.paths, state.StateReader(context.paths, overview.faults))
    views = {view.key: view for view in rest.views}
    for key, view in along(list(views.items()), "reading", len(views)):
        if isinstance(view.unit, TimedUnit):
            views[key] = _seen(overview, observer, view)
    for key, stored in overview.running.items():
        if key in rest.live:
            continue
        if key not in views:  # of a service that is not played, or of `vcsctl lock`
            groups = overview.groups_of(key) or stored.value.groups
            views[key] = KeyView(key, None, None, found.start, groups=groups)
        views[key] = replace(views[key], run=stored.value, started=True, end=None, live=True)
        service = stored.value.service
        is_daemon = stored.value.trigger == "daemon"
        usual = timedelta(seconds=(found.lasting.get(service) or lasting_of(context, service)).usual_s)
        over = stored.at + usual
        ends_at = over if over > found.start else found.start + usual
        live[key] = Live(stored.at, None if is_daemon else ends_at)
    return replace(rest, views=tuple(views.values()), live={**rest.live, **live})


def _add_requested(found: Gathered, context: Context, overview: Overview) -> None:
    """A disabled service that somebody asked for runs all the same, once."""
    for name in sorted({service_of(key) for key in overview.pending}):
        row = context.published.units.get(name)
        if row is None or row["plain"] is None or name in found.units or name in found.never:
            continue
        unit, _ = fitting(context.unit(name), overview.overrides.get(name))
        if not isinstance(unit, Daemon):
            _add(found, context, unit, everything=False)


def _seen(overview: Overview, observer: Observer, rest: KeyView) -> KeyView:
    """As it is on record."""
    service = service_seen(overview, service_of(rest.key), rest.key)
    state_of_key = observer.state(rest.key)
    seen = observer.view(service, state_of_key, overview.pending.get(rest.key), rest.groups, live=False)
    counts = service.effective.enabled and service.schedule_digest in state_of_key.since
    moment = seen.moment if counts else rest.moment
    return replace(seen, unit=rest.unit, schedule=rest.schedule, moment=moment)
