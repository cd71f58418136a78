"""lock: holds groups for one command as a run does, by hand and from within a daemon."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from vcsctl.cli.context import Context
from vcsctl.cli.lock_bid import Bid, bid_for, known_groups, record_end
from vcsctl.domain.holder import Blocked
from vcsctl.domain.outcome import End
from vcsctl.domain.run import Claim, fence_variable
from vcsctl.domain.values import parse_duration, parse_name
from vcsctl.errors import FAILED, TRY_AGAIN, BusyError, RefusedError, UsageError
from vcsctl.runners import foreground, linux, proc
from vcsctl.runners.base import Job
from vcsctl.runners.foreground import Caller, Signals
from vcsctl.store import records
from vcsctl.store.locks import Grant
from vcsctl.store.mounts import storage_of
from vcsctl.store.records import Faults
from vcsctl.store.storage_rules import fence_after_s, refusals
from vcsctl.vcsd.control import ask

_HURRIED_PAUSE_S = 0.02
_HURRIED_S = 1.0
_WAKE_S = 0.5
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell has it
_NOT_THE_COMMANDS_OWN = ("storage", "stopped-before-start", "recalled", "runner-died", "node-died")


class WithCommand(click.Command):
    """What stands behind -- is the command's, options and all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, separator, command = _split(args)
        ctx.meta["command"] = command
        rest = super().parse_args(ctx, own)
        if not command:
            missing = "the command is missing" if separator else "-- is missing before the command"
            raise click.UsageError(f"{missing}; write: vcsctl lock GROUP... -- COMMAND", ctx)
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..."]


def _split(args: list[str]) -> tuple[list[str], bool, tuple[str, ...]]:
    if "--" not in args:
        return args, False, ()
    at = args.index("--")
    return args[:at], True, tuple(args[at + 1 :])


@click.command(cls=WithCommand)
@click.argument("groups", nargs=-1, required=True, metavar="GROUP...")
@click.option("--wait", metavar="TIME", help="Wait at most this long, 0 not at all; default: for ever.")
@click.pass_context
def lock(ctx: click.Context, groups: tuple[str, ...], wait: str | None) -> None:
    """Hold run groups while a command runs.

    Example: vcsctl lock billing --wait 10m -- pg_dump --file /backup/billing.sql

    As long as the command runs, no service of these groups does, on any node. It waits in the same queue as they do
    and is shown by `status`, `queue` and `history lock`. The exit code is the command's own, 128+N when signal N
    ended it; 75 when it was not started since the groups were another's for too long.
    """
    context: Context = ctx.obj
    caller = foreground.caller_of(ctx.meta["command"])
    names, wait_s = _groups(groups), _seconds(wait)
    _refuse_what_waits_for_itself(names, caller.environment)
    if caller.program is None:
        click.echo(f"vcsctl: {caller.argv[0]}: program missing, or not executable; nothing was locked", err=True)
        raise click.exceptions.Exit(_NOT_FOUND)
    _refuse_without_rights(context)
    fence_s = _fence_after(context)
    for name in sorted(set(names) - known_groups(context.catalogs)):
        click.echo(
            f"vcsctl: warning: no unit is in group {name}: it excludes other `vcsctl lock {name}` alone", err=True
        )
    raise click.exceptions.Exit(_hold(context, caller, names, wait_s, fence_s))


