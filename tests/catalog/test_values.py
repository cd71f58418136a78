"""Texts that come near to a value: each is refused with a sentence, never with a fault of the parser itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vcsctl.domain import values

LONG = "9" * 5000
NUMBERS: list[tuple[Callable[[object], object], str]] = [
    (values.parse_duration, "{}"),
    (values.parse_duration, "{}h"),
    (values.parse_start_limit, "{} in 60s"),
    (values.parse_start_limit, "5 in {}s"),
    (values.parse_day, "{}"),
    (values.parse_umask, "{}"),
    (values.parse_address, "host:{}"),
    (values.WholeNumber(0, 9), "{}"),
    (values.parse_time_of_day, "{0}:{0}"),
]


@pytest.mark.parametrize(
    "digits", [LONG, "٣", "१२", "３３３", ""], ids=["5000", "arabic", "devanagari", "wide", "none"]
)
@pytest.mark.parametrize(("parse", "form"), NUMBERS)
def test_a_number_is_a_few_plain_digits(parse: Callable[[object], object], form: str, digits: str) -> None:
    with pytest.raises(ValueError, match=r"^(cannot read|bad)") as caught:
        parse(form.format(digits))
    assert len(str(caught.value)) < 200


def test_a_limit_is_a_few_plain_digits() -> None:
    for text in (LONG, "٣", "1:२"):
        with pytest.raises(values.ItemError, match=r"nofile: cannot read .*write a whole number") as caught:
            values.parse_limits({"nofile": text})
        assert caught.value.place == "nofile"


@pytest.mark.parametrize("text", ["1812", "127.0.0.1:1812", "radius.example:1812", "[::1]:1812"])
def test_an_address_is_a_port_with_or_without_a_host(text: str) -> None:
    assert values.parse_address(text) == text


@pytest.mark.parametrize("text", [":1812", "a b:1812", "::1:1812", "host:0", "host:65536", "host"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        values.parse_address(text)
