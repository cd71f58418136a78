"""enable, disable, set, revert: an operator's runtime changes, beside the declaration and never in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from vcsctl.cli.act import live_claims, really_started, stop
from vcsctl.cli.context import Context, reason_option, show
from vcsctl.cli.daemon_commands import is_daemon, what_starts, what_stops
from vcsctl.cli.hints import likely
from vcsctl.cli.tables import listed
from vcsctl.cli.targets import places, refuse_without_program
from vcsctl.domain.effective import OVERRIDABLE, changed_by
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.parsed import FieldError
from vcsctl.domain.unit import KINDS, keys_of
from vcsctl.errors import RefusedError, UsageError
from vcsctl.store.override_change import change_override
from vcsctl.store.overrides import read_override
from vcsctl.vcsd.control import ask

_SETTABLE = tuple(key for key in OVERRIDABLE if key != "enabled")
_UNIT_KEYS = {key for kind in KINDS for key in keys_of(kind)}


def _change(context: Context, name: str, changes: Mapping[str, Any], reason: str) -> bool:
    """Whether anything changed; the change is on record when this returns."""
    unit = context.unit(name)
    author = FieldOverride(None, None, context.user, context.config.node, datetime.now(UTC), reason)
    before = read_override(context.paths, name)

    def change(current: Override | None, moment: datetime) -> Override | None:
        after = changed_by(unit, current, changes, author, moment)
        return after if after.fields or after.moment else None

    try:
        after = change_override(context.paths, name, change)
    except FieldError as error:
        raise UsageError(f"{name}: {error.key}: {error}") from None
    if after == before:
        return False
    context.audit(service=name, changes=dict(changes), reason=reason)
    ask(context.where.socket, {"do": "wake"})
    return True


@click.command()
@click.argument("names", nargs=-1, required=True)
@reason_option
@click.pass_obj
def enable(context: Context, names: tuple[str, ...], reason: str) -> None:
    """Enable services. Nothing retroactive: only slots from now on count; a daemon is started.

    Example: vcsctl enable backup-manager
    """
    for name in names:
        context.unit(name)
        refuse_without_program(context, name, places(context, name))
    for name in names:
        is_new = _change(context, name, {"enabled": "true"}, reason)
        follows = what_starts(context, name, is_new=is_new) if is_daemon(context, name) else ""
        show(f"{name}: {'enabled' if is_new else 'is enabled already'}{follows}")


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--now", is_flag=True, help="Stop a running run too.")
@reason_option
@click.pass_context
def disable(ctx: click.Context, names: tuple[str, ...], now: bool, reason: str) -> None:
    """Disable services: future slots do not start, waiting ones are dropped; a running run goes on, a daemon stops.

    Example: vcsctl disable backup-manager --now --reason "disk full"
    """
    context: Context = ctx.obj
    for name in names:
        context.unit(name)  # all or none, as far as a typo goes
    too_late = []
    for name in names:
        if is_daemon(context, name):
            follows = what_stops(context, name)  # looked at first: it may be quick
            is_new = _change(context, name, {"enabled": "false"}, reason)
            show(f"{name}: {f'disabled{follows}' if is_new else 'is disabled already'}")
            continue
        before = live_claims(context, name)
        show(f"{name}: {'disabled' if _change(context, name, {'enabled': 'false'}, reason) else 'is disabled already'}")
        claims = live_claims(context, name)
        if claims and now:
            ctx.invoke(stop, names=(name,), reason=reason or "disabled", node=None)
            continue
        for key, claim in claims.items():
            if key in before and before[key].fence == claim.fence:
                show(f"{name}: {claim.run_id} goes on; `vcsctl stop {name}` stops it")
            elif really_started(context, key, claim.__eq__):
                too_late.append(f"already started {claim.run_id}; stop it with: vcsctl stop {name}")
    if too_late:
        raise RefusedError("\n".join(too_late))


@click.command(name="set")
@click.argument("name")
@click.argument("assignments", nargs=-1, required=True, metavar="KEY=VALUE...")
@reason_option
@click.pass_obj
def set_command(context: Context, name: str, assignments: tuple[str, ...], reason: str) -> None:
    """Change the schedule or timeout of a service by hand, until its declaration changes.

    Example: vcsctl set calculator period=10 align=4
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"cannot read {assignment!r}; write KEY=VALUE, for example period=10")
        if key == "enabled":
            raise UsageError(f"enabled: cannot be set; write `vcsctl enable {name}` or `vcsctl disable {name}`")
        if key in changes:
            raise UsageError(f"{key}: is given twice; leave one out")
        if key not in _UNIT_KEYS:
            raise UsageError(f"{key}: unknown key; {likely(key, _SETTABLE, f'write one of {listed(_SETTABLE)}')}")
        changes[key] = value.split(",") if key == "run_at" else value
    show(f"{name}: {'changed' if _change(context, name, changes, reason) else 'is so already'}")


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def revert(context: Context, names: tuple[str, ...]) -> None:
    """Take back what was changed by hand: the declaration counts again, from now on.

    Example: vcsctl revert calculator
    """
    for name in names:
        context.row(name)
    for name in names:
        before = read_override(context.paths, name)
        if before is None or not before.fields:
            show(f"{name}: has no override")
            continue
        # The moment stays: a schedule that comes back starts nothing of what lies before.
        change_override(context.paths, name, lambda _, moment: Override({}, moment))
        context.audit(service=name, reverted=sorted(before.fields))
        ask(context.where.socket, {"do": "wake"})
        show(f"{name}: reverted ({', '.join(sorted(before.fields))})")


COMMANDS: dict[str, click.Command] = {"enable": enable, "disable": disable, "set": set_command, "revert": revert}
