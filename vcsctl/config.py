"""What /etc/vcs/vcs.yaml says of this node, with a default for every key. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Annotated

from vcsctl.domain import values
from vcsctl.domain.parsed import Bool, Duration, Parsed
from vcsctl.places import LOG_DIR, SHARED_DIR, Places, read_kept, read_source

SHORTEST_HEARTBEAT_S = 1.0  # vcsd's chores have their turn once a second


def _parse_node_name(value: object) -> str:
    name = values.text_of(value)
    if not values.NODE_PATTERN.fullmatch(name) or name.endswith((".units", ".runs", ".daemons")):
        raise ValueError(f"bad node name {name!r}; write up to 63 letters, digits, '.', '_' and '-'")
    return name


def _parse_fence_after(value: object) -> float | None:
    return None if value == "auto" else values.parse_duration(value)


def _parse_heartbeat(value: object) -> float:
    """What is silent is told by it: a node that said it beats faster than it can would be taken for dead."""
    seconds = values.parse_duration(value)
    if seconds < SHORTEST_HEARTBEAT_S:
        raise ValueError(f"must be {SHORTEST_HEARTBEAT_S:g}s or more, not {values.text_of(value)}")
    return seconds


def _default_node() -> str:
    return os.uname().nodename


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The keys of vcs.yaml. Durations are in seconds; `fence_after` None means: decided by the file system."""

    node: Annotated[str, Parsed(_parse_node_name)] = field(default_factory=_default_node)
    labels: Annotated[tuple[str, ...], Parsed(values.UniqueList(_parse_node_name))] = ()
    shared_dir: Annotated[str, Parsed(values.parse_path)] = SHARED_DIR
    log_dir: Annotated[str, Parsed(values.parse_path)] = LOG_DIR
    poll: Duration = 1.0
    poll_busy: Duration = 0.2
    heartbeat: Annotated[float, Parsed(_parse_heartbeat)] = 5.0
    fence_after: Annotated[float | None, Parsed(_parse_fence_after)] = None
    fair_after: Duration = 600.0
    cell: Annotated[str | None, Parsed(values.parse_text)] = None
    allow_nfs3: Bool = False  # a dead node's locks then stay until they are freed on the server


def load_config(where: Places) -> Config:
    """The node's configuration with its directories already moved. Raises BadFile (exit code 2)."""
    source = read_source(where)
    if source is None:
        return moved(Config(), where)
    if (cached := read_cache(where, source)) is not None:
        return moved(cached, where)
    # Only who meets a changed file pays for YAML and pydantic; vcsd has a child process do this.
    from vcsctl.config_file import compile_config

    return moved(compile_config(where, source), where)


def moved(config: Config, where: Places) -> Config:
    return replace(config, shared_dir=where.moved(config.shared_dir), log_dir=where.moved(config.log_dir))


def read_cache(where: Places, source: bytes) -> Config | None:
    try:
        kept = read_kept(where, source)
        return Config(**kept) if kept is not None else None
    except TypeError:
        return None
