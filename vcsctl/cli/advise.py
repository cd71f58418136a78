"""advise: `align` values that lower the waits and the starts at once, as drop-ins. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from vcsctl.cli.context import Context, in_time, output_option, show, show_json
from vcsctl.cli.hours import hours_option
from vcsctl.cli.outset import Gathered, all_option, durations_option, gather
from vcsctl.cli.overview import Overview
from vcsctl.cli.progress import progress
from vcsctl.cli.simulate import notes
from vcsctl.cli.tables import listed, seconds
from vcsctl.domain import advice, figures
from vcsctl.domain.figures import Score
from vcsctl.domain.forecast import forecast
from vcsctl.domain.unit import FixedTime, Periodical


@click.command()
@hours_option(24.0)
@durations_option
@all_option
@output_option
@click.pass_obj
def advise(context: Context, hours: float, given: tuple[str, ...], everything: bool, output: str) -> None:
    """Propose align values with which services wait less.

    Example: vcsctl advise > plan.txt

    Prints drop-ins, ready to commit, and what they bring by the forecast of `vcsctl simulate`. Changes nothing; a plan
    that is worse in anything is not proposed. See docs/forecast.md.
    """

    def read() -> Callable[[], None]:
        start = datetime.now(UTC).replace(second=0, microsecond=0)
        found = gather(context, Overview(context), start, hours, given, everything=everything)
        return lambda: _advise(found, output)

    in_time(read)


def _advise(found: Gathered, output: str) -> None:
    before, after, moved = best_plan(found)
    if output == "json":
        show_json("advice", _plain(found, before, after, moved))
        return
    if not moved:
        show(f"nothing to gain: {_words(before)}")
    for name, align in moved.items():
        path = f"etc/vcs/services.d/{name}.yaml.d/50-align.yaml"
        show(f"# {path}\nalign: {align}    # was {_align(found, name)}, every {_period(found, name)} min\n")
    if moved:
        show(f"# before: {_words(before)}\n# after:  {_words(after)}")
    if found.retimed:
        show(f"# not moved, set by hand (see `vcsctl status NAME`): {listed(sorted(found.retimed))}")
    for text in notes(found):
        show(f"# {text}")


def best_plan(found: Gathered) -> tuple[Score, Score, dict[str, int]]:
    """The scores of the plan as it is and of the best one, and the aligns in which they differ: none when nothing is
    better."""
    members = [
        advice.Member(
            name, unit.period, unit.align, found.lasting[name].mean_s, frozenset(found.groups[name]),
            len(found.keys[name]), name in found.retimed,
        )
        for name, unit in found.units.items()
        if isinstance(unit, Periodical)
    ]  # fmt: skip
    times = [text for unit in found.units.values() if isinstance(unit, FixedTime) for text in unit.run_at]
    fixed_minutes = [60 * int(text[:2]) + int(text[3:]) for text in times]
    with progress("searching") as tell:
        plans = list(advice.plans(members, fixed_minutes, lambda done: tell(done / 2)))
        scores = []
        for number, plan in enumerate([None, *plans]):
            done = lambda share, number=number: tell(0.5 + (number + share) / (len(plans) + 1) / 2)  # noqa: E731
            scores.append(figures.score(forecast(found.outset(plan), found.start, found.until, done)))
    before = scores[0]
    better = [(after, plan) for after, plan in zip(scores[1:], plans, strict=True) if after.is_better_than(before)]
    if not better:
        return before, before, {}
    after, plan = min(better, key=lambda one: (one[0].unserved, one[0].wait_s, one[0].peak))
    return before, after, {name: align for name, align in plan.items() if align != _align(found, name)}


def _align(found: Gathered, name: str) -> int:
    unit = found.units[name]
    assert isinstance(unit, Periodical)
    return unit.align


def _period(found: Gathered, name: str) -> int:
    unit = found.units[name]
    assert isinstance(unit, Periodical)
    return unit.period


def _words(score: Score) -> str:
    waits = f"{seconds(score.wait_s)} of waiting in all"
    return f"{waits}, {score.unserved} slots coalesced or missed, at most {score.peak} starts in one minute"


def _plain(found: Gathered, before: Score, after: Score, moved: dict[str, int]) -> dict[str, Any]:
    return {
        "before": asdict(before),
        "after": asdict(after),
        "align": {name: {"from": _align(found, name), "to": align} for name, align in moved.items()},
        "assumed": found.assumed,
        "set_by_hand": sorted(found.retimed),
        "taken_for_up": found.silent,
    }


COMMANDS: dict[str, click.Command] = {"advise": advise}
