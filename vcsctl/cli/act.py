"""run, stop, cancel: what an operator asks of the queue. Writes first, then looks what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import click

from vcsctl.cli.context import Context, show
from vcsctl.cli.overview import Overview
from vcsctl.domain.effective import fitting
from vcsctl.domain.run import Claim, Request, StopRequest
from vcsctl.domain.unit import Daemon
from vcsctl.domain.values import parse_duration
from vcsctl.errors import FAILED, NotRunningError, RefusedError, UsageError
from vcsctl.runners.programs import missing_program
from vcsctl.runners.supervise import nudge
from vcsctl.store import history, queue, state
from vcsctl.store.overrides import read_override
from vcsctl.store.records import Faults
from vcsctl.vcsd.control import ask

_LOOK_S = 0.05
_CERTAIN_AFTER_S = 10.0


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--wait", is_flag=True, help="Wait for the outcome; the exit code is 0 when it is ok.")
@click.option("--within", metavar="TIME", help="Do not start later than this after now, for example 10m.")
@click.pass_obj
def run(context: Context, names: tuple[str, ...], wait: bool, within: str | None) -> None:
    """Request a run now; it waits in the queue while its groups are busy.

    Example: vcsctl run calculator --wait
    """
    within_s = _within(within)
    for name in names:
        refuse_if_impossible(context, name)
        if not any(row.get("key") for row in context.published_everywhere(name)):
            allowed = ", ".join(context.unit(name).nodes)
            raise RefusedError(f"{name}: no known node may run it (allowed: {allowed}); see to its `nodes`")
    requests = []
    for name in names:
        request = Request(queue.new_request_id(), context.key(name), name, context.user, context.config.node, within_s)
        queue.enter_request(context.paths, request)
        requests.append(request)
        show(f"{name}: requested ({request.id})")
    if ask(context.where.socket, {"do": "wake"}) is None:
        click.echo("vcsctl: no vcsd answers on this machine; the request waits in the queue", err=True)
    outcomes = [_wait(context, request) for request in requests] if wait else []
    if not all(outcomes):
        raise click.exceptions.Exit(FAILED)


def _within(text: str | None) -> float | None:
    try:
        return parse_duration(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--within {error}") from None


def refuse_if_impossible(context: Context, name: str) -> None:
    unit, _ = fitting(context.unit(name), read_override(context.paths, name))
    if isinstance(unit, Daemon):
        raise RefusedError(f"{name} is a daemon; restart it instead")
    if missing := missing_program(unit):
        raise RefusedError(f"{name}: program missing: {missing}; install it first")


def _wait(context: Context, request: Request) -> bool:
    """Follows the run that took the request up; whether it ended ok."""
    while True:
        for row in islice(history.read(context.paths, request.service), 200):
            if request.id in row.requests and row.is_run:
                show(f"{row.id}: {row.outcome}: {row.why}")
                return row.outcome == "ok"
            if request.id in row.requests and row.cause != "coalesced":
                show(f"{request.id}: {row.outcome}: {row.why}")
                return False
        time.sleep(_LOOK_S)


@click.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; it is recorded.")
@click.pass_obj
def stop(context: Context, name: str, reason: str) -> None:
    """Stop the run of a service: its stop signal, then KILL after stop_timeout."""
    context.row(name)
    claim = live_claim(context, name)
    if claim is None:
        raise NotRunningError(f"{name} is not running")
    written = state.write_stop(
        context.paths, claim.key, claim.fence, StopRequest(context.user, context.config.node, reason)
    )
    show(f"{claim.run_id}: {'stop requested' if written else 'was asked to stop before'}")
    answer = ask(context.where.socket, {"do": "stop", "key": claim.key})
    found = state.read_key(context.paths, claim.key, Faults())
    if not (answer and answer.get("ok")) and found.started is not None:
        nudge(found.started.value.pid, found.started.value.pid_started)


def live_claim(context: Context, name: str) -> Claim | None:
    found = Overview(context).running.get(context.key(name))
    return found.value if found else None


@click.command()
@click.argument("name")
@click.pass_obj
def cancel(context: Context, name: str) -> None:
    """Cancel the waiting requests of a service. Certain when it returns."""
    context.row(name)
    key = context.key(name)
    pending = queue.QueueReader(context.paths, Faults()).read_key(key)
    if pending is None or not pending.requests:
        hint = f"; its slot waits there: `vcsctl disable {name}` drops it" if pending else ""
        raise NotRunningError(f"{name} has no request in the queue{hint}")
    for queued in pending.requests:
        queue.cancel(context.paths, key, queued.request.id)
    ask(context.where.socket, {"do": "wake"})
    for queued in pending.requests:
        if claim := _started_with(context, key, queued.request.id):
            raise RefusedError(f"already started {claim.run_id}; stop it with: vcsctl stop {name}")
        show(f"{queued.request.id}: cancelled")


def _started_with(context: Context, key: str, request_id: str) -> Claim | None:
    """A claim that was faster than the mark."""
    return really_started(context, key, lambda claim: request_id in claim.requests)


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


COMMANDS: dict[str, click.Command] = {"run": run, "stop": stop, "cancel": cancel}
