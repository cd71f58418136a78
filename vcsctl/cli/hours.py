"""The option --hours of what shows or foresees some time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vcsctl.errors import UsageError

_MOST = 24 * 31  # a forecast of more takes long and tells little
_LEAST = 1 / 60


def hours_option(default: float) -> Callable[[Any], Any]:
    return click.option(
        "--hours", metavar="N", default=f"{default:g}", show_default=True, callback=_checked,
        help=f"For how long, at most {_MOST}.",
    )  # fmt: skip


def _checked(_ctx: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        raise UsageError(f"--hours: {text!r} is no number of hours; write for example 8 or 0.5") from None
    if not _LEAST <= hours <= _MOST:  # nan is neither
        raise UsageError(f"--hours: {hours:g} is not from a minute (0.017) to {_MOST}")
    return hours
