"""restart, reset-failed, and what stop and reload do of daemons: asks their nodes, and says what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vcsctl.cli.context import Context, reason_option, show
from vcsctl.cli.daemons import Instance
from vcsctl.cli.orders import (
    cell_of,
    deaf_ones,
    enter,
    stop_run,
    until_reloaded,
    until_stopped,
    until_taken_up,
    until_up,
    why_deaf,
)
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import listed
from vcsctl.cli.targets import node_option, places, refuse_without_program
from vcsctl.cli.waiting import on_interrupt, tell
from vcsctl.domain.effective import fitting
from vcsctl.domain.run import parse_run_id
from vcsctl.domain.unit import Daemon
from vcsctl.errors import NOT_RUNNING, NotRunningError, RefusedError, VcsError
from vcsctl.store.overrides import read_override


def is_daemon(context: Context, name: str) -> bool:
    """Whether it is to be dealt with here: by its declaration. Raises UnknownUnitError."""
    plain = context.row(name)["plain"]
    return plain is not None and plain["schedule"] == "daemon"


def daemon_of(context: Context, name: str, instead: str) -> Daemon:
    """The daemon as it counts now. Raises RefusedError with what to do `instead` for another kind."""
    unit, _ = fitting(context.unit(name), read_override(context.paths, name))
    if not isinstance(unit, Daemon):
        raise RefusedError(f"{name} is no daemon: {instead}")
    return unit


def instances_of(context: Context, name: str, node: str | None = None) -> list[Instance]:
    """The daemon on each of its nodes, or on one. Of one with `run_on: any` only where it is active, or is to be."""
    overview = Overview(context)
    overview.keys_on(name, node)  # raises where --node is of no use
    found = overview.daemons.of(overview.line(name, context.row(name)))
    if found and found[0].key == name:
        return [next((one for one in found if one.state != "unknown"), found[0])]
    return [one for one in found if node in (None, one.node)]


@click.command()
@click.argument("names", nargs=-1, required=True)
@node_option
@click.option("--no-wait", is_flag=True, help="Ask for all of them at once, and wait for none.")
@reason_option
@click.pass_obj
def restart(context: Context, names: tuple[str, ...], node: str | None, no_wait: bool, reason: str) -> None:
    """Restart daemons; one that was stopped or has failed is started.

    One that runs on each of its nodes is restarted on one after the other: the next waits until this one is ready.

    Example: vcsctl restart radius-server
    """
    found = {}
    for name in dict.fromkeys(names):  # all or none, as far as mistakes go
        instead = f"`vcsctl run {name}` requests a run of it, `vcsctl stop {name}` ends one"
        unit = daemon_of(context, name, instead)
        if not unit.enabled:
            raise RefusedError(f"{name} is disabled; `vcsctl enable {name}` starts it")
        refuse_without_program(context, name, places(context, name))
        found[name] = (unit, instances_of(context, name, node))
    deaf = [text for _, instances in found.values() for text in deaf_ones(context, instances)]
    for unit, instances in found.values():
        _restart_all(context, unit, _reached(context, instances, able=True), reason, no_wait)
    finish(deaf)


def _restart_all(context: Context, unit: Daemon, instances: Sequence[Instance], reason: str, no_wait: bool) -> None:
    done: list[str] = []
    keys = [one.key for one in instances]
    for one in instances:
        ordered = enter(context, "restart", one, reason)
        if no_wait:
            show(f"{one.key}: restart asked for")
            continue
        left = [key for key in keys if key not in (*done, one.key)]
        on_interrupt(lambda key=one.key, left=left: _where_it_was(key, done, left))  # type: ignore[misc]
        fault = until_taken_up(context, ordered) or until_up(context, unit, ordered)
        if fault:
            rest = f"; not restarted: {listed(left)}" if left else ""
            raise VcsError(f"{one.key}: {fault}{rest}")
        done.append(one.key)


def _where_it_was(key: str, done: Sequence[str], left: Sequence[str]) -> str:
    parts = [f"restarted: {listed(done)}"] if done else []
    parts.append(f"{key} was asked to restart and goes on by itself")
    parts += [f"not restarted: {listed(left)}"] if left else []
    return "; ".join(parts)


def stop_daemons(context: Context, name: str, reason: str, node: str | None) -> list[str]:
    """Stops a daemon on all its nodes, or on one, until somebody starts it again; what could not be asked."""
    unit = daemon_of(context, name, "")
    found = instances_of(context, name, node)
    live = [one for one in found if one.told is not None or one.state == "starting"]
    if not live:
        words = found[0].state if len(found) == 1 else "not running"
        raise NotRunningError(f"{name} is not running" + (f" on {node}" if node else "") + f" ({words})")
    deaf = deaf_ones(context, [one for one in live if not _stop_here(context, unit, one, reason)])
    asked = [enter(context, "stop", one, reason) for one in _reached(context, live)]
    at = {"text": ""}
    on_interrupt(lambda: at["text"])
    for ordered in asked:
        at["text"] = f"{ordered.before.key} was asked to stop and ends by itself"
        fault = until_taken_up(context, ordered) or until_stopped(context, unit, ordered)
        if fault:
            raise VcsError(f"{ordered.before.key}: {fault}")
    if asked:
        show(f"{name}: stays so until `vcsctl restart {name}`, a changed unit or a reboot")
    return deaf


def _stop_here(context: Context, unit: Daemon, one: Instance, reason: str) -> bool:
    """With no vcsd on this machine the wish is laid beside the claim by the command itself, as for jobs; whether that
    was so. The runner needs nobody to obey it."""
    run = parse_run_id(one.told.run_id) if one.told else None
    paths = cell_of(context, unit, one.node)
    if run is None or paths is None or one.node != context.config.node or not why_deaf(context, one.node):
        return False
    stop_run(context, paths, *run, reason)
    return True


@click.command(name="reset-failed")
@click.argument("names", nargs=-1, required=True)
@node_option
@click.pass_obj
def reset_failed(context: Context, names: tuple[str, ...], node: str | None) -> None:
    """Let daemons that have failed be started again.

    Example: vcsctl reset-failed radius-server
    """
    found = {}
    for name in dict.fromkeys(names):
        daemon_of(context, name, "each of its slots starts anew, whatever became of the one before")
        found[name] = [one for one in instances_of(context, name, node) if one.state == "failed"]
    deaf = []
    for name, failed in found.items():
        if not failed:
            show(f"{name}: has not failed")
        deaf += deaf_ones(context, failed)
        for one in _reached(context, failed):
            fault = until_taken_up(context, enter(context, "reset-failed", one, ""))
            if fault:
                raise VcsError(f"{one.key}: {fault}")
            show(f"{one.key}: reset; it is started again where it is wanted")
    finish(deaf)


def what_starts(context: Context, name: str, *, is_new: bool) -> str:
    """What `enable` leads to, as the end of its sentence."""
    overview = Overview(context)
    found = overview.daemons.of(overview.line(name, context.row(name)))
    if not is_new:
        down = [one for one in found if one.state in ("stopped", "failed", "exited")]
        words = listed(f"{one.state} on {one.node}" for one in down)
        return f"; {words}: `vcsctl restart {name}` starts it" if down else ""
    lacking = {place.node: f"program missing: {place.missing}" for place in places(context, name) if place.missing}
    able, later = list[str](), list[str]()
    for one in found:
        known = context.nodes.get(one.node)
        why = (known.hindrance if known else "") or lacking.get(one.node, "")
        (later if why else able).append(f"{one.node} ({why})" if why else one.node)
    is_any = any(one.key == name for one in found) and len(able) > 1
    parts = [f"starts on {'one of ' if is_any else ''}{listed(able)}"] if able else []
    parts += [f"not now on {listed(later)}"] if later else []
    return "; " + "; ".join(parts or ["no known node may run it"])


def what_stops(context: Context, name: str) -> str:
    overview = Overview(context)
    found = overview.daemons.of(overview.line(name, context.row(name)))
    live = [one.node for one in found if one.told is not None and one.state != "unknown"]
    unknown = [f"{one.node} ({one.why})" for one in found if one.state == "unknown"]
    words = f"; stops on {listed(live)}" if live else ""
    return words + (f"; on {listed(unknown)} when its vcsd is back" if unknown else "")


def reload_daemons(context: Context, names: tuple[str, ...], node: str | None) -> None:
    """Lets daemons read their configuration anew, each as its unit says."""
    found = {}
    for name in dict.fromkeys(names):
        unit = daemon_of(context, name, "`vcsctl reload` without a name reads the unit files again")
        if unit.reload is None:
            raise RefusedError(f"{name}: its unit has no `reload`; `vcsctl restart {name}` does as much, with a pause")
        live = [one for one in instances_of(context, name, node) if one.told is not None]
        if not live:
            raise NotRunningError(f"{name} is not running" + (f" on {node}" if node else ""))
        found[name] = (unit, live)
    deaf = []
    for unit, live in found.values():
        deaf += deaf_ones(context, live)
        for one in _reached(context, live):
            ordered = enter(context, "reload", one, "")
            on_interrupt(lambda key=one.key: f"{key} was asked to reload")  # type: ignore[misc]
            fault = until_taken_up(context, ordered) or until_reloaded(context, unit, ordered)
            if fault:
                raise VcsError(f"{one.key}: {fault}")
    finish(deaf)


def finish(deaf: Sequence[str]) -> None:
    """The exit code says that some were not asked."""
    if deaf:
        raise click.exceptions.Exit(NOT_RUNNING)


def _reached(context: Context, instances: Sequence[Instance], *, able: bool = False) -> list[Instance]:
    """`able`: those only that may start there."""
    found = []
    for one in instances:
        if able and one.state in ("drained", "program missing") and len(instances) > 1:
            tell(f"{one.key}: {one.why}; left out")
        elif able and one.state in ("drained", "program missing"):
            raise RefusedError(f"{one.key}: {one.why}")
        elif not one.node or not why_deaf(context, one.node):
            found.append(one)
    return found


COMMANDS: dict[str, click.Command] = {"restart": restart, "reset-failed": reset_failed}
