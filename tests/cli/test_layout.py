"""Tables within a width: whatever is in them and however narrow it is, no line is wider, and what is cut says so."""

from __future__ import annotations

import pytest

from vcsctl.cli.layout import Column, Row, cut, fitted, width_of, wrapped

COLUMNS = (
    Column("NAME", 20),
    Column("WHERE", 8, leaves=1),
    Column("GROUPS", 8, leaves=2),
    Column("LAST", 10),
    Column("QUEUE", 20, below="waits"),
)
ROWS = (
    Row(("calculator", "a, b, label:any", "billing, stats", "ok 13:31:06 (2h00m ago) 12.1s on b", "-")),
    Row(("x" * 63, "all", "-", "-", "since 13:31:06, held by calculator.5 on b")),
    Row(("wide 漢字 and é and e\u0301", "all", "-", "\x1b[2Jevil\nline\t", "-")),
)


@pytest.mark.parametrize("indent", [0, 2])
def test_no_line_is_wider_than_the_terminal(indent: int) -> None:
    for width in range(20, 240):
        found = fitted(COLUMNS, ROWS, width, indent)
        assert max(map(width_of, found.lines)) <= width, width
        assert all(line.isprintable() for line in found.lines)


def test_what_fits_is_left_whole() -> None:
    found = fitted(COLUMNS, ROWS, 239)
    assert found.left_out == []
    assert not any("…" in line for line in found.lines)
    assert found.lines[2].endswith("since 13:31:06, held by calculator.5 on b")


def test_columns_leave_in_their_order_and_a_reason_moves_below_its_row() -> None:
    rows = (ROWS[0], Row(("short", "all", "-", "-", "since 13:31:06, held by calculator.5 on b")))
    assert fitted(COLUMNS, rows, 80).left_out == []
    assert fitted(COLUMNS, rows, 40).left_out == ["WHERE"]
    found = fitted(COLUMNS, rows, 30)
    assert found.left_out == ["WHERE", "GROUPS"]
    assert found.lines == [
        "NAME        LAST",
        "calculator  ok 13:31:06 (2h00…",
        "short       -",
        "  waits since 13:31:06, held",
        "    by calculator.5 on b",
    ]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("whole", 5, "whole"), ("longer", 5, "long…"), ("漢字漢字", 5, "漢字…"), ("two words", 5, "two…"), ("x", 0, "…")],
)
def test_what_is_cut_says_so(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


def test_a_sentence_goes_on_to_the_right_of_its_beginning() -> None:
    assert list(wrapped("one two three four", 12)) == ["one two", "  three four"]
    assert list(wrapped("one two three four", None)) == ["one two three four"]
