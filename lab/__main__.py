"""python -m lab [SCENARIO...]: plays scenarios and writes the report, with the newest findings of each."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from lab import image, needs
from lab.findings import Findings, keep, kept
from lab.report import render
from lab.scenarios import SCENARIOS
from lab.trial import Trial, play, tell

WORK = image.PROJECT / ".lab"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Plays scenarios on emulated machines.")
    parser.add_argument("scenario", nargs="*", help="which; all by default")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--keep", action="store_true", help="keep the machines' consoles, logs and disks")
    parser.add_argument("--report", type=Path, default=WORK / "report.md", help="where to write")
    chosen = parser.parse_args()
    if chosen.list:
        for name, scenario in SCENARIOS.items():
            tell(f"{name:16} {_title(scenario)}")
        return 0
    if unknown := [name for name in chosen.scenario if name not in SCENARIOS]:
        parser.error(f"unknown scenario {', '.join(unknown)}; --list names them")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # so that every `with` is left, and with it every machine
    try:
        needs.provide()
        images = image.build(WORK)
    except needs.MissingError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    found = []
    for name in chosen.scenario or SCENARIOS:
        findings = Findings(name, _title(SCENARIOS[name]))
        tell(f"{name}: {findings.title}")
        play(SCENARIOS[name].run, Trial(images, findings, keep=chosen.keep))
        found.append(findings)
        tell(f"  {'good' if findings.is_good else 'NOT GOOD'} ({findings.took_s:.0f} s)")
        keep(WORK / "findings", findings)
        newest = (kept(WORK / "findings", known) for known in SCENARIOS)
        chosen.report.write_text(render([one for one in newest if one is not None]))
    tell(f"report: {chosen.report}")
    return 0 if all(one.is_good for one in found) else 1


def _title(scenario: object) -> str:
    return " ".join((scenario.__doc__ or "").split())


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
