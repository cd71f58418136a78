"""Some hundred seeds keep every promise, and without any one guard of the protocol some seed breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.pool import Pool

import pytest

from tests.simulation.guards import GUARDS
from tests.simulation.many import first_caught, judge, workers

SEEDS = 200  # about half a minute on two processors; `make sim` runs more


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with workers() as made:
        yield made


def test_no_seed_breaks_a_promise(pool: Pool) -> None:
    verdicts = pool.map(judge, range(SEEDS), chunksize=5)
    assert sum(verdict.executions for verdict in verdicts) > 5 * SEEDS, "the simulation hardly runs anything"
    broken = [f"seed {one.seed} ({one.about}): {'; '.join(one.violations)}" for one in verdicts if one.violations]
    assert not broken, "replay with: make sim SEED=...\n" + "\n".join(broken)


def test_a_seed_is_one_story(pool: Pool) -> None:
    first, again = pool.map(judge, [7, 7], chunksize=1)
    assert first == again


@pytest.mark.parametrize("guard", GUARDS)
def test_a_missing_guard_is_noticed(pool: Pool, guard: str) -> None:
    assert first_caught(pool, guard, range(100)), f"without {guard} 100 seeds kept every promise"
