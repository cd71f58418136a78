"""run: a launch by hand, and what becomes of it. Writes the request first, then looks."""

from __future__ import annotations

from collections.abc import Iterator

import click

from vcsctl.cli.attend import attend
from vcsctl.cli.context import Context, show
from vcsctl.cli.tables import listed
from vcsctl.cli.targets import Place, node_option, runnable
from vcsctl.cli.waiting import tell
from vcsctl.domain.run import Request
from vcsctl.domain.values import parse_duration
from vcsctl.errors import UsageError
from vcsctl.store import queue
from vcsctl.vcsd.control import ask

_ANSWER_S = 2.0


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--wait", is_flag=True, help="Wait for the outcome, and end as the job did.")
@click.option("--follow", is_flag=True, help="The same, and print what the job prints.")
@click.option("--within", metavar="TIME", help="Do not start later than this after now, for example 10m.")
@node_option
@click.pass_obj
def run(
    context: Context, names: tuple[str, ...], wait: bool, follow: bool, within: str | None, node: str | None
) -> None:
    """Request a run now; it waits in the queue while its groups are busy.

    Example: vcsctl run calculator --follow

    One that runs on each of its nodes is requested on all of them, or on --node. With --wait or --follow it is shown
    what it waits for, and Ctrl-C ends the waiting only. The exit code is then 0 when the outcome is ok, else the job's
    own, 128+N when signal N ended it, 124 when its timeout did, 126 when it could not be executed; 80 when it could not
    start in time, 81 when it was cancelled or taken out of the queue, 82 when it is lost. Of several, that of the first
    that is not ok.
    """
    within_s = _within(within)
    if wait or follow:
        raise click.exceptions.Exit(attend(context, lambda: enter(context, names, within_s, node), with_logs=follow))
    for said in enter(context, names, within_s, node):
        if isinstance(said, Request):
            show(f"{said.key}: requested ({said.id})")
        else:
            tell(said)


def enter(
    context: Context, names: tuple[str, ...], within_s: float | None, node: str | None
) -> Iterator[Request | str]:
    """Enters the requests; yields each of them, and what is to be said of them."""
    found = {name: runnable(context, name, node) for name in dict.fromkeys(names)}  # all or none
    requests = []
    for name in found:
        able = dict.fromkeys(place.key for place in found[name] if not place.missing)
        for place in found[name]:
            if place.key not in able:
                yield f"{place.key}: not requested, program missing: {place.missing}"
        for key in able:
            request = Request(queue.new_request_id(), key, name, context.user, context.config.node, within_s)
            queue.enter_request(context.paths, request)
            requests.append(request)
            yield request
    answered = ask(context.where.socket, {"do": "wake"}, _ANSWER_S) is not None
    for text in dict.fromkeys(_nobody(context, found[request.service], request.key, answered) for request in requests):
        if text:
            yield f"{text}; the request waits in the queue"


def _nobody(context: Context, places: list[Place], key: str, answered: bool) -> str:
    """Why no node takes the request up just now; empty when one does. A vcsd that died a moment ago has not been
    silent for long, but this machine's answers or does not."""
    own = context.config.node
    hindrances = {}
    for place in places:
        if place.key == key and not place.missing and (node := context.nodes.get(place.node)):
            is_deaf = node.name == own and not answered
            hindrances[node.name] = node.hindrance or ("not answering" if is_deaf else "")
    if not all(hindrances.values()):
        return ""
    if list(hindrances) == [own] and not answered:
        return "no vcsd answers on this machine"
    return f"no node can take {key} now: {listed(f'{node} ({why})' for node, why in hindrances.items())}"


def _within(text: str | None) -> float | None:
    try:
        return parse_duration(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f"--within {error}") from None


COMMANDS: dict[str, click.Command] = {"run": run}
