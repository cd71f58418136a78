"""Orders to daemons: entered in the queue, carried out by the vcsd of the daemon's node, and what comes of them.
Writes first, then looks. Knows no command."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vcsctl.cli.cell_nodes import read_nodes
from vcsctl.cli.context import Context, show
from vcsctl.cli.daemons import UP, Instance, own_daemons
from vcsctl.cli.waiting import LOOK_S, tell
from vcsctl.domain.daemon import DaemonState, Order
from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.run import parse_run_id, run_id, service_of
from vcsctl.domain.unit import Daemon, Unit, needs_no_share
from vcsctl.errors import NotRunningError
from vcsctl.runners.proc import boot_id
from vcsctl.runners.supervise import nudge
from vcsctl.store import daemons, last_runs, state
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.vcsd.control import ask

_TOLD_WITHIN_S = 10.0  # what a runner on another node says is published by then
_TAKEN_UP_AFTER_S = 30.0  # an order that no living vcsd has taken up by then is taken back
_NOTHING_CAME_AFTER_S = 15.0  # a runner that was told to stop says at once that it stops
_BEYOND_ITS_TIMES_S = 15.0  # for polls, heartbeats and a slow storage
Deed = Literal["stop", "restart", "reload", "reset-failed"]


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order that was entered, for the daemon as it was before it."""

    order: Order
    before: Instance

    @property
    def fence(self) -> int:
        """The number of its last run, as far as known here; a run with a higher one began after the order."""
        ids = [self.before.told.run_id] if self.before.told else []
        ids += [self.before.last.id] if self.before.last else []
        return max((run[1] for text in ids if (run := parse_run_id(text)) and run[0] == self.before.key), default=0)


# Who hears an order.


def why_deaf(context: Context, node: str) -> str:
    """Why no vcsd on that node takes an order up; empty when one does. One that died a moment ago has not been silent
    for long, but this machine's answers or does not."""
    known = context.nodes.get(node)
    if node == context.config.node:
        return "" if ask(context.where.socket, {"do": "wake"}) is not None else "no vcsd answers on this machine"
    if known is None:
        return f"node {node} is not known"
    return f"vcsd on node {node} is {known.silence}" if known.is_silent else ""


def deaf_ones(context: Context, instances: Sequence[Instance]) -> list[str]:
    """Tells of those whose node hears nothing. Raises NotRunningError where that is so of all."""
    texts = [f"{one.key}: {why}" for one in instances if one.node and (why := why_deaf(context, one.node))]
    if texts and len(texts) == len(instances):
        raise NotRunningError("\nvcsctl: ".join(("nothing was asked for", *texts)))
    for text in texts:
        tell(f"{text}; left out")
    return texts


# The order, and what came of it.


def enter(context: Context, deed: Deed, one: Instance, reason: str) -> Ordered:
    order = Order(f"o{os.urandom(5).hex()}", one.key, deed, context.user, context.config.node, reason)
    daemons.enter_order(context.paths, order)
    ask(context.where.socket, {"do": "wake"})
    return Ordered(order, one)


def until_taken_up(context: Context, ordered: Ordered) -> str:
    """Why it was not; it is taken back then."""
    order, node, began_s = ordered.order, ordered.before.node, time.monotonic()
    while daemons.is_waiting(context.paths, order.key, order.id):
        known = read_nodes(context.paths, context.config.node).get(node)
        is_silent = known is not None and known.is_silent
        if is_silent or time.monotonic() - began_s > _TAKEN_UP_AFTER_S:
            daemons.carried_out(context.paths, order.key, order.id)
            who = (
                f"vcsd on node {node} fell silent"
                if is_silent
                else f"no vcsd has taken it up for {_TAKEN_UP_AFTER_S:g} s"
            )
            return f"{who}; the order was taken back"
        time.sleep(LOOK_S)
    return ""


def cell_of(context: Context, unit: Unit, node: str) -> Paths | None:
    """Where its records lie; None where that is another machine."""
    if not needs_no_share(unit):
        return context.paths
    return Paths(context.where.local_cell) if node == context.config.node else None


def told_of(context: Context, one: Instance) -> DaemonState | None:
    """What is told of a KEY just now, by the runner itself where that is here."""
    found = list(own_daemons(context).values())
    for node, stored in daemons.published(context.paths).items():
        if node != context.config.node and ("@" not in one.key or node == one.node):
            found += stored.value.daemons
    return max((told for told in found if told.key == one.key), key=_fence, default=None)


def _fence(told: DaemonState | None) -> int:
    run = parse_run_id(told.run_id) if told else None
    return run[1] if run else 0


