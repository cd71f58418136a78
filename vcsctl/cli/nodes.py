"""nodes, nodes forget: which nodes the cell knows, how they are, and to know one no longer."""

from __future__ import annotations

import sys
from typing import Any

import click

from vcsctl.cli.cell_nodes import CellNode, read_nodes
from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.layout import Column, Row, shown_table, too_narrow
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import age, listed
from vcsctl.domain.run import to_text
from vcsctl.errors import FAILED, RefusedError, UsageError
from vcsctl.store.nodes import forget as forget_node
from vcsctl.store.server_clock import measure_offset
from vcsctl.vcsd.control import ask

COLUMNS = (
    Column("NODE", 20),
    Column("STATE", 12),
    Column("UP FOR", 6, leaves=4),
    Column("HOST", 8, leaves=1),
    Column("LABELS", 8, leaves=2),
    Column("CLOCK", 7, leaves=3),
    Column("RUNS", 10),
    Column("UNITS", 10),
)


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def nodes(ctx: click.Context, output: str) -> None:
    """Show the nodes of the cell: how each is, and whose units differ from most.

    Example: vcsctl nodes --output json

    CLOCK is how far a node's clock is ahead of the file server's.
    """
    if ctx.invoked_subcommand is None:
        in_time(lambda: _nodes(ctx.obj, output))
    elif output == "json":
        raise UsageError(f"--output is for the table of all nodes; leave it out before {ctx.invoked_subcommand}")


def _nodes(context: Context, output: str) -> None:
    overview = Overview(context)
    if output == "json":
        show_json("nodes", [_plain(overview, node) for node in context.nodes.values()])
        return
    rows = [Row(_cells(overview, node), {"STATE": _look(node)}) for node in context.nodes.values()]
    if not rows:
        return
    found = shown_table(COLUMNS, rows)
    for text in found.lines:
        show(text)
    for text in too_narrow(found.left_out):
        show(text)


def _look(node: CellNode) -> str:
    if node.is_silent:
        return "bad"
    return "waits" if node.hindrance else "good"


def state_words(node: CellNode, runs: list[str]) -> str:
    words = [node.silence] if node.is_silent else []
    if node.asked_to_drain or node.is_drained:
        live = f" ({len(runs)} run{'s' if len(runs) > 1 else ''})" if runs else ""
        is_over = node.is_drained and not runs
        words.append(("drained" if is_over or node.is_silent else "draining") + live + node.drain_words)
    elif node.hindrance and not node.is_silent:
        words.append(f"claims nothing: {node.hindrance}")
    return "; ".join(words) or "up"


def _up_for_s(node: CellNode) -> float | None:
    if node.beat is None or node.is_silent:
        return None
    offset_s = node.beat.value.clock_offset_s or 0.0  # its start is by its own clock, its heartbeat by the server's
    return (node.beat.at - node.beat.value.started_at).total_seconds() + offset_s


def _clock(node: CellNode) -> str:
    if node.state is None or node.state.clock_offset_s is None:
        return "-"
    return f"{node.state.clock_offset_s:+.1f} s"


def _units(overview: Overview, node: CellNode) -> str:
    catalogs = overview.context.catalogs
    if node.name not in catalogs.readable:
        return "none to be read"
    differing = catalogs.differences.get(node.name, {})
    texts = listed((f"{name} ({what})" for name, what in differing.items()), 3)
    return f"differ: {texts}" if texts else "as most"


def _cells(overview: Overview, node: CellNode) -> tuple[str, ...]:
    runs, up_s, state = overview.runs_on(node.name), _up_for_s(node), node.state
    return (
        node.name,
        state_words(node, runs),
        age(up_s) if up_s is not None else "-",
        (state.host if state else "") or "-",
        ", ".join(state.labels if state else ()) or "-",
        _clock(node),
        listed(runs, 3) or "-",
        _units(overview, node),
    )


def _plain(overview: Overview, node: CellNode) -> dict[str, Any]:
    state, drain, catalogs = node.state, node.drain, overview.context.catalogs
    return {
        "node": node.name,
        "up": not node.is_silent,
        "silent_s": node.silent_s,
        "drained": node.is_drained,
        "drain": {"by": drain.value.by, "reason": drain.value.reason, "at": to_text(drain.at)} if drain else None,
        "asked_to_drain": node.asked_to_drain,
        "claims_nothing": state.claims_nothing if state else "",
        "last_beat": to_text(node.beat.at) if node.beat else None,
        "started_at": to_text(state.started_at) if state else None,
        "host": state.host if state else "",
        "labels": list(state.labels) if state else [],
        "clock_offset_s": state.clock_offset_s if state else None,
        "clock_doubt_s": state.clock_doubt_s if state else None,
        "runs": overview.runs_on(node.name),
        "units_readable": node.name in catalogs.readable,
        "units_differ": catalogs.differences.get(node.name, {}),
        "faults": list(state.faults) if state else [],
    }


@nodes.command()
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(context: Context, node: str, yes: bool) -> None:
    """Forget a node that is gone for good: its units and its groups count no more. If drained, it stays so.

    Example: vcsctl nodes forget bill3
    """
    context.node(node)
    # Silence by the file server's clock: this machine's may be ahead, and has perhaps no vcsd that measured it.
    offset_s = measure_offset(context.paths.nodes).offset_s
    known = read_nodes(context.paths, context.config.node, offset_s).get(node)
    if known is not None and not known.is_silent:
        raise RefusedError(f"{node} is up; stop its vcsd first, and wait until `vcsctl nodes` shows it as silent")
    if runs := Overview(context).runs_on(node):
        raise RefusedError(f"{node} has live runs: {listed(runs)}; `vcsctl why NAME` says what holds their locks")
    if not yes:
        _ask(node)
    forget_node(context.paths, node)
    context.audit(node=node, did="forget")
    ask(context.where.socket, {"do": "wake"})
    show(f"{node}: forgotten; when its vcsd runs again it is known again")


def _ask(node: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"nodes forget: nobody to ask; add --yes to forget {node}")
    text = f"Forget {node}? Its units and its groups count no more then."
    try:
        agreed = click.confirm(text)
    except click.Abort:
        agreed = False
    if not agreed:
        raise click.exceptions.Exit(FAILED)


COMMANDS: dict[str, click.Command] = {"nodes": nodes}
