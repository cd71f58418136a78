"""The terminal of the tests itself."""

from __future__ import annotations

import os

import pytest
from terminals import Terminal, steady


def test_a_command_sees_a_terminal_of_the_size_asked_for_and_its_screen_is_read() -> None:
    with Terminal(["/bin/sh", "-c", "stty size; printf '\\033[31mred\\033[0m\\n'; exit 3"], os.environ, 100, 30) as it:
        assert it.end() == 3
        assert it.text == "30 100\nred\n"


def test_keys_reach_it_and_a_screen_that_does_not_come_is_told() -> None:
    with Terminal(["/bin/sh", "-c", "read line; echo got $line; sleep 1000"], os.environ) as it:
        it.type("hello\n")
        it.until(lambda text: "got hello" in text, "answer")
        with pytest.raises(AssertionError, match=r"no wonder within 0\.1 s"):
            it.until(lambda text: "wonder" in text, "wonder", 0.1)


def test_what_varies_keeps_its_width() -> None:
    assert steady("since 2026-11-25 13:03:47, 7 s") == "since YYYY-MM-DD hh:mm:ss, 7 s"
