"""What is allowed in units and probably not meant: each check by what makes it speak and what leaves it silent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vcsctl.domain.judged import Known, together
from vcsctl.domain.mistyped import is_slip
from vcsctl.domain.unit import Daemon, FixedTime, Periodical, Unit

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
G = ("billing",)


def every(name: str, period: int, align: int = 0, groups: tuple[str, ...] = G, **more: object) -> Unit:
    return Periodical(name=name, exec=("x",), period=period, align=align, groups=groups, **more)  # type: ignore[arg-type]


def at(name: str, *run_at: str, groups: tuple[str, ...] = G, **more: object) -> Unit:
    return FixedTime(name=name, exec=("x",), run_at=run_at, groups=groups, **more)  # type: ignore[arg-type]


def found(units: list[Unit], **known: object) -> list[str]:
    findings = together(units, Known(NOW, **known))  # type: ignore[arg-type]
    return [f"{one.name}: {'.'.join(map(str, one.place))}: {one.text}" for one in findings]


def alone_in(*groups: str) -> list[Unit]:
    """Each group named has one unit of its own, a, b, ..., at a minute of its own."""
    return [every(chr(97 + place), 60, place, (group,)) for place, group in enumerate(groups)]


GROUPS = [
    ("a letter is missing", ["billing", "billing", "biling"], "c: groups.0: no other unit is in 'biling'; write 'billing' if the group of a and 1 more is meant, else a name that differs by more than a letter"),
    ("a letter too many, on the other side", ["billings", "billing", "billing"], "a: groups.0: no other unit is in 'billings'; write 'billing' if the group of b and 1 more is meant, else a name that differs by more than a letter"),
    ("two letters changed places", ["billing", "billing", "billign"], "c: groups.0: no other unit is in 'billign'; write 'billing' if the group of a and 1 more is meant, else a name that differs by more than a letter"),
    ("both are alone: the later unit is told", ["mail-queue", "mailqueue"], "b: groups.0: no other unit is in 'mailqueue'; write 'mail-queue' if the group of a is meant, else a name that differs by more than a letter"),
    ("alone, and near no other", ["cache", "events", "mail-queue", "provisioning"], None),
    ("near, and each used by two", ["report", "report", "reports", "reports"], None),
    ("numbered on purpose", ["shard-1", "shard-2", "db1", "db2", "pool10", "pool1"], None),
    ("lettered on purpose", ["rates-a", "rates-b", "a-rates", "b-rates"], None),
    ("short", ["cdr", "cdrs", "xdr"], None),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "expected"), [case[1:] for case in GROUPS], ids=[case[0] for case in GROUPS])
def test_a_group_of_one_unit_is_told_where_its_name_is_near_another(groups: list[str], expected: str | None) -> None:
    assert found(alone_in(*groups)) == ([expected] if expected else [])


def test_both_names_in_one_unit_are_meant() -> None:
    assert found([every("a", 60, 0, ("report", "reports")), every("b", 60, 1, ("report",))]) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("billing", "biling", True), ("billing", "billling", True), ("billing", "bolling", True), ("billing", "iblling", True),
        ("billing", "billing", False), ("billing", "bolking", False), ("stats", "rates", False), ("rates", "rates-x", False),
        ("rates-1x", "rates-2x", False), ("import", "export", False), ("cells", "cell", True),
    ],
)  # fmt: skip
def test_what_a_slip_is(one: str, other: str, expected: bool) -> None:
    assert is_slip(one, other) is expected
    assert is_slip(other, one) is expected


NODES = [
    ("a name with a slip", ("bil1", "bill2"), "a: nodes.0: no node is called 'bil1'; write 'bill1', or add it to --nodes"),
    ("none is there", ("web1",), "a: nodes.0: no node is called 'web1', so it runs nowhere; write one of --nodes, or add it there"),
    ("a label nobody has", ("label:rtt",), "a: nodes.0: no node has the label 'rtt', so it runs nowhere; write 'label:rt', or add it to --nodes"),
    ("all are there", ("bill1", "label:rt"), None),
    ("no nodes: all", (), None),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "expected"), [case[1:] for case in NODES], ids=[case[0] for case in NODES])
def test_nodes_are_judged_by_the_list_of_all(nodes: tuple[str, ...], expected: str | None) -> None:
    unit = every("a", 5, nodes=nodes)
    assert found([unit], nodes=frozenset(("bill1", "bill2", "label:rt"))) == ([expected] if expected else [])
    assert found([unit]) == []


def company(name: str, other: str, write: str, group: str = "billing") -> str:
    key = write.partition(":")[0]
    text = f"{other}, also in group {group}, has a slot in each of its minutes, so one of the two always waits"
    return f"{name}: {key}: {text}; write {write}"


SAME_MINUTE = [
    ("one schedule twice: the later name", [every("a", 5, 2), every("b", 5, 2)], [company("b", "a", "align: 1")]),
    ("three times", [every(name, 5) for name in "abc"], [company("b", "a", "align: 1"), company("c", "a", "align: 1")]),
    ("a longer period within a shorter", [every("a", 30, 10), every("b", 10)], [company("a", "b", "align: 9")]),
    ("a time of day that no period has either", [at("a", "04:05"), at("b", "04:05"), every("c", 3)], [company("b", "a", "run_at: 04:04")]),
    ("the same time of day", [at("a", "04:05"), at("b", "04:05")], [company("b", "a", "run_at: 04:06")]),
    ("on some of its days", [at("a", "04:05", days=("mon", "tue")), at("b", "04:05")], [company("a", "b", "run_at: 04:06")]),
    ("the nearest minute that nobody has", [every("a", 10, 5), every("b", 5, 0), every("c", 5, 4), every("d", 10, 6)], [company("a", "b", "align: 3")]),
    ("a minute that nobody always has", [every("a", 4), every("b", 4), every("c", 6, 1), every("d", 6, 3), every("e", 6, 5), every("f", 6, 2)], [company("b", "a", "align: 1")]),
    ("at the end of the day", [at("a", "23:59"), at("b", "23:59")], [company("b", "a", "run_at: 23:58")]),
    ("in the second group", [every("a", 5, 0, ("x-group", "stats")), every("b", 5, 0, ("stats", "y-group"))], [company("b", "a", "align: 1", "stats")]),
    ("the days in another order", [at("a", "04:05", days=("mon", "tue")), at("b", "04:05", days=("tue", "mon"))], [company("b", "a", "run_at: 04:06")]),
    ("sometimes in one minute", [every("a", 4), every("b", 6)], []),
    ("times of day within a period", [at("a", "05:10", "17:10"), every("b", 10)], []),
    ("one of two times", [at("a", "05:10", "05:12"), at("b", "05:10")], [company("b", "a", "run_at: 05:11")]),
    ("two times, one of them in common", [at("a", "05:10", "05:12"), at("b", "05:10", "05:14")], []),
    ("other days", [at("a", "04:05", days=("mon",)), at("b", "04:05", days=("tue",))], []),
    ("another minute", [every("a", 5), every("b", 5, 1)], []),
    ("no group in common", [every("a", 5, 0, ("stats",)), every("b", 5)], []),
    ("no groups", [every("a", 5, 0, ()), every("b", 5, 0, ())], []),
    ("beside one of each minute nothing helps", [every("a", 1), every("b", 5), at("c", "04:05")], []),
    ("all minutes are taken", [*(every(name, 3, place) for place, name in enumerate("abc")), every("d", 3)], []),
    ("one is disabled", [every("a", 5), every("b", 5, enabled=False)], []),
    ("in another zone", [at("a", "04:05", timezone="Asia/Tokyo"), at("b", "04:05")], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "expected"), [case[1:] for case in SAME_MINUTE], ids=[case[0] for case in SAME_MINUTE]
)
def test_members_of_a_group_that_always_start_in_one_minute(units: list[Unit], expected: list[str]) -> None:
    assert found(units) == expected


WITHIN = "is within a clock change: on 2027-03-28 at 02:00 the clocks of Europe/Berlin go one hour ahead:"
NAMED = "or name a timezone without changes"
TIMES = [
    ("left out", at("a", "02:30", timezone="Europe/Berlin"), [f"a: run_at.0: 02:30 {WITHIN} 02:30 runs at 03:30; write for example 03:30, {NAMED}"]),
    ("the second of two", at("a", "04:00", "02:00", timezone="Europe/Berlin"), [f"a: run_at.1: 02:00 {WITHIN} 02:00 runs at 03:00; write for example 03:00, {NAMED}"]),
    ("twice, and an hour later it would be left out", at("a", "01:30", timezone="America/New_York"), ["a: run_at.0: 01:30 is within a clock change: on 2027-11-07 at 02:00 the clocks of America/New_York go one hour back: 01:00 to 02:00 comes twice, 01:30 runs at its first time only; write for example 03:30, or name a timezone without changes"]),
    ("on a Sunday, and it has Sundays", at("a", "02:30", days=("sun",), timezone="Europe/Berlin"), [f"a: run_at.0: 02:30 {WITHIN} 02:30 runs at 03:30; write for example 03:30, {NAMED}"]),
    ("on a Sunday, and it has none", at("a", "02:30", days=("mon", "sat"), timezone="Europe/Berlin"), []),
    ("the first minute after", at("a", "03:00", timezone="Europe/Berlin"), []),
    ("the last minute before", at("a", "01:59", timezone="Europe/Berlin"), []),
    ("a zone without changes", at("a", "02:30", timezone="Asia/Tokyo"), []),
    ("a periodical one", every("a", 5, timezone="Europe/Berlin"), []),
    ("no zone is known", at("a", "02:30"), []),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "expected"), [case[1:] for case in TIMES], ids=[case[0] for case in TIMES])
def test_times_of_day_within_a_clock_change(unit: Unit, expected: list[str]) -> None:
    assert found([unit]) == expected


def test_a_unit_without_a_zone_is_judged_by_that_of_the_cell() -> None:
    assert found([at("a", "02:30")], timezone="Asia/Tokyo") == []
    assert len(found([at("a", "02:30")], timezone="Europe/Berlin")) == 1
    assert found([at("a", "02:30", timezone="Asia/Tokyo")], timezone="Europe/Berlin") == []


FULL = [
    ("two together", [every("a", 5, 0), every("b", 5, 1)], {"a": 240.0, "b": 180.0}, ["a: period: in 5m the runs of group billing last 7m (a 4m, b 3m), so some slots cannot start; write period: 10 or more"]),
    ("one by itself, in no group", [every("a", 5, 0, ())], {"a": 420.0}, ["a: period: 5m is too short: a run of it lasts 7m, so slots pass while it runs; write period: 8 or more"]),
    ("longer than any period", [every("a", 5, 0, ())], {"a": 7200.0}, ["a: period: 5m is too short: a run of it lasts 2h, so slots pass while it runs; use fixed-time with run_at, or move services to another group"]),
    ("beside one that takes all day", [every("a", 60), at("b", "00:30")], {"a": 60.0, "b": 86400.0}, ["a: period: in 60m the runs of group billing last 1h1m (b 1h, a 1m), so some slots cannot start; use fixed-time with run_at, or move services to another group"]),
    ("just enough", [every("a", 5, 0), every("b", 5, 1)], {"a": 120.0, "b": 180.0}, []),
    ("what is not given counts as nothing", [every("a", 5, 0), every("b", 5, 1)], {"a": 240.0}, []),
    ("in two groups", [every("a", 5, 0), every("b", 5, 1, ("stats",))], {"a": 240.0, "b": 240.0}, []),
    ("once a month at least", [every("a", 5), at("b", "04:06", days=("1",))], {"a": 200.0, "b": 28800.0}, []),
    ("a daemon has no runs that end", [Daemon(name="a", exec=("x",))], {"a": 999999.0}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "durations", "expected"), [case[1:] for case in FULL], ids=[case[0] for case in FULL]
)
def test_a_group_that_cannot_hold_its_runs(units: list[Unit], durations: dict[str, float], expected: list[str]) -> None:
    assert found(units, durations=durations) == expected
