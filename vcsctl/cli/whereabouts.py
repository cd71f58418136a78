"""On which node the log of a run lies, by what is on record of it. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

from vcsctl.cli.context import Context, answered
from vcsctl.cli.overview import Overview
from vcsctl.domain.run import parse_run_id, service_of
from vcsctl.errors import NotRunningError
from vcsctl.runners.leftovers import log_path, log_path_of_daemon
from vcsctl.store import history, running, state
from vcsctl.store.records import Faults


def sentence(run_id: str, node: str, log: str, *, is_over: bool) -> str:
    return f"{run_id} {'ran' if is_over else 'runs'} on {node}; its log lies there: {log}"


def is_here(log: str) -> bool:
    """Also of a run on another node, where nodes share a log directory. By a listing: over NFS a name that was missing
    once stays missing for long."""
    folder, name = os.path.split(log)
    return os.path.isdir(folder) and name in os.listdir(folder)


def log_of(context: Context, key: str, fence: int, run_id: str) -> str:
    """As its runner put it on record; where that is gone, as the logs of this machine are named."""
    started = state.read_started(context.paths, key, fence)
    return started.log if started and started.log else log_path(context.config.log_dir, key, run_id)


def missing_run(context: Context, run_id: str) -> NotRunningError:
    """Why a run's log is not on this machine."""
    key, fence = parse_run_id(run_id) or ("", 0)
    service = service_of(key)
    live = running.live(context.paths, Faults()).get(key)
    is_over = live is None or live.value.run_id != run_id
    recorded = history.read(context.paths, service, answered) if is_over else ()
    row = next((row for row in recorded if row.id == run_id), None)
    node = row.node if row else live.value.node if live and not is_over else ""
    if not node and (text := _not_started(context, key, fence)):
        return NotRunningError(f"{run_id} has not started: {text}; `vcsctl logs {service} -f` follows the next one")
    if not node:
        return NotRunningError(f"there is no run {run_id} on record; `vcsctl history {service}` lists them")
    log = log_of(context, key, fence, run_id)
    if node != context.config.node:
        return NotRunningError(sentence(run_id, node, log, is_over=is_over))
    return NotRunningError(f"the log of {run_id} is gone: {log} is not there any more; old logs are removed")


def _not_started(context: Context, key: str, fence: int) -> str:
    """Where the KEY's runs have come to; empty where they are past that one."""
    newest = state.read_key(context.paths, key, Faults()).run
    if newest is None:
        context.row(service_of(key))  # raises where there is none
        return f"{key} has not run yet"
    return f"the last run is {newest.value.run_id}" if fence > newest.value.fence else ""


def missing_log(context: Context, name: str) -> NotRunningError:
    """Why no log of a service is on this machine. Raises UnknownUnitError."""
    context.row(name)
    found = list(_elsewhere(context, name))
    return NotRunningError("\nvcsctl: ".join(found) if found else f"no log of {name} on this node: it has not run here")


def _elsewhere(context: Context, name: str) -> Iterator[str]:
    own, log_dir = context.config.node, context.config.log_dir
    is_daemon = (context.row(name)["plain"] or {}).get("schedule") == "daemon"
    for key in Overview(context).keys(name):
        node = key.partition("@")[2]
        if found := newest_elsewhere(context, key):
            yield found
        elif is_daemon and node and node != own:  # one that needs no share has its records on its own node
            yield f"the log of {key} lies on {node}: {log_path_of_daemon(log_dir, key)}"


def newest_elsewhere(context: Context, key: str) -> str:
    """Where the log of the KEY's newest run lies, if that is not this machine; else empty."""
    found = state.read_key(context.paths, key, Faults())
    if found.run is None or found.runs_on == context.config.node:
        return ""
    run_id = found.run.value.run_id
    if is_here(log_path(context.config.log_dir, key, run_id)):
        return ""
    log = log_of(context, key, found.run.value.fence, run_id)
    return sentence(run_id, found.runs_on, log, is_over=found.end is not None)