def _groups(words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(sorted({parse_name(word) for word in words}))
    except ValueError as error:
        raise UsageError(f"GROUP: {error}") from None


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    if text in ("0", "0s"):
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--wait {error}, or 0 not to wait") from None


def _refuse_what_waits_for_itself(groups: tuple[str, ...], environment: dict[str, str]) -> None:
    for group in groups:
        if fence_variable(group) in environment:
            run = environment.get("VCS_RUN_ID", "the run around it")
            raise RefusedError(
                f"group {group} is held already by {run}, which this is a part of: it would wait for itself; "
                "run the command without vcsctl lock"
            )


def _refuse_without_rights(context: Context) -> None:
    folder = context.paths.folder("locks/key")
    if os.path.isdir(folder) and not os.access(folder, os.W_OK | os.X_OK):
        raise RefusedError(
            "only the user of vcsd may hold locks (who can open a lock's file can hold it for ever); use sudo, or make "
            "the command a service of the group and ask for it with `vcsctl run`"
        )


def _fence_after(context: Context) -> float | None:
    """As vcsd: storage whose locks do not hold is refused."""
    root, config = context.paths.root, context.config
    storage = storage_of(root)
    if found := refusals(storage, allow_nfs3=config.allow_nfs3, configured_s=config.fence_after):
        raise RefusedError(f"cannot trust {root} with locks: {'; also: '.join(found)}")
    return fence_after_s(storage, config.fence_after)


def _hold(
    context: Context, caller: Caller, groups: tuple[str, ...], wait_s: float | None, fence_s: float | None
) -> int:
    """The exit code. From here on signals are looked for, and interrupt nothing."""
    signals = Signals(caller)
    with bid_for(context.paths, context.config, groups, context.user) as bid:
        grant = _wait_for(bid, signals, wait_s, caller)
        if isinstance(grant, int):
            return 128 + grant
        try:
            claim, fences = bid.claim(caller.argv[0], grant)
            job = Job(context.paths, claim, _unit(claim), grant, fences, "", proc.boot_id(), fence_s, None)
            code = _run(job, caller, signals)
        finally:
            grant.unlock()
            for one in grant.groups.values():
                one.close()
    ask(context.where.socket, {"do": "wake"}, _WAKE_S)  # who waits for the group here need not look for it
    return code


def _unit(claim: Claim) -> Any:
    from vcsctl.domain.unit import from_plain

    return from_plain(claim.unit or {})


def _wait_for(bid: Bid, signals: Signals, wait_s: float | None, caller: Caller) -> Grant | int:
    """The locks, or the signal that ended the waiting."""
    began_s, told = time.monotonic(), ""
    while True:
        grant = bid.take()
        if isinstance(grant, Grant):
            return grant
        _refuse_own_run(grant, caller)
        waited_s = time.monotonic() - began_s
        if wait_s is not None and waited_s >= wait_s:
            after = f"; waited {wait_s:g} s" if wait_s else ""
            raise BusyError(f"cannot take {grant.why.removeprefix('waits for ')}{after}")
        if bid.request is None:
            bid.enter_queue()
        if told != (told := grant.why):
            click.echo(f"vcsctl: {told}", err=True)
        pause_s = _HURRIED_PAUSE_S if waited_s < _HURRIED_S else bid.config.poll_busy
        pause_s = pause_s if wait_s is None else min(pause_s, wait_s - waited_s)
        if (number := signals.wait(pause_s)) is not None:
            return number


def _refuse_own_run(blocked: Blocked, caller: Caller) -> None:
    if blocked.run and blocked.run == caller.environment.get("VCS_RUN_ID"):
        raise RefusedError(f"{blocked.why}: this command is a part of that run and would wait for itself")


def _run(job: Job, caller: Caller, signals: Signals) -> int:
    pid, reader = foreground.start(job, caller)
    status = signals.until_over(pid)
    end = foreground.read_end(reader) or _without_word(job, status)
    if end.cause == "cannot-start":
        click.echo(f"vcsctl: {end.why}", err=True)
        return _NOT_EXECUTABLE
    if end.cause in _NOT_THE_COMMANDS_OWN:
        click.echo(f"vcsctl: {end.outcome}: {end.why}", err=True)
        return TRY_AGAIN
    if end.signal is not None:
        return 128 + end.signal
    return end.exit_code if end.exit_code is not None else FAILED


def _without_word(job: Job, status: int) -> End:
    """The runner was killed, or another's word was first. What it left is ended before the locks are free."""
    foreground.end_leftovers()
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by {linux.signal_name(-code)}" if code < 0 else f"ended with code {code}"
    end = record_end(job.paths, job.claim, "runner-died", f"its runner {how}; what it had started was killed")
    found = records.read(End, job.paths.end(job.claim.key, job.claim.fence), Faults())
    return found.value if found else end


COMMANDS: dict[str, click.Command] = {"lock": lock}
