"""200 daemons that do nothing: what keeping them up costs in memory and processor time, beside supervisord."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Line, Options, main
from benchmarks.idle import cpu_s
from benchmarks.site import PATIENCE_S, Site, private_site

COUNT = 200
WATCH_S = 60.0  # at least: what happens once in half a minute is to be in it
SETTLE_S = 15.0
PROGRAM = ("/bin/sleep", "infinity")
_VENV = Path(sys.prefix) / "supervisord"


@dataclass(frozen=True, slots=True)
class Kept:
    """The processes of a manager and its daemons."""

    manager: list[int]
    runners: list[int]
    daemons: list[int]

    @property
    def ours(self) -> list[int]:
        return [*self.manager, *self.runners]


def measure(options: Options) -> list[Line]:
    watch_s = max(WATCH_S, options.idle_s)
    peer = _supervisord(watch_s)
    with private_site() as site:
        began_s = _start(site)
        percent = _percent(_kept(site.pid), watch_s)
        kept = _kept(site.pid)
        pss, private = _memory_mib(kept.ours)
        runner_pss, runner_private = _memory_mib(kept.runners)
        manager_pss, _ = _memory_mib(kept.manager)
        _end(site, kept)
    note = "" if peer else "supervisor could not be installed"
    mib, cpu = peer or (None, None)
    name = "supervisord" if peer else ""
    daemons = f"{COUNT} daemons"
    return [
        Line("-", f"{daemons}: memory of a runner, its share", runner_pss / COUNT, "MiB"),
        Line("-", f"{daemons}: memory of a runner, its own pages", runner_private / COUNT, "MiB"),
        Line("-", f"{daemons}: memory of vcsd", manager_pss, "MiB"),
        Line("-", f"{daemons}: memory of all but the daemons", pss, "MiB", peer=name, peer_value=mib, note=note),
        Line("-", f"{daemons}: of these, own pages", private, "MiB"),
        Line("-", f"{daemons}: CPU at rest, {watch_s:g} s", percent, "%", peer=name, peer_value=cpu, note=note),
        Line("-", f"{daemons}: from the start of vcsd until all run", began_s, "s"),
    ]


def _start(site: Site) -> float:
    for number in range(COUNT):
        name = f"daemon-{number:03}"
        words = ", ".join(PROGRAM)
        (site.units / f"{name}.yaml").write_text(f"schedule: daemon\nexec: [{words}]\n")
    began_s = time.monotonic()
    site.start()
    site.until(lambda: len(_kept(site.pid).daemons) == COUNT, "all daemons run", pause_s=0.5)
    took_s = time.monotonic() - began_s
    time.sleep(SETTLE_S)
    return took_s


def _end(site: Site, kept: Kept) -> None:
    """They would outlive vcsd."""
    site.stop()
    for pid in (*kept.runners, *kept.daemons):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)


def _kept(manager: int) -> Kept:
    """Runners are what has a daemon as its child."""
    tree = dict(_tree(manager))
    daemons = [pid for pid in tree if _name(pid) == Path(PROGRAM[0]).name]
    runners = {tree[pid] for pid in daemons} - {manager}
    return Kept([pid for pid in tree if pid not in runners and pid not in daemons], sorted(runners), daemons)


def _tree(pid: int, parent: int = 0) -> Iterator[tuple[int, int]]:
    """Each process below and its parent."""
    yield pid, parent
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child), pid)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _memory_mib(pids: list[int]) -> tuple[float, float]:
    """The proportional set, and what is nobody else's."""
    shared = private = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            key, _, value = line.partition(":")
            kib = int(value.split()[0])
            shared += kib if key == "Pss" else 0
            private += kib if key in ("Private_Clean", "Private_Dirty") else 0
    return shared / 1024, private / 1024


def _percent(kept: Kept, watch_s: float) -> float:
    before_s = sum(cpu_s(pid) for pid in kept.ours)
    time.sleep(watch_s)
    return (sum(cpu_s(pid) for pid in kept.ours) - before_s) / watch_s * 100


def _supervisord(watch_s: float) -> tuple[float, float] | None:
    """Its memory and its CPU with the same programs, by its usual settings; None where it cannot be had."""
    program = _VENV / "bin/supervisord"
    if not program.exists() and not _install():
        return None
    with tempfile.TemporaryDirectory(prefix="vcs-bench-", ignore_cleanup_errors=True) as folder:
        text = f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\nchildlogdir={folder}\n"
        for number in range(COUNT):
            text += f"[program:daemon-{number:03}]\ncommand={' '.join(PROGRAM)}\n"
        configuration = Path(folder) / "supervisord.conf"
        configuration.write_text(text)
        command = [str(program), "-c", str(configuration)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            give_up_s = time.monotonic() + PATIENCE_S
            while len(_kept(process.pid).daemons) < COUNT:
                if time.monotonic() > give_up_s or process.poll() is not None:
                    raise SystemExit("supervisord did not start its programs")
                time.sleep(0.5)
            time.sleep(SETTLE_S)
            kept = _kept(process.pid)
            percent = _percent(kept, watch_s)
            return _memory_mib(kept.ours)[0], percent
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _install() -> bool:
    """In a virtual environment of its own: what it needs is not what we need."""
    made = subprocess.run([sys.executable, "-m", "venv", str(_VENV)], capture_output=True, check=False)
    pip = [str(_VENV / "bin/pip"), "install", "--quiet", "supervisor", "setuptools<81"]
    return made.returncode == 0 and subprocess.run(pip, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main({"daemons": measure})
