"""Starts the children in which vcsd has files validated, since it loads neither YAML nor pydantic itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from vcsctl.config import Places
from vcsctl.errors import UsageError, VcsError

_PATIENCE_S = 120.0


def compile_config(where: Places) -> None:
    """Validates vcs.yaml and keeps the result. Raises UsageError with the problems."""
    command = [sys.executable, "-m", "vcsctl.config_file", where.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if done.returncode:
        raise UsageError(done.stderr.strip())


@dataclass(slots=True)
class Compilation:
    """A catalog being compiled; `process.stdout` becomes readable when it is done."""

    process: subprocess.Popen[str]

    def finish(self) -> dict[str, Any]:
        """Waits for the end; what changed. Raises VcsError."""
        output, faults = self.process.communicate(timeout=_PATIENCE_S)
        try:
            summary: dict[str, Any] = json.loads(output)
        except ValueError:
            raise VcsError(f"cannot compile the unit files: {faults.strip()[-500:]}") from None
        return summary


def start_compilation(where: Places) -> Compilation:
    command = [sys.executable, "-m", "vcsctl.catalog.compiler"]
    command += ["--vendor", where.vendor_units, "--site", where.site_units, "--snapshot", where.snapshot]
    return Compilation(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
