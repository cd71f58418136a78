"""drain, resume: an operator's wish that a node start nothing. Writes it first, then looks whether the node obeys."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator

import click

from vcsctl.cli.cell_nodes import CellNode, read_nodes
from vcsctl.cli.context import Context, reason_option, show
from vcsctl.cli.lookout import Look, Lookout, Message, again
from vcsctl.cli.overview import Overview
from vcsctl.cli.tables import age, listed
from vcsctl.cli.waiting import LOOK_S, Progress, Sentence, on_interrupt, tell
from vcsctl.errors import FAILED, NotRunningError
from vcsctl.store.nodes import Drain, ask_to_drain, drains
from vcsctl.store.nodes import resume as take_back
from vcsctl.store.server_clock import measure_offset
from vcsctl.vcsd.control import ask

_TELL_AFTER_S = 1.0
_BEYOND_A_BEAT_S = 3.0  # for the poll that finds the wish, and a slow storage


@click.command()
@click.argument("node")
@click.option("--wait", is_flag=True, help="Wait until nothing runs there any more.")
@reason_option
@click.pass_obj
def drain(context: Context, node: str, wait: bool, reason: str) -> None:
    """Let a node start nothing more; what runs there goes on. Daemons and slots go to other nodes.

    Example: vcsctl drain bill1 --wait --reason "new disk"
    """
    _attend(context, node, lambda: _draining(context, node, reason, wait))


def _draining(context: Context, node: str, reason: str, wait: bool) -> Iterator[Message]:
    """In a child, as all that touches the shared directory."""
    known = context.node(node)
    if ask_to_drain(context.paths, Drain(node, context.user, reason)):
        context.audit(node=node, did="drain", reason=reason)
        told = "drained"
    else:
        told = f"is drained already{known.drain_words}"
    yield {"asked": True}
    ask(context.where.socket, {"do": "wake"})
    current = yield from _acknowledged(context, node, lambda found: found.is_drained)
    if current.is_silent:
        yield {"said": f"{node}: {told}; it is {current.silence}, and will start nothing when it is back"}
    elif current.is_drained:
        yield {"said": f"{node}: {told}"}
    else:
        yield {"told": f"{node} has not acknowledged yet and may still start runs; `vcsctl nodes` shows when it has"}
        if not wait:
            yield {"code": FAILED}
    if wait:
        yield from again(_left(context, node), LOOK_S)
    elif runs := Overview(context).runs_on(node):
        yield {"said": f"{node}: {listed(runs)} go{'es' if len(runs) == 1 else ''} on; --wait waits for the end"}


@click.command()
@click.argument("node")
@click.pass_obj
def resume(context: Context, node: str) -> None:
    """Let a drained node start runs again.

    Example: vcsctl resume bill1
    """
    _attend(context, node, lambda: _resuming(context, node))


def _resuming(context: Context, node: str) -> Iterator[Message]:
    """In a child."""
    if node not in drains(context.paths):  # the wish counts, whether the node is known or not
        context.node(node)
    if not take_back(context.paths, node):
        yield {"said": f"{node}: is not drained"}
        return
    context.audit(node=node, did="resume")
    ask(context.where.socket, {"do": "wake"})
    if node not in context.nodes:
        yield {"said": f"{node}: resumed; it is not known here"}
        return
    current = yield from _acknowledged(context, node, lambda found: not found.is_drained)
    if current.is_silent:
        yield {"said": f"{node}: resumed; it is {current.silence}"}
    elif current.is_drained:
        yield {"told": f"{node} has not acknowledged yet; `vcsctl nodes` shows when it has"}
        yield {"code": FAILED}
    else:
        yield {"said": f"{node}: resumed"}


def _look(context: Context, node: str, offset_s: float) -> CellNode:
    found = read_nodes(context.paths, context.config.node, offset_s).get(node)
    if found is None:
        raise NotRunningError(f"{node} was forgotten meanwhile")
    return found


def _ahead_s(context: Context) -> float:
    """This machine's clock beside the file server's, by which a node is silent; there, who writes a wish may write."""
    return measure_offset(context.paths.overrides).offset_s


def _acknowledged(context: Context, node: str, is_so: Callable[[CellNode], bool]) -> Generator[Message, None, CellNode]:
    """The node as it is when it says so in its heartbeat, when it is seen to be silent, or after a beat and a bit."""
    offset_s = _ahead_s(context)
    found = _look(context, node, offset_s)
    patience_s = (found.state.heartbeat_s if found.state else 0.0) + _BEYOND_A_BEAT_S
    give_up_s = time.monotonic() + patience_s
    while not is_so(found) and not found.is_silent and time.monotonic() < give_up_s:
        yield {}
        time.sleep(LOOK_S)
        found = _look(context, node, offset_s)
    return found


def _attend(context: Context, node: str, asking: Look) -> None:
    """Tells what the child does, and while it waits until nothing runs there, what for."""
    began_s, progress = time.monotonic(), Progress()
    storage = f"the shared directory {context.config.shared_dir}"
    left: Message = {}
    fault = ""
    with Lookout(asking) as lookout:
        while not lookout.is_over and not left.get("nothing"):
            for message in lookout.messages(LOOK_S):
                match message:
                    case {"asked": True}:
                        on_interrupt(lambda: _farewell(progress, node))
                    case {"said": str(text)}:
                        progress.clear()
                        show(text)
                    case {"told": str(text)}:
                        progress.clear()
                        tell(text)
                    case {"code": int(code)}:
                        raise click.exceptions.Exit(code)
                    case {"fault": str(text)}:
                        fault = text
                    case {"runs": _}:
                        left = message
            if lookout.is_deaf or fault:
                progress.show([(f"{fault or f'{storage} does not answer'}; waiting goes on", "")])
            elif left and time.monotonic() - began_s > _TELL_AFTER_S:
                progress.show([_waits_for(left["runs"], node)])
    progress.clear()
    if left:
        show(f"{node}: nothing runs there")


def _left(context: Context, node: str) -> Look:
    """In a child: what still runs there. The clock is measured once."""
    offset_s: list[float] = []

    def look() -> Iterator[Message]:
        if not offset_s:
            offset_s.append(_ahead_s(context))
        found = _look(context, node, offset_s[0])
        running = Overview(context).running.values()
        runs = sorted((run.value.run_id, run.at.timestamp()) for run in running if run.value.node == node)
        yield {"runs": runs, "nothing": (found.is_drained or found.is_silent) and not runs}

    return look


def _waits_for(runs: list[tuple[str, float]], node: str) -> Sentence:
    if not runs:
        return f"waiting for {node} to acknowledge", ""
    lasts = age(time.time() - min(began for _, began in runs))
    words = f", {lasts}" if len(runs) == 1 else f", the longest for {lasts}"
    return f"waiting for {listed(run_id for run_id, _ in runs)}", words


def _farewell(progress: Progress, node: str) -> str:
    progress.interrupt()
    return f"{node} stays drained; `vcsctl resume {node}` ends it"


COMMANDS: dict[str, click.Command] = {"drain": drain, "resume": resume}
