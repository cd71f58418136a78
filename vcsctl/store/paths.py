"""The only place that spells a name in the shared directory. No I/O.

Every name made from a unit, node, group or request passes `_part` first: nothing read from a file becomes
a path unchecked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,200}")
TEMPORARY_PREFIX = ".tmp."
ASIDE_SUFFIX = ".unreadable"
FOLDERS = (
    *("locks/key", "locks/group", "locks/node"),
    *("queue", "state", "running", "overrides", "nodes", "history", "audit", "probe"),
)
CLAIM, STARTED, END, STOP, RESET = ".json", ".started", ".end.json", ".stop", ".reset"
ORDER = "order"
DONE = "done"
DRAINED = ".drained"
UNITS = ".units.json"
RUNS = ".runs.jsonl"
DAEMONS = ".daemons.json"
SESSION_PREFIX = "session."


def _part(name: str) -> str:
    if not _PART.fullmatch(name):
        raise ValueError(f"{name!r} cannot be part of a file name")
    return name


@dataclass(frozen=True, slots=True)
class Paths:
    """The names below one root: the shared directory, or a cell of this machine alone."""

    root: str

    @property
    def cell(self) -> str:
        return f"{self.root}/cell.json"

    @property
    def queue(self) -> str:
        return f"{self.root}/queue"

    @property
    def states(self) -> str:
        return f"{self.root}/state"

    @property
    def running(self) -> str:
        return f"{self.root}/running"

    @property
    def overrides(self) -> str:
        return f"{self.root}/overrides"

    @property
    def nodes(self) -> str:
        return f"{self.root}/nodes"

    @property
    def probe(self) -> str:
        """Where `doctor` and vcsd's own test make their files; nothing in it is part of the cell's state."""
        return f"{self.root}/probe"

    def folder(self, name: str) -> str:
        return f"{self.root}/{name}"

    def copied(self) -> str:
        """In the cell of one machine: how much of its history is in the shared one."""
        return f"{self.root}/copied.json"

    def keeper_lock(self) -> str:
        """In the cell of one machine: whose vcsd works there."""
        return f"{self.root}/locks/keeper"

    def key_lock(self, key: str) -> str:
        return f"{self.root}/locks/key/{_part(key)}"

    def group_lock(self, group: str) -> str:
        return f"{self.root}/locks/group/{_part(group)}"

    def node_lock(self, node: str) -> str:
        return f"{self.root}/locks/node/{_part(node)}"

    def state(self, key: str) -> str:
        return f"{self.root}/state/{_part(key)}"

    def claim(self, key: str, fence: int) -> str:
        return f"{self.state(key)}/{fence}{CLAIM}"

    def started(self, key: str, fence: int) -> str:
        return f"{self.state(key)}/{fence}{STARTED}"

    def end(self, key: str, fence: int) -> str:
        return f"{self.state(key)}/{fence}{END}"

    def stop(self, key: str, fence: int) -> str:
        return f"{self.state(key)}/{fence}{STOP}"

    def reset(self, key: str, fence: int) -> str:
        """An operator has seen that this run of a daemon failed: it may be started again."""
        return f"{self.state(key)}/{fence}{RESET}"

    def since(self, key: str, digest: str, turn: int) -> str:
        """The moment a schedule came into force; `turn` counts its returns after another one was in force."""
        return f"{self.state(key)}/since.{_part(digest)}" + (f".{turn}" if turn > 1 else "")

    def slots_entry(self, key: str) -> str:
        return f"{self.root}/queue/{_part(key)}.slots.json"

    def request(self, key: str, request: str) -> str:
        return f"{self.root}/queue/{_part(key)}.{_part(request)}.json"

    def cancelled(self, key: str, request: str) -> str:
        return f"{self.root}/queue/{_part(key)}.{_part(request)}.cancelled"

    def order(self, key: str, identity: str) -> str:
        """What an operator wants of a daemon."""
        return f"{self.root}/queue/{_part(key)}.{_part(identity)}.{ORDER}"

    def done(self, key: str, identity: str) -> str:
        """In the cell of one machine: that order was carried out, and the shared directory does not know it yet."""
        return f"{self.root}/queue/{_part(key)}.{_part(identity)}.{DONE}"

    def running_index(self, run_id: str) -> str:
        """One name a run, not one a KEY: what a node that was cut off does late must not touch the next run's."""
        return f"{self.root}/running/{_part(run_id)}.json"

    def override(self, service: str) -> str:
        return f"{self.root}/overrides/{_part(service)}.json"

    def drain(self, node: str) -> str:
        """An operator's wish that a node start nothing; beside the overrides, where operators may write."""
        return f"{self.root}/overrides/{_part(node)}{DRAINED}"

    def overrides_lock(self) -> str:
        return f"{self.root}/overrides/.lock"

    def node(self, node: str) -> str:
        return f"{self.root}/nodes/{_part(node)}.json"

    def node_units(self, node: str) -> str:
        return f"{self.root}/nodes/{_part(node)}{UNITS}"

    def node_runs(self, node: str) -> str:
        """The last outcome of each service that ran on this node: an index of its history, for `status`."""
        return f"{self.root}/nodes/{_part(node)}{RUNS}"

    def node_daemons(self, node: str) -> str:
        """How the daemons of this node are, for `status`."""
        return f"{self.root}/nodes/{_part(node)}{DAEMONS}"

    def history_folder(self, service: str) -> str:
        return f"{self.root}/history/{_part(service)}"

    def history(self, service: str, month: str, node: str) -> str:
        return f"{self.history_folder(service)}/{_part(month)}.{_part(node)}.jsonl"

    def audit(self, node: str) -> str:
        return f"{self.root}/audit/{_part(node)}.jsonl"

    def self_test(self, test: str) -> str:
        return f"{self.root}/probe/self-test.{_part(test)}"

    def session(self, session: str) -> str:
        """Where two `doctor`s on two nodes meet."""
        return f"{self.root}/probe/{SESSION_PREFIX}{_part(session)}"


def is_part(name: str) -> bool:
    return _PART.fullmatch(name) is not None


def session_taken(session: str) -> str:
    return f"{session}/taken"


def session_left(session: str, role: str) -> str:
    return f"{session}/left.{_part(role)}"


def session_message(session: str, role: str, number: int) -> str:
    return f"{session}/{number:05}.{_part(role)}.json"


def session_trial(session: str, name: str) -> str:
    """What the two try out: lock files, names that both want."""
    return f"{session}/trials/{_part(name)}"


def split_queue_name(name: str) -> tuple[str, str, str] | None:
    """`KEY.ID.SUFFIX` → (key, id, suffix); None for a name that is none of ours. Keys may hold dots, ids not."""
    stem, _, suffix = name.rpartition(".")
    key, _, identity = stem.rpartition(".")
    if suffix not in ("json", "cancelled", ORDER, DONE) or not is_part(key) or not is_part(identity):
        return None
    return key, identity, suffix
