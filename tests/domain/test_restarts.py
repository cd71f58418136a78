"""Whether a daemon's process is started again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcsctl.domain.restarts import RESET_AFTER_S, Exit, GiveUp, Restart, after_exit, exits_that_count
from vcsctl.domain.unit import Daemon

FAILURES = ("exit-code", "signal", "timeout", "not-ready", "unhealthy", "cannot-start")


def unit(**keys: object) -> Daemon:
    return Daemon(name="d", exec=("/bin/d",), **keys)  # type: ignore[arg-type]


def exits(*lives: tuple[float, float], cause: str = "exit-code") -> list[Exit]:
    """From (began, ended) each."""
    return [Exit(cause, "exited with code 1", began, ended) for began, ended in lives]


@pytest.mark.parametrize("cause", ["exited", *FAILURES])
@pytest.mark.parametrize("restart", ["always", "on-failure", "never"])
def test_restart_says_after_which_exits_it_is_started_again(restart: str, cause: str) -> None:
    decision = after_exit(unit(restart=restart), exits((0, 1), cause=cause))
    again = restart == "always" or (restart == "on-failure" and cause != "exited")
    assert isinstance(decision, Restart) == again
    assert decision.why.startswith("exited with code 1; ")
    if isinstance(decision, GiveUp):
        assert decision.cause == cause


@pytest.mark.parametrize(
    ("lives", "delay_s"),
    [
        pytest.param([(0, 1)], 0.5, id="the first exit"),
        pytest.param([(0, 1), (2, 3)], 1, id="the second in a row"),
        pytest.param([(0, 1), (2, 3), (4, 5)], 2, id="the third"),
        pytest.param([(0, 1), (2, 3), (4, 34)], 0.5, id="it ran 30 s: as the first"),
        pytest.param([(0, 1), (2, 3), (4, 33.9)], 2, id="it ran a little less"),
        pytest.param([(0, 1), (2, 40), (41, 42), (43, 44)], 1, id="only those since it ran long count"),
        pytest.param([(100 * n, 100 * n + 1) for n in range(12)], 30, id="never more than the longest"),
    ],
)
def test_the_delay_doubles_until_a_process_has_run_long_enough(
    lives: list[tuple[float, float]], delay_s: float
) -> None:
    decision = after_exit(unit(), exits(*lives))
    assert isinstance(decision, Restart)
    assert decision.delay_s == delay_s


@pytest.mark.parametrize(
    ("limit", "lives", "is_over"),
    [
        pytest.param((2, 10.0), [(0, 1)], False, id="one start of two"),
        pytest.param((2, 10.0), [(0, 1), (1.5, 2)], True, id="two starts, the third would be within 10 s"),
        pytest.param((2, 10.0), [(0, 9), (9.5, 12)], False, id="the first is too old at the next start"),
        pytest.param((1, 1.0), [(0, 0.1)], True, id="one start only"),
    ],
)
def test_the_start_limit_counts_starts_as_of_the_next_one(
    limit: tuple[int, float], lives: list[tuple[float, float]], is_over: bool
) -> None:
    decision = after_exit(unit(start_limit=limit), exits(*lives))
    assert isinstance(decision, GiveUp) == is_over
    if isinstance(decision, GiveUp):
        assert decision.cause == "start-limit"
        assert "its start limit" in decision.why


LIVES = st.lists(st.tuples(st.sampled_from(["exited", *FAILURES]), st.floats(0, 100)), min_size=1, max_size=60)
UNITS = st.builds(
    unit,
    restart=st.sampled_from(["always", "on-failure", "never"]),
    restart_delay=st.floats(0.001, 100),
    restart_max_delay=st.floats(0.001, 100),
    start_limit=st.tuples(st.integers(1, 20), st.floats(0.1, 1000)),
)


def lived(unit: Daemon, lives: list[tuple[str, float]]) -> list[tuple[list[Exit], Restart | GiveUp]]:
    """What is decided after each of the lives, as long as it goes on."""
    now_s, found, decisions = 0.0, [], []
    for cause, ran_s in lives:
        found.append(Exit(cause, "gone", now_s, now_s + ran_s))
        decision = after_exit(unit, found)
        decisions.append((list(found), decision))
        if isinstance(decision, GiveUp):
            break
        now_s += ran_s + decision.delay_s
    return decisions


@given(UNITS, LIVES)
def test_no_more_starts_than_the_limit_in_any_window(unit: Daemon, lives: list[tuple[str, float]]) -> None:
    began = [one.began_s for one in lived(unit, lives)[-1][0]]
    starts, within_s = unit.start_limit
    for first, last in zip(began, began[starts:], strict=False):
        assert last - first >= within_s * (1 - 1e-9) - 1e-6


@given(UNITS, LIVES)
def test_the_delay_is_within_its_bounds_and_never_shrinks_in_a_row(
    unit: Daemon, lives: list[tuple[str, float]]
) -> None:
    former_s = 0.0
    for found, decision in lived(unit, lives):
        if isinstance(decision, Restart):
            assert unit.restart_delay <= decision.delay_s <= max(unit.restart_delay, unit.restart_max_delay)
            if found[-1].ran_s < RESET_AFTER_S:
                assert decision.delay_s >= former_s
            else:
                assert decision.delay_s == unit.restart_delay
            former_s = decision.delay_s


@given(UNITS, LIVES)
def test_older_exits_than_those_that_count_change_nothing(unit: Daemon, lives: list[tuple[str, float]]) -> None:
    for found, decision in lived(unit, lives * 3):
        assert after_exit(unit, found[-exits_that_count(unit) :]) == decision
