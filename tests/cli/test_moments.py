"""Every option that takes a moment reads the same words, and each word is one instant."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest

from vcsctl.cli.moments import Moment, Which, parse
from vcsctl.cli.tree import tree
from vcsctl.errors import UsageError

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
WORDS = {
    "now": "2026-03-02T14:00Z",
    "today": "2026-03-02T00:00+01:00",
    "yesterday": "2026-03-01T00:00+01:00",
    "tomorrow": "2026-03-03T00:00+01:00",
    "2026-02-28": "2026-02-28T00:00+01:00",
    "20260228": "2026-02-28T00:00+01:00",
    "2026-02-28 13:30": "2026-02-28T13:30+01:00",
    "2026-02-28 13:30:15": "2026-02-28T13:30:15+01:00",
    "2026-02-28T13:30": "2026-02-28T13:30+01:00",
    "2026-02-28T13:30Z": "2026-02-28T13:30Z",
    "2026-02-28T13:30-05:00": "2026-02-28T13:30-05:00",
    "2h": "2026-03-02T12:00Z",
    "-2h": "2026-03-02T12:00Z",
    "2h ago": "2026-03-02T12:00Z",
    "+2h": "2026-03-02T16:00Z",
    "1h30m": "2026-03-02T12:30Z",
    "3d": "2026-02-27T14:00Z",
    "+3d": "2026-03-05T14:00Z",
    "90s": "2026-03-02T13:58:30Z",
}
TIMES_OF_DAY: dict[str, dict[Which, str]] = {
    "14:59": {"last": "2026-03-02T14:59", "next": "2026-03-03T14:59", "today's": "2026-03-02T14:59"},
    "15:00": {"last": "2026-03-02T15:00", "next": "2026-03-02T15:00", "today's": "2026-03-02T15:00"},
    "15:00:01": {"last": "2026-03-01T15:00:01", "next": "2026-03-02T15:00:01", "today's": "2026-03-02T15:00:01"},
}
REFUSED = ("", "noon", "soon", "25:00", "14:60", "1:30", "2026-13-01", "1e9d", "2h left", "-2h ago", "+", "ago", "2026", "90", "-90", "+90", "90 ago",
           "99999d", "9999-12-31T23:59", "0001-01-01", "1969-12-31")  # fmt: skip
OPTIONS = [
    pytest.param(found.command, option, id=f"{found.name} {option.opts[0]}")
    for found in tree()
    for option in found.command.params
    if option.metavar == "TIME" and option.name not in ("within", "wait", "interval")  # lengths
]
every_zone = pytest.mark.parametrize("zone", [BERLIN, None], ids=["named", "this machine's"])


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    assert os.environ.get("TZ") == before
    time.tzset()


def in_berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@every_zone
@pytest.mark.parametrize("text", WORDS)
def test_a_word_is_one_instant_whatever_asks(text: str, zone: tzinfo | None) -> None:
    which: tuple[Which, ...] = ("last", "next", "today's")
    assert {parse("--since", text).at(NOW, zone, one) for one in which} == {datetime.fromisoformat(WORDS[text])}


@every_zone
@pytest.mark.parametrize("text", TIMES_OF_DAY)
def test_of_a_time_of_day_the_last_the_next_or_todays(text: str, zone: tzinfo | None) -> None:
    for which, expected in TIMES_OF_DAY[text].items():
        assert parse("--since", text).at(NOW, zone, which) == in_berlin(expected), which


@every_zone
@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-03-29 02:30", "2026-03-29T03:30+02:00"), ("2026-10-25 02:30", "2026-10-25T02:30+02:00")],
    ids=["left out, what the clocks show in its place", "comes twice, the first"],
)
def test_at_a_clock_change(text: str, expected: str, zone: tzinfo | None) -> None:
    instant = datetime.fromisoformat(expected)
    assert parse("--since", text).at(NOW, zone, "last") == instant
    that_day, time_of_day = instant + timedelta(hours=9), parse("--since", text.split()[1])
    assert time_of_day.at(that_day, zone, "last") == instant
    assert time_of_day.at(instant - timedelta(minutes=31), zone, "next") == instant


def test_days_are_the_zones_own() -> None:
    late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)  # the 3rd in Berlin
    assert parse("--at", "today").at(late, BERLIN, "last") == in_berlin("2026-03-03")
    assert parse("--at", "today").at(late, UTC, "last") == datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_moment_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse("--since", text)
    assert str(refused.value) == (
        f"--since: cannot read {text!r} as a moment; write for example 14:30, 2026-03-29, `2026-03-29 14:30`, "
        "2026-03-29T14:30+01:00, now, today, yesterday, tomorrow, 2h, -2h or `2h ago`, or +2h"
    )


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_each_option_takes_the_same_words(command: click.Command, option: click.Option) -> None:
    def given(text: str) -> object:
        name = ["calculator"] if any(isinstance(one, click.Argument) for one in command.params) else []
        return command.make_context("vcsctl", [*name, option.opts[0], text]).params[option.name or ""]

    for text in (*WORDS, *TIMES_OF_DAY):
        moment = given(text)
        assert isinstance(moment, Moment)
        assert moment == parse("--since", text)
    for text in REFUSED:
        with pytest.raises(UsageError, match=rf"^{option.opts[0]}: cannot read {re.escape(repr(text))} as a moment; "):
            given(text)


def test_all_of_them_are_found() -> None:
    assert {one.id for one in OPTIONS} == {
        "calendar --from", "history --since", "history --until", "logs --since", "simulate --from", "timeline --from",
        "why --at",
    }  # fmt: skip


def test_the_forms_are_documented() -> None:
    told = (Path(__file__).parents[2] / "docs" / "moments.md").read_text()
    with pytest.raises(UsageError) as refused:
        parse("--since", "")
    forms = str(refused.value).partition("for example ")[2].replace("`", "")
    assert [form for form in re.split(r", (?:or )?| or ", forms) if f"`{form}`" not in told] == []
