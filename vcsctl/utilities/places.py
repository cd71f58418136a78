"""Where the utilities find their settings and keep their state. The only one here that asks the node's own."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vcsctl.config import load_config
from vcsctl.errors import StorageError
from vcsctl.places import Places, places


@dataclass(frozen=True, slots=True)
class Directories:
    """Absolute and already moved below the root, where one is given."""

    root: str
    node: str
    settings: str
    state: str
    shared: str
    logs: str

    def moved(self, path: str) -> str:
        """A path that a configuration file names, below the root as everything else: a trial harms nothing real."""
        return f"{self.root}{path}"

    def settings_file(self, utility: str) -> str:
        return f"{self.settings}/{utility}.yaml"

    def state_file(self, name: str) -> str:
        """The path of a state file, its directory made if need be."""
        try:
            os.makedirs(self.state, mode=0o755, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {self.state}: {(error.strerror or str(error)).lower()}") from None
        return f"{self.state}/{name}"


def directories(root: str | None) -> Directories:
    """For `--root`, else VCS_ROOT, else the system itself. Raises BadFile when vcs.yaml is wrong."""
    where: Places = places(root)
    config = load_config(where)
    return Directories(
        where.root, config.node, where.utilities, f"{where.state}/utilities", config.shared_dir, config.log_dir
    )
