"""calendar and timeline as they stand on a terminal, go through a pipe, and are drawn as a page."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from terminals import Terminal, assert_screen

from vcsctl.domain.history import Row
from vcsctl.store import history
from vcsctl.store.paths import Paths

Site = Any
NODE = os.uname().nodename
FIRST = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
PAST = ("--from", "2026-03-02T03:00+00:00", "--hours", "2")
MINUTE = timedelta(minutes=1)


def row(name: str, number: int, due: float, waited: float, ran: float, outcome: str = "ok", **beside: Any) -> Row:
    """One run that was due `due` minutes after three, waited and ran so many minutes."""
    slot, start = FIRST + due * MINUTE, FIRST + (due + waited) * MINUTE
    cause = {"ok": "exited", "failed": "exit-code"}[outcome]
    return Row(
        f"{name}.{number}", name, name, outcome, cause, f"exit code {int(outcome != 'ok')}", start + ran * MINUTE, NODE,
        "schedule", slot, started_at=start, duration_s=ran * 60, queue_wait_s=waited * 60, **beside,
    )  # type: ignore[arg-type]  # fmt: skip


def rows() -> Iterator[Row]:
    waits = {15: 36.5, 90: 10}  # for billing; the slots between are coalesced
    dues = (0, 5, 10, 15, *range(55, 95, 5), *range(105, 120, 5))
    for number, due in enumerate(dues, 1):
        yield row("calculator", number, due, waits.get(due, 0), 1.5)
    yield row("charger", 1, 10, 1.5, 40)
    yield row("charger", 2, 70, 20, 10, "failed")
    yield row("rating", 1, 10, 41.5, 25)
    yield row("cleaner", 1, 30, 0, 0.1)
    at = FIRST + 100 * MINUTE
    yield Row("cleaner.2+1", "cleaner", "cleaner", "missed", "too-late", "no node was free", at, NODE, "schedule", at)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    """Nothing of it starts by itself: the only slots are half an hour away from now."""
    made = site_class(tmp_path_factory.mktemp("site"), environment={"TZ": "UTC", "LANG": "C.UTF-8"})
    away = (datetime.now(UTC).minute + 30) % 60
    hourly = f"schedule: periodical\nperiod: 60\nalign: {away}\nexec: [/bin/true]\n"
    made.unit("calculator", hourly + "groups: [billing]\ntimezone: UTC\n")
    made.unit("charger", hourly + "groups: [billing, rating]\n")
    made.unit("rating", hourly + "groups: [rating]\n")
    made.unit("cleaner", "schedule: fixed-time\nrun_at: ['04:05']\ntimezone: Europe/Berlin\nenabled: false\nexec: [/bin/true]\n")
    made.unit("server", "schedule: daemon\nenabled: false\nexec: [/bin/sleep, 1000]\n")
    made.start()
    made.vcsctl("set", "rating", "period=30", f"align={away % 30}")
    made.stop()
    by_name: dict[str, list[Row]] = {}
    for one in rows():
        by_name.setdefault(one.service, []).append(one)
    for found in by_name.values():
        history.append(Paths(str(made.shared)), NODE, found, check=False)
    return made


def screen(site: Site, columns: int, *arguments: str, lang: str = "C.UTF-8") -> str:
    command = [sys.executable, "-m", "vcsctl.cli.main", "--root", str(site.root), *arguments]
    environment = {**site.environment, "LC_ALL": lang, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal(command, environment, columns, 40) as terminal:
        assert terminal.end() == 0
        assert max(map(len, terminal.text.splitlines())) <= columns
        return terminal.text