def _newest_end(context: Context, unit: Daemon, one: Instance) -> tuple[int, str]:
    """The number of its newest run with an outcome, and how it ended. Of one that needs no share another node knows
    only what its node has put into the history."""
    paths = cell_of(context, unit, one.node)
    if paths is None:
        row = last_runs.read(context.paths).get(one.key)
        run = parse_run_id(row.id) if row else None
        return (run[1], row.why) if run and row else (0, "")
    found = state.read_key(paths, one.key, Faults())
    return (found.run.value.fence, found.end.value.why) if found.run and found.end else (0, "")


def until_stopped(context: Context, unit: Daemon, ordered: Ordered) -> str:
    began_s = time.monotonic()
    give_up_s = began_s + unit.stop_timeout + _BEYOND_ITS_TIMES_S
    one = ordered.before
    while _fence(told := told_of(context, one)) == ordered.fence:
        if nothing := _nothing_came(told, one, began_s):
            return nothing
        if time.monotonic() > give_up_s:
            return f"has not ended within its stop_timeout ({unit.stop_timeout:g} s)"
        time.sleep(LOOK_S)
    fence, why = _newest_end(context, unit, one)
    show(f"{one.key}: stopped" + (f" ({why})" if fence == ordered.fence else ""))
    return ""


def _nothing_came(told: DaemonState | None, one: Instance, began_s: float) -> str:
    """An order that was taken up may have come too late, or to nothing that vcsd would start."""
    if time.monotonic() - began_s < _NOTHING_CAME_AFTER_S or (told is not None and told.phase == "stopping"):
        return ""
    how = f"it is {told.phase} as before" if told else "it is not started"
    return f"the order was taken up and nothing came of it, {how}; `vcsctl why {service_of(one.key)}` may say why"


def until_up(context: Context, unit: Daemon, ordered: Ordered) -> str:
    """Until a run that began after the order says that it is ready; else why it is not."""
    began_s = time.monotonic()
    give_up_s = began_s + unit.stop_timeout + unit.start_timeout + _BEYOND_ITS_TIMES_S
    one, is_there = ordered.before, False
    while True:
        told, now_s = told_of(context, one), time.monotonic()
        if told is not None and _fence(told) > ordered.fence:
            if told.phase in UP:
                show(f"{one.key}: restarted, up as {told.run_id}, process {told.pid}")
                return ""
            if not is_there:
                is_there, give_up_s = True, now_s + unit.start_timeout
        elif told is None and (end := _newest_end(context, unit, one))[0] > ordered.fence:
            return f"{run_id(one.key, end[0])} ended: {end[1]}"
        elif nothing := _nothing_came(told, one, began_s):
            return nothing
        if now_s > give_up_s:
            where = f"; it is {told.phase}" if told else ""
            why = f", last exit: {told.last_exit}" if told and told.last_exit else ""
            return f"not ready within its start_timeout ({unit.start_timeout:g} s){where}{why}"
        time.sleep(LOOK_S)


def until_reloaded(context: Context, unit: Daemon, ordered: Ordered) -> str:
    """A command that reloads is waited for, and a daemon that says of itself that it reloads; why it is not done.
    One that began before the order does not count: it may have read what is old by now."""
    key, before = ordered.before.key, ordered.before.told
    assert before is not None, "only what runs is reloaded"
    patience_s = unit.start_timeout * (1 if before.phase == "up" else 2)
    give_up_s = time.monotonic() + patience_s + _TOLD_WITHIN_S
    while (told := told_of(context, ordered.before)) is not None and told.run_id == before.run_id:
        is_new = told.reload_over > before.reload_begun or (
            not told.reload_over and told.last_reload_at != before.last_reload_at
        )
        is_done = is_new and (told.phase != "reloading" or told.reload_begun > told.reload_over)  # that is the next
        if is_done and told.last_reload.startswith("not reloaded"):
            return told.last_reload
        if is_done or (told.began_at != before.began_at and told.phase == "up"):
            show(f"{key}: {'reloaded' if is_done else 'has started anew meanwhile'}, process {told.pid}")
            return ""
        if time.monotonic() > give_up_s:
            return f"not reloaded within {patience_s:g} s; it is {told.phase}"
        time.sleep(LOOK_S)
    return "has ended meanwhile; `vcsctl history` says how"


# With no vcsd on the daemon's machine.


def stop_run(context: Context, paths: Paths, key: str, fence: int, reason: str) -> None:
    """Lays the wish beside the claim. Any node's runner sees it at its next proof; on this machine it is told to look
    now."""
    wish = StopRequest(context.user, context.config.node, reason)
    written = state.write_stop(paths, key, fence, wish)
    show(f"{run_id(key, fence)}: {'stop requested' if written else 'was asked to stop before'}")
    answer = ask(context.where.socket, {"do": "stop", "key": key})
    found = state.read_key(paths, key, Faults())
    started = found.started.value if found.started else None
    if not (answer and answer.get("ok")) and started and started.boot_id == boot_id():
        nudge(started.pid, started.pid_started)
