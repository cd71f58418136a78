"""How daemons are, as words, lines and JSON. Gathers nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vcsctl.cli.tables import age, listed, local, seconds
from vcsctl.domain.run import to_text

if TYPE_CHECKING:
    from vcsctl.cli.daemons import Instance

When = Callable[[datetime], str]
LOG_LINES = 10
_LOG_TAIL_BYTES = 1 << 14
_AT_REST = ("disabled", "masked", "broken")
_WORDS = {"waiting": "waiting to restart"}


def state_word(instance: Instance) -> str:
    return _WORDS.get(instance.state, instance.state)


def cell_words(instances: Sequence[Instance], where: bool, when: When = local) -> str:
    """The table's cell: of one that has a node of its own choice, or of all its nodes. Empty: nothing to say beside
    its status. `where`: say on which nodes, which goes without saying in a cell of one."""
    shown = [instance for instance in instances if instance.state not in _AT_REST]
    several = [instance for instance in shown if "@" in instance.key]
    if len(several) > 1:
        return _words_of_each(several, when)
    active = next((one for one in shown if one.state != "stands by"), None)
    if active is None:
        return ""
    words = state_word(active)
    if where and active.node and active.state not in ("waits", "not running"):
        words += f" on {active.node}"
    if active.state == "waits":
        words = active.why
    if active.since:
        words += f" since {when(active.since)}"
    if active.state == "unknown" or (not active.since and active.state in ("program missing", "not running")):
        words += f": {active.why}" if active.why else ""
    return words + restarts_words(active)


def _words_of_each(instances: Sequence[Instance], when: When) -> str:
    up = [one for one in instances if one.is_up]
    words = f"up on {len(up)} of {len(instances)}"
    if len(up) == len(instances):
        words += f" since {when(max(one.since for one in up if one.since))}"
    elif up:
        words += f" ({listed(one.node for one in up)})"
    restarts = sum(one.told.restarts for one in up if one.told)
    words += f", {restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""
    others = [f"{one.node} {state_word(one)}{_since_words(one, when)}" for one in instances if not one.is_up]
    return "; ".join((words, listed(others))) if others else words


def _since_words(instance: Instance, when: When = local) -> str:
    return f" since {when(instance.since)}" if instance.since else ""


def restarts_words(instance: Instance) -> str:
    count = instance.told.restarts if instance.told and instance.state != "unknown" else 0
    return f", {count} restart{'s' if count > 1 else ''}" if count else ""


def sentence(instance: Instance) -> str:
    """Its state with the reason, on one line."""
    words = state_word(instance) + _since_words(instance)
    return f"{words}: {instance.why}" if instance.why else words


def faults(name: str, instances: Sequence[Instance]) -> Iterator[str]:
    """What somebody should see to: those that are given up, and those that are not well."""
    for one in instances:
        where = f" on {one.node}" if one.node else ""
        if one.state == "failed":
            remedy = "reset-failed" if one.last and one.last.cause == "start-limit" else "restart"
            yield f"{name} failed{where}: {one.why}; `vcsctl {remedy} {name}` starts it again"
        elif one.is_up and one.told is not None and one.told.healthy is False:
            yield f"{name} is not healthy{where}: {one.told.health_why}"


def details(instance: Instance, log_here: str, changed: str = "") -> Iterator[str]:
    """All that is known of one, a fact a line. `log_here`: the path of its log, if that is on this machine; `changed`:
    what of its unit does not count yet."""
    yield f"{instance.key}{f' on {instance.node}' if instance.node else ''}: {sentence(instance)}"
    if changed:
        yield f"  {changed}"
    told, last = instance.told, instance.last
    if told is not None:
        now = datetime.now(UTC)
        if told.pid and told.began_at:
            lasts = age((now - told.began_at).total_seconds())
            yield f"  main process: {told.pid}, started {local(told.began_at)} ({lasts} ago)"
        yield f"  run: {told.run_id}, restarts: {told.restarts}"
        if told.last_exit:
            yield f"  last exit: {told.last_exit}" + (f", at {local(told.last_exit_at)}" if told.last_exit_at else "")
        if told.next_start_at:
            yield f"  next start: {local(told.next_start_at)}"
        if told.memory_kib is not None or told.cpu_s is not None:
            yield f"  memory: {_mebibytes(told.memory_kib)}, CPU: {seconds(told.cpu_s) or '-'}"
        if told.healthy is not None:
            yield f"  health: {'good' if told.healthy else f'bad: {told.health_why}'}"
        if told.says:
            yield f"  says: {told.says}"
    if last is not None and (told is None or last.id != told.run_id):
        why = f": {last.why}" if last.why != instance.why else ""
        yield f"  last run: {last.id} on {last.node}, {last.outcome}{why}, at {local(last.at)}"
    lines = log_tail(log_here) if log_here else []
    if lines:
        yield f"  log: {log_here}"
        yield from (f"    {text}" for text in lines)
    elif told is not None and told.log:
        yield f"  log: {told.log}" + ("" if log_here else f" on {instance.node}")


def _mebibytes(kib: int | None) -> str:
    return f"{kib / 1024:.1f} MiB" if kib is not None else "-"


def log_tail(path: str) -> list[str]:
    """The last lines of a log; none where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.splitlines()[-LOG_LINES:]
    # A daemon may print what strangers sent it: nothing of it reaches the terminal as a command.
    return ["".join(char if char.isprintable() or char == "\t" else "?" for char in line) for line in lines]


def plain(instance: Instance) -> dict[str, Any]:
    told = instance.told
    return {
        "key": instance.key,
        "node": instance.node or None,
        "state": instance.state,
        "since": _text(instance.since),
        "why": instance.why or None,
        "run": told.run_id if told else None,
        "pid": told.pid or None if told else None,
        "began_at": _text(told.began_at if told else None),
        "restarts": told.restarts if told else None,
        "last_exit": told.last_exit or None if told else None,
        "last_exit_at": _text(told.last_exit_at if told else None),
        "next_start_at": _text(told.next_start_at if told else None),
        "healthy": told.healthy if told else None,
        "health_why": told.health_why or None if told else None,
        "says": told.says or None if told else None,
        "cpu_s": told.cpu_s if told else None,
        "memory_kib": told.memory_kib if told else None,
        "log": told.log or None if told else None,
    }


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None
