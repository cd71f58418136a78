"""One control group a run, where cgroup v2 is writable: its members cannot leave it, so killing it is complete.

Without it a run is ended through its session and through adoption of orphans, which a process that
outlives a killed runner can escape. Decides nothing.
"""

from __future__ import annotations

import contextlib
import os

from vcsctl.runners import linux


def find_base(cell: str) -> str | None:
    """What the control groups of a cell's runs begin with, where this process may make any; else None.

    The cell is part of it: two cells on one machine may give their runs the same ids.
    """
    folder = _find_folder()
    return f"{folder}/vcs-{cell}" if folder else None


def _find_folder() -> str | None:
    try:
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split() for line in file]
        with open("/proc/self/cgroup") as file:
            own = next((line.strip()[3:] for line in file if line.startswith("0::")), None)
    except OSError:
        return None
    for fields in mounts:
        if own is not None and fields[fields.index("-") + 1] == "cgroup2":
            base = f"{fields[4].rstrip('/')}{own.rstrip('/')}"
            if os.access(f"{base}/cgroup.procs", os.W_OK) and os.access(base, os.W_OK) and _works(base):
                return base
    return None


def _works(base: str) -> bool:
    trial = f"{base}/vcs-trial-{os.getpid()}"
    try:
        os.mkdir(trial)
    except OSError:
        return False
    try:
        pid = linux.fork_into_cgroup(trial)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return os.path.exists(f"{trial}/cgroup.kill")
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(trial)


def path_for(base: str, run_id: str) -> str:
    return f"{base}-{run_id}"


def of_cell(base: str) -> dict[str, str]:
    """Run id → the control group that is there for it."""
    folder, prefix = os.path.dirname(base), f"{os.path.basename(base)}-"
    with contextlib.suppress(OSError):
        return {name.removeprefix(prefix): f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(prefix)}
    return {}


def make(path: str) -> bool:
    try:
        os.mkdir(path)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def enter(path: str) -> None:
    """Moves this process there."""
    descriptor = os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"0")
    finally:
        os.close(descriptor)


def members(path: str) -> list[int]:
    try:
        with open(f"{path}/cgroup.procs") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def kill(path: str) -> None:
    """SIGKILL to every member, also to those being forked meanwhile."""
    with contextlib.suppress(OSError):
        descriptor = os.open(f"{path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1")
        finally:
            os.close(descriptor)


def is_empty(path: str) -> bool:
    try:
        with open(f"{path}/cgroup.events") as file:
            return "populated 0" in file.read()
    except OSError:
        return True


def remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(path)
