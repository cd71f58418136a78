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
        "--hours", metavar="N", type=float, default=default, show_default=True, callback=_checked,
        help=f"For how long, at most {_MOST}.",
    )  # fmt: skip


def _checked(_ctx: click.Context, _option: click.Parameter, hours: float) -> float:
    if not _LEAST <= hours <= _MOST:  # nan is neither
        raise UsageError(f"--hours: {hours:g} is not from a minute (0.017) to {_MOST}")
    return hours
