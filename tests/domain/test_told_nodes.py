"""What follows from what nodes publish: whose KEY it is, which groups count, whose clock is off, who reserves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vcsctl.domain.decision import Plan, Start, Wait
from vcsctl.domain.holder import Holder
from vcsctl.domain.nodes import Told, all_groups, clock_fault, nodes_of
from vcsctl.domain.reconcile import arrange
from vcsctl.domain.reservations import RESERVATION_LOOKS, Entry, count_free_looks, reserving

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ANY, EACH, NOT_HERE = Told(True, False, ("g",)), Told(True, True, ("g",)), Told(False, False, ("g",))


@pytest.mark.parametrize(
    ("key", "own", "differs", "nodes"),
    [
        ("s", ANY, {}, ["b"]),
        ("s", EACH, {}, []),
        ("s@b", EACH, {}, ["b"]),
        ("s@c", EACH, {}, []),
        ("s", ANY, {"s": NOT_HERE}, []),
        ("s", ANY, {"s": None}, []),
        ("s", None, {"s": ANY}, ["b"]),
        ("s@b", ANY, {"s": EACH}, ["b"]),
        ("s", ANY, {"s": EACH}, []),
    ],
    ids=[
        "it says what we say",
        "each node has a KEY of its own",
        "its own KEY",
        "a node's that is not known",
        "not allowed there",
        "unknown or masked there",
        "unknown here",
        "it says each, we any",
        "it says each, the KEY is of any",
    ],
)
def test_whose_a_key_is(key: str, own: Told | None, differs: dict[str, Told | None], nodes: list[str]) -> None:
    assert nodes_of(key, {"b": differs}, {"s": own}) == nodes


def test_a_run_takes_the_groups_that_any_node_declares() -> None:
    assert all_groups("s", [{"s": ANY}, {"s": Told(True, False, ("h", "a"))}, {"s": None}, {}]) == ("a", "g", "h")


@pytest.mark.parametrize(
    ("offset_s", "doubt_s", "fault"),
    [
        (None, 0.0, ""),
        (3.0, 0.0, ""),
        (-9.9, 0.0, ""),
        (12.0, 3.0, ""),
        (30.0, 0.1, "30 s ahead"),
        (-11.0, 0.5, "11 s behind"),
    ],
    ids=["not measured", "a little ahead", "just within", "perhaps within", "far ahead", "behind"],
)
def test_a_node_whose_clock_is_far_off_claims_nothing(offset_s: float | None, doubt_s: float, fault: str) -> None:
    said = clock_fault("a", offset_s, doubt_s)
    assert bool(said) == bool(fault)
    assert fault in said


def entry(key: str, minutes_ago: float, *groups: str) -> Entry:
    return Entry(key, NOW - timedelta(minutes=minutes_ago), groups)


def start(key: str, minutes_ago: float, *groups: str) -> Start:
    return Start(key, "due", Plan("schedule"), NOW - timedelta(minutes=minutes_ago), groups)


@pytest.mark.parametrize(
    ("other", "starts"),
    [(entry("other", 11, "g"), False), (entry("other", 9, "g"), True), (entry("other", 11, "h"), True)],
    ids=["it has waited long", "not long enough", "it wants something else"],
)
def test_an_old_entry_that_only_others_can_start_reserves_its_groups(other: Entry, starts: bool) -> None:
    (decision,) = arrange([start("mine", 1, "g")], {}, NOW, timedelta(minutes=10), [other])
    assert isinstance(decision, Start if starts else Wait)
    if not starts:
        assert "reserved for other, in the queue since" in decision.why


def test_an_older_entry_of_ours_is_not_held_up_by_a_younger_reservation() -> None:
    (decision,) = arrange([start("mine", 12, "g")], {}, NOW, timedelta(minutes=10), [entry("other", 11, "g")])
    assert isinstance(decision, Start)


def test_what_is_held_blocks_before_what_is_reserved() -> None:
    held = {"g": Holder("run.1", "a")}
    (decision,) = arrange([start("mine", 1, "g")], held, NOW, timedelta(minutes=10), [entry("other", 11, "g")])
    assert decision.why == "waits for group g, held by run.1 on a"


def test_a_reservation_for_which_nobody_comes_lapses_and_returns_when_its_groups_are_taken_again() -> None:
    entries, looks = [entry("other", 11, "g")], dict[str, int]()
    for _ in range(RESERVATION_LOOKS):
        looks = count_free_looks(looks, entries, frozenset())
        assert reserving(entries, looks) == entries
    looks = count_free_looks(looks, entries, frozenset())
    assert reserving(entries, looks) == []
    looks = count_free_looks(looks, entries, frozenset({"g"}))
    assert reserving(entries, looks) == entries


def test_only_what_is_first_in_line_is_looked_at_for_whether_anybody_comes() -> None:
    """Between two runs the groups are free for a moment: those further back must not lapse while they wait their turn."""
    first, second, apart = entry("first", 12, "g"), entry("second", 11, "g", "h"), entry("apart", 10, "i")
    looks = dict[str, int]()
    for _ in range(RESERVATION_LOOKS + 1):
        looks = count_free_looks(looks, [second, apart, first], frozenset())
    assert reserving([first, second, apart], looks) == [second]
    looks = count_free_looks(looks, [second, first], frozenset())
    assert looks["second"] == 2  # its turn came with the look that made the first one lapse
