"""Starts the children in which vcsd has files validated, since it loads neither YAML nor pydantic itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any

from vcsctl.errors import UsageError, VcsError
from vcsctl.places import Places

_PATIENCE_S = 120.0


def compile_config(where: Places) -> None:
    """Validates vcs.yaml and keeps the result. Raises UsageError with the problems."""
    command = [sys.executable, "-m", "vcsctl.config_file", where.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if done.returncode:
        raise UsageError(done.stderr.strip())


@dataclass(slots=True)
class Compilation:
    """A catalog being compiled. Its output goes to files, since nobody reads along: a full pipe would stop it."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    faults: IO[bytes]
    give_up_s: float  # by the monotonic clock

    def is_over(self) -> bool:
        """Kills one that takes far too long; its end is then seen at the next look."""
        if time.monotonic() > self.give_up_s:
            self.process.kill()
        return self.process.poll() is not None

    def finish(self) -> dict[str, Any]:
        """Waits for the end; what changed. Raises VcsError."""
        with self.output, self.faults:
            try:
                self.process.wait(max(0.0, self.give_up_s - time.monotonic()))
                self.output.seek(0)
                summary: dict[str, Any] = json.load(self.output)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise VcsError(f"gave up reading the unit files after {_PATIENCE_S:g} s; see to their disk") from None
            except ValueError:
                self.faults.seek(0)
                said = self.faults.read().decode(errors="replace").strip()[-500:]
                raise VcsError(f"cannot compile the unit files: {said or 'the compiler was killed'}") from None
        return summary


def start_compilation(where: Places) -> Compilation:
    command = [sys.executable, "-m", "vcsctl.catalog.compiler"]
    command += ["--vendor", where.vendor_units, "--site", where.site_units, "--snapshot", where.snapshot]
    output, faults = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=faults)
    return Compilation(process, output, faults, time.monotonic() + _PATIENCE_S)
