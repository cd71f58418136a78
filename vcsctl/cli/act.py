"""stop, cancel: what an operator asks of the queue. Writes first, then looks what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import click

from vcsctl.cli.context import Context, reason_option, show
from vcsctl.cli.daemon_commands import finish, is_daemon, stop_daemons
from vcsctl.cli.orders import stop_run
from vcsctl.cli.overview import Overview
from vcsctl.cli.targets import node_option
from vcsctl.domain.run import Claim, service_of
from vcsctl.errors import NOT_RUNNING, NotRunningError, RefusedError
from vcsctl.store import history, queue, state
from vcsctl.store.records import Faults
from vcsctl.vcsd.control import ask

_LOOK_S = 0.05
_CERTAIN_AFTER_S = 10.0
_LOOK_BACK_ROWS = 100  # a command takes seconds, in which a service has few runs


@click.command()
@click.argument("names", nargs=-1, required=True)
@reason_option
@node_option
@click.pass_obj
def stop(context: Context, names: tuple[str, ...], reason: str, node: str | None) -> None:
    """Stop the runs of services: the stop signal, then KILL after stop_timeout. Works from any node.

    Example: vcsctl stop calculator

    A daemon stays stopped until it is restarted, its unit changes or its node is rebooted.
    """
    for name in names:
        context.row(name)
    deaf: list[str] = []
    idle = False
    for name in dict.fromkeys(names):
        try:
            if is_daemon(context, name):
                deaf += stop_daemons(context, name, reason, node)
            else:
                _stop_runs(context, name, reason, node)
        except NotRunningError as error:
            click.echo(f"vcsctl: {error}", err=True)  # the others are stopped all the same
            idle = True
    finish(deaf)
    if idle:
        raise click.exceptions.Exit(NOT_RUNNING)


def _stop_runs(context: Context, name: str, reason: str, node: str | None) -> None:
    claims = [claim for claim in live_claims(context, name).values() if node in (None, claim.node)]
    if not claims:
        if node is not None:
            context.node(node)
        raise NotRunningError(f"{name} is not running" + (f" on {node}" if node else ""))
    for claim in claims:
        stop_run(context, context.paths, claim.key, claim.fence, reason)


def live_claims(context: Context, name: str) -> dict[str, Claim]:
    """The live runs of a service, by KEY."""
    return {run.value.key: run.value for run in Overview(context).runs_of(name)}


@click.command()
@click.argument("name")
@node_option
@click.pass_obj
def cancel(context: Context, name: str, node: str | None) -> None:
    """Cancel the waiting requests of a service. Certain when it returns.

    Example: vcsctl cancel calculator
    """
    context.row(name)
    keys = Overview(context).keys_on(name, node)
    waiting = [one for one in _waiting(context, name) if node is None or one.key in keys]
    now = datetime.now(UTC)
    # One whose time is over is missed, and whoever waited for it was told so.
    requests = [one.request for pending in waiting for one in pending.requests if not one.is_past(now)]
    if not requests:
        hint = (
            f"; its slot waits there: `vcsctl disable {name}` drops it"
            if any(one.slots_first for one in waiting)
            else ""
        )
        raise NotRunningError(f"{name} has no request in the queue" + (f" on {node}" if node else "") + hint)
    for request in requests:
        queue.cancel(context.paths, request.key, request.id)
    ask(context.where.socket, {"do": "wake"})
    too_late = []
    for request in requests:
        if run_id := _started_with(context, request.key, request.id):
            too_late.append(f"already started {run_id}; stop it with: vcsctl stop {name}")
        else:
            show(f"{request.id}: cancelled")
    if too_late:
        raise RefusedError("\n".join(dict.fromkeys(too_late)))


def _waiting(context: Context, name: str) -> list[queue.Pending]:
    """What is in the queue for its KEYs, requests that were cancelled before included."""
    pending = queue.QueueReader(context.paths, Faults()).read()
    return [pending[key] for key in sorted(pending) if service_of(key) == name]


def _started_with(context: Context, key: str, request_id: str) -> str | None:
    """The run whose claim was faster than the mark. It may be over by now, and the next one begun."""
    if claim := really_started(context, key, lambda claim: request_id in claim.requests):
        return claim.run_id
    newest = islice(history.read(context.paths, service_of(key)), _LOOK_BACK_ROWS)
    ran = (row.id for row in newest if row.is_run and row.cause != "recalled" and request_id in row.requests)
    return next(ran, None)


def really_started(context: Context, key: str, is_it: Callable[[Claim], bool]) -> Claim | None:
    """The KEY's newest claim, if it is the one asked for and no recall ended it. One that has neither start nor
    outcome decides soon: its node looks whether it was recalled before it starts anything."""
    give_up_s = time.monotonic() + _CERTAIN_AFTER_S
    while True:
        found = state.read_key(context.paths, key, Faults())
        if found.run is None or not is_it(found.run.value):
            return None
        if found.end is not None:
            return None if found.end.value.cause == "recalled" else found.run.value
        if found.began or time.monotonic() > give_up_s:
            return found.run.value
        time.sleep(_LOOK_S)


COMMANDS: dict[str, click.Command] = {"stop": stop, "cancel": cancel}
