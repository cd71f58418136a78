"""Forks one runner as vcsd does, says its pid, and ends everything when its standard input is closed."""

from __future__ import annotations

import ast
import os
import signal
import sys
from datetime import UTC, datetime

from vcsctl.domain.run import Claim
from vcsctl.domain.unit import Daemon, Health, Probe, Reload, to_plain
from vcsctl.errors import StorageError
from vcsctl.runners import cgroups, linux, proc
from vcsctl.runners.base import Job
from vcsctl.runners.start import start
from vcsctl.store import locks, state
from vcsctl.store.paths import Paths

KINDS = {"health": Health, "reload": Reload}


def lose_when_told(root: str) -> None:
    """As a file server that gave the locks away: writing out says EIO from then on."""
    prove = locks.HeldLock.prove

    def proof(lock: locks.HeldLock) -> None:
        if os.path.exists(f"{root}/lose"):
            with open(f"{root}/lost", "w"):
                raise StorageError(f"cannot prove the lock {lock.path}: the storage failed")
        prove(lock)

    locks.HeldLock.prove = proof  # type: ignore[method-assign]


def main() -> None:
    asked = ast.literal_eval(sys.stdin.readline())
    linux.become_subreaper()
    root, fence, keys = asked["root"], asked["fence"], asked["keys"]
    for name, kind in KINDS.items():
        if name in keys:
            keys[name] = kind(**keys[name])
    if isinstance(keys.get("ready"), dict):
        keys["ready"] = Probe(**keys["ready"])
    unit = Daemon(**keys, groups=asked["groups"])
    paths = Paths(f"{root}/shared")
    grant = locks.take(paths.key_lock("d"), {group: paths.group_lock(group) for group in asked["groups"]})
    assert isinstance(grant, locks.Grant), f"{grant} is held"
    claim = Claim(
        "d",
        fence,
        "d",
        "n1",
        "daemon",
        "wanted",
        groups=asked["groups"],
        queued_at=datetime.now(UTC),
        unit=to_plain(unit),
    )
    draft = state.draft_claim(paths, claim)
    draft.link()
    draft.discard()
    base = cgroups.find_base("test") if asked["cgroups"] else None
    cgroup = cgroups.path_for(base, f"{os.getpid()}") if base else None
    if cgroup:
        cgroups.make(cgroup)
    fences = grant.raise_fences(fence, "test")
    job = Job(
        paths,
        claim,
        unit,
        grant,
        fences,
        f"{root}/log/d/d.log",
        "boot",
        asked["fence_after_s"],
        cgroup,
        asked["daemons"],
    )
    if asked["lost_locks"]:
        lose_when_told(root)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    runner = start(job)
    grant.close()
    print(runner, flush=True)
    sys.stdin.read()
    linux.kill(runner, signal.SIGKILL)
    for pid in proc.descendants_of(os.getpid()):
        linux.kill(pid, signal.SIGKILL)
    if cgroup:
        cgroups.kill(cgroup)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
        for pid in proc.descendants_of(os.getpid()):
            linux.kill(pid, signal.SIGKILL)
    if cgroup:
        cgroups.remove(cgroup)


main()
