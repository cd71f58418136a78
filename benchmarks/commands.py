"""Goals 9 and 10: how long a command takes from its start to its end, beside a click program that prints one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Line, Options, main, median
from benchmarks.site import private_site

FEW, MANY = 30, 10_000
_COUNTS = ((FEW, 1.5), (1_000, None), (MANY, 5.0))  # units, and how many times one line `status` may take
_COMPLETED = ("vcsctl", "status", "idle-0001")  # the name of some services, Tab
_ONE_LINE = """import sys
import click
@click.command()
def one_line() -> None:
    click.echo("one line")
if __name__ == "__main__":
    sys.exit(one_line())
"""
_VCSCTL = """import sys
from vcsctl.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


def measure(options: Options) -> list[Line]:
    lines = []
    for count, limit in _COUNTS:
        with private_site() as site:
            site.fill(count)
            site.start()
            # Both as a console script is installed: a small file that imports and calls.
            vcsctl, one_line = site.root / "vcsctl", site.root / "one-line"
            vcsctl.write_text(_VCSCTL)
            one_line.write_text(_ONE_LINE)
            ours = [sys.executable, str(vcsctl), "--root", str(site.root)]
            commands = {
                "status": [*ours, "status"],
                "help": [*ours, "--help"],
                "name": ["env", *_tab(site.root, _COMPLETED), sys.executable, str(vcsctl)],
                "all names": ["env", *_tab(site.root, ("vcsctl", "status", "")), sys.executable, str(vcsctl)],
                "command": ["env", *_tab(site.root, ("vcsctl", "st")), sys.executable, str(vcsctl)],
                "click": ["env", sys.executable, str(one_line)],
            }
            if _systemd_runs():
                commands["systemctl"] = ["systemctl", "list-timers", "--all"]
            times = _interleaved(commands, options.repetitions)
        lines.append(_ratio("9", f"status, {count:,} units", times["status"], times["click"], limit))
        if count == FEW:
            lines.append(_ratio("10", "--help", times["help"], times["click"], 1.2))
            lines.append(_ratio("10", "Tab: a command", times["command"], times["click"], 1.2))
        lines.append(_ratio("10", f"Tab: some of {count:,} services", times["name"], times["click"], 1.2))
        lines.append(_ratio("-", f"Tab: all of {count:,} services", times["all names"], times["click"], None))
        if "systemctl" in times and count == FEW:
            lines.append(Line("-", "peer: systemctl list-timers", times["systemctl"], "ms"))
    if not _systemd_runs():
        lines.append(
            Line("-", "a click program that prints one line", times["click"], "ms", note="systemd is not running")
        )
    return lines


def _tab(root: Path, words: Sequence[str]) -> list[str]:
    """What the script of bash sets when Tab is typed behind these words."""
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_VCSCTL_COMPLETE": "bash_complete"}
    return [f"{name}={text}" for name, text in {**asked, "VCS_ROOT": str(root)}.items()]


def _ratio(number: str, what: str, ours_ms: float, click_ms: float, limit: float | None) -> Line:
    note = f"median {ours_ms:.0f} ms"
    goal = limit * click_ms if limit is not None else None
    return Line(number, what, ours_ms, "ms", goal, False, "click, one line", click_ms, note)


def _interleaved(commands: Mapping[str, Sequence[str]], repetitions: int) -> dict[str, float]:
    """Median milliseconds by name; taken in turns, so that a noisy moment meets them all."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
    for turn in range(repetitions + 1):
        for name, command in commands.items():
            began_s = time.perf_counter()
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            if turn and done.stdout:  # the first turn only warms up
                times[name].append((time.perf_counter() - began_s) * 1000)
    return {name: median(found) for name, found in times.items()}


def _systemd_runs() -> bool:
    return shutil.which("systemctl") is not None and Path("/run/systemd/system").is_dir()


if __name__ == "__main__":
    main({"commands": measure})
