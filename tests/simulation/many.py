"""Many seeds on all processors. The workers hash alike, so that a seed is one story wherever it is told."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Iterable, Iterator
from itertools import islice
from multiprocessing.pool import Pool

from tests.simulation.guards import GUARDS
from tests.simulation.run import Verdict, simulate

HASH_SEED = {"PYTHONHASHSEED": "0"}  # the order of a set of names is part of the story


@contextlib.contextmanager
def workers(count: int | None = None) -> Iterator[Pool]:
    before = os.environ.get("PYTHONHASHSEED")
    os.environ.update(HASH_SEED)
    try:
        with multiprocessing.get_context("spawn").Pool(count or os.cpu_count()) as pool:
            yield pool
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before


def judge(seed: int) -> Verdict:
    """A simulation that breaks is as bad as a broken promise."""
    try:
        return simulate(seed)
    except Exception:  # noqa: BLE001 - told with the seed; the others go on
        return Verdict(seed, [traceback.format_exc()])


def judge_without(task: tuple[str, int]) -> Verdict:
    guard, seed = task
    with GUARDS[guard].without():
        return judge(seed)


def first_caught(pool: Pool, guard: str, seeds: Iterable[int], at_once: int = 2) -> Verdict | None:
    """The first seed that breaks a promise which that guard keeps."""
    tasks = iter([(guard, seed) for seed in seeds])
    while batch := list(islice(tasks, at_once)):
        for verdict in pool.map(judge_without, batch, chunksize=1):
            if any(told.startswith(GUARDS[guard].breaks) for told in verdict.violations):
                return verdict
    return None
