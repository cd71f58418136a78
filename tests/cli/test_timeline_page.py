"""The page of `timeline --html`: in itself complete, written whole or not at all, and right in a real browser."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import CHROMIUM, PAGE, Browser, corner, pixels

from vcsctl.cli.timeline_page import checked_path, page, write
from vcsctl.domain.timeline import Span, Window, sections
from vcsctl.errors import RefusedError

BEGIN = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = Window(BEGIN, BEGIN + 120 * MINUTE, BEGIN + 60 * MINUTE, BEGIN + 120 * MINUTE)
EVIL = '</title></svg><img src="http://elsewhere.test/x.png"><script>document.title="run"</script>&amp;'
# Its maker's addresses, which a browser asks for by itself now and then.
OWN = re.compile(r"(https?://)?[a-z0-9.-]+\.(google|googleapis|gvt1)\.com[:/]")


def spans() -> list[Span]:
    def span(key: str, groups: str, state: str, *minutes: float, why: str = "", count: int = 1) -> Span:
        due, *rest = (BEGIN + minute * MINUTE for minute in minutes)
        start, end = (*rest, None, None)[:2]
        return Span(key, key, tuple(groups.split()), state, due, start, end, due, why=why, count=count)  # type: ignore[arg-type]

    return [
        span("charger", "billing rating", "ok", 0, 5, 30),
        span("rating", "rating", "failed", 10, 30, 40, why=EVIL),
        span("calculator", "billing", "running", 35, 50, 70),
        span("calculator", "billing", "planned", 75, 75, 78),
        span("charger", "billing rating", "waiting", 80),
        span("cleaner", "", "missed", 20, why="no node was free", count=3),
        *(span("often", "", "ok", minute / 4, minute / 4, minute / 4 + 0.1) for minute in range(200)),
    ]


def made() -> str:
    return page(sections(spans()), spans(), WINDOW)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_in_the_page_is_elsewhere() -> None:
    text = made()
    for tag, attributes in Tags(text).found:
        assert tag not in ("script", "img", "iframe", "object", "embed", "base", "form", "use", "a"), tag
        assert not attributes.keys() & {"src", "srcset", "action", "style", "xlink:href", "background"}, tag
        assert attributes.get("href", "data:,") == "data:,", tag
        assert not [name for name in attributes if name.startswith("on")], tag
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|http|//", style)
    assert "default-src 'none'" in text


def test_what_a_run_said_stays_text() -> None:
    text = made()
    assert "<img" not in text
    assert "&lt;img src=" in text


def test_slots_missed_in_a_row_are_crossed_all_along_and_no_closer_than_can_be_told_apart() -> None:
    row = Span("a", "a", (), "missed", BEGIN - 60 * MINUTE, last=BEGIN + 119 * MINUTE, count=180)
    text = page(sections([row]), [row], WINDOW)
    (path,) = [
        attributes["d"] or ""
        for tag, attributes in Tags(text).found
        if (tag, attributes.get("class")) == ("path", "cross")
    ][1:]
    places = [float(x) for x in re.findall(r"M([0-9.]+)", path)]
    assert 50 < len(places) < 110
    assert places[-1] - places[0] > 1000
    assert "for 180 slots" in text


def test_many_runs_side_by_side_are_drawn_as_few() -> None:
    # One in 15 s for 50 minutes, of which a pixel has 7.
    day = Window(BEGIN, BEGIN + timedelta(days=2), BEGIN, BEGIN + timedelta(days=2))
    chart = page(sections(spans()), spans(), day)
    drawn = [tag for tag, attributes in Tags(chart).found if tag == "rect" and attributes.get("class") == "ok"]
    assert 1 < len(drawn) < 20
    assert chart.count("<td>often</td>") == 200, "the table has them all"


def test_it_is_written_whole_and_replaces_a_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("page.html", "first")
    write("page.html", "second")
    assert (tmp_path / "page.html").read_text() == "second"
    assert os.listdir(tmp_path) == ["page.html"]
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (
        ("link", "a link"),
        ("folder", "a directory"),
        ("pipe", "no file"),
        ("page.html/x", "not a dir"),
        ("away/page.html", "there is no directory"),
    ):
        with pytest.raises(RefusedError, match=f"--html {name}(: | is ){kind}"):
            checked_path(name)
        with pytest.raises(RefusedError):
            write(name, "text")
    assert target.read_text() == "kept"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `make browser-test` installs it")
def test_a_browser_shows_it_in_light_and_dark_and_asks_for_nothing_else(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    text = made().encode()
    document, light = browser.open(text)
    _, dark = browser.open(text, dark=True)
    assert [address for address in browser.asked if not OWN.match(address)] == [PAGE, PAGE]
    assert (corner(light), corner(dark)) == ("ffffff", "0d1117")
    assert len(set(pixels(light))) > 100, "there is something to be seen"
    for key in ("calculator", "charger", "rating", "cleaner", "often"):
        assert f">{key}</text>" in document
    assert document.count('class="bad"') == 2, "the bar and its place in the legend"
    assert "<title>Timeline " in document, "no script ran"
    assert "no node was free</title>" in document

    # That the proxy sees what a page fetches.
    browser.asked.clear()
    browser.open(b'<img src="http://elsewhere.test/x.png"><link rel="stylesheet" href="https://safe.test/a.css">')
    assert {"http://elsewhere.test/x.png", "safe.test:443"} <= set(browser.asked)
