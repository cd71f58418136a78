"""Where everything of one installation lies, and what vcs.yaml said when it was last judged. Loads next to nothing:
the completion of a shell asks it.

A command that only reads must not pay for a YAML parser: the validated values are kept beside the text
they came from, and used as long as the text is the same and so is the version whose judgement they are.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from vcsctl import __version__
from vcsctl.errors import StorageError, UsageError

LARGEST_FILE = 1 << 18
SHARED_DIR, LOG_DIR = "/var/lib/vcs/shared", "/var/log/vcs"  # where vcs.yaml does not say


class Places(NamedTuple):
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


def read_source(where: Places) -> bytes | None:
    """The text of vcs.yaml; None when there is none."""
    try:
        with open(where.config_file, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {where.config_file}: {(error.strerror or str(error)).lower()}") from None


def read_kept(where: Places, source: bytes) -> dict[str, Any] | None:
    """The values of vcs.yaml as they were kept for just this text; None where they are to be found anew."""
    import json  # here, since where there is no vcs.yaml nobody needs it

    try:
        for path in (where.config_file, where.config_cache):  # a file others may write is for the strict reader
            status = os.stat(path)
            if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                return None
        with open(where.config_cache, encoding="utf-8") as file:
            cached: dict[str, Any] = json.load(file)
        if cached["made_by"] != __version__ or cached["source"] != source.decode("latin-1"):
            return None
        return {key: tuple(value) if isinstance(value, list) else value for key, value in cached["values"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
