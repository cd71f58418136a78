"""What /etc/vcs/vcs.yaml says of this node, and where everything lies. Standard library only.

A command that only reads must not pay for a YAML parser: the validated values are kept beside the text
they came from, and used as long as the text is the same and so is the version whose judgement they are.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from vcsctl import __version__
from vcsctl.domain import values
from vcsctl.domain.parsed import Bool, Duration, Parsed
from vcsctl.errors import StorageError, UsageError

LARGEST_FILE = 1 << 18
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
    labels: Annotated[tuple[str, ...], Parsed(values.unique_list(_parse_node_name))] = ()
    shared_dir: Annotated[str, Parsed(values.parse_path)] = "/var/lib/vcs/shared"
    log_dir: Annotated[str, Parsed(values.parse_path)] = "/var/log/vcs"
    poll: Duration = 1.0
    poll_busy: Duration = 0.2
    heartbeat: Annotated[float, Parsed(_parse_heartbeat)] = 5.0
    fence_after: Annotated[float | None, Parsed(_parse_fence_after)] = None
    fair_after: Duration = 600.0
    cell: Annotated[str | None, Parsed(values.parse_text)] = None
    allow_nfs3: Bool = False  # a dead node's locks then stay until they are freed on the server


@dataclass(frozen=True, slots=True)
class Places:
    """Every directory of one installation; `root` moves all of them (--root, VCS_ROOT)."""

    root: str = ""

    @property
    def config_file(self) -> str:
        return f"{self.root}/etc/vcs/vcs.yaml"

    @property
    def site_units(self) -> str:
        return f"{self.root}/etc/vcs/services.d"

    @property
    def utilities(self) -> str:
        return f"{self.root}/etc/vcs/utilities"

    @property
    def vendor_units(self) -> str:
        return f"{self.root}/usr/share/vcs/units" if self.root else f"{sys.prefix}/share/vcs/units"

    @property
    def state(self) -> str:
        return f"{self.root}/var/lib/vcs"

    @property
    def remembered_cell(self) -> str:
        """The id of the cell that this machine's vcsd works in."""
        return f"{self.state}/cell.id"

    @property
    def local_cell(self) -> str:
        """The records of the daemons that need no shared directory, laid out as a cell of one node."""
        return f"{self.state}/local"

    @property
    def daemons(self) -> str:
        """Where each runner of a daemon says how it is; on this machine, and gone with a reboot."""
        return f"{self.root}/run/vcs/daemons"

    @property
    def permits(self) -> str:
        """Where the process that never touches the share asks for turns there."""
        return f"{self.root}/run/vcs/permits"

    @property
    def cache(self) -> str:
        return f"{self.root}/var/cache/vcs"

    @property
    def snapshot(self) -> str:
        return f"{self.cache}/catalog.snapshot"

    @property
    def socket(self) -> str:
        return f"{self.root}/run/vcs/vcsd.sock"

    @property
    def config_cache(self) -> str:
        return f"{self.cache}/vcs.yaml.json"

    def moved(self, path: str) -> str:
        return f"{self.root}{path}"


def places(root: str | None) -> Places:
    """For `--root`, else VCS_ROOT, else the system itself."""
    if root == "":  # a variable that was not set, most likely: it must not mean the machine itself
        raise UsageError("--root is empty; name a directory, or leave it out for the system itself")
    root = root if root is not None else os.environ.get("VCS_ROOT", "")
    return Places(os.path.abspath(root) if root else "")


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


def read_source(where: Places) -> bytes | None:
    """The text of vcs.yaml; None when there is none."""
    try:
        with open(where.config_file, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {where.config_file}: {(error.strerror or str(error)).lower()}") from None


def read_cache(where: Places, source: bytes) -> Config | None:
    try:
        for path in (where.config_file, where.config_cache):  # a file others may write is for the strict reader
            status = os.stat(path)
            if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                return None
        with open(where.config_cache, encoding="utf-8") as file:
            cached: dict[str, Any] = json.load(file)
        if cached["made_by"] != __version__ or cached["source"] != source.decode("latin-1"):
            return None
        values_ = cached["values"].items()
        found: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values_}
        return Config(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
