"""`make sim SEEDS=2000`: many seeds on all processors. `make sim SEED=123`: one, and all that happened in it."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.many import HASH_SEED, judge, workers
from tests.simulation.run import Verdict, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one and print all that happened")
    arguments = parser.parse_args()
    if arguments.seed is None:
        return _many(range(arguments.first, arguments.first + arguments.seeds))
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED["PYTHONHASHSEED"]:
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, **HASH_SEED}
        )
    return _replay(arguments.seed)


def _replay(seed: int) -> int:
    verdict = simulate(seed, trace=True)
    print("\n".join(verdict.trace))
    _tell(verdict)
    return 1 if verdict.violations else 0


def _many(seeds: range) -> int:
    began_s = time.monotonic()
    failed = executions = 0
    with workers() as pool:
        for count, verdict in enumerate(pool.imap_unordered(judge, seeds, chunksize=8), 1):
            executions += verdict.executions
            if verdict.violations:
                failed += 1
                _tell(verdict)
            if count % 1000 == 0:
                print(f"{count} seeds, {failed} failed, {time.monotonic() - began_s:.0f} s", flush=True)
    took_s = time.monotonic() - began_s
    print(f"{len(seeds)} seeds, {executions} executions, {failed} failed, {took_s:.0f} s")
    return 1 if failed else 0


def _tell(verdict: Verdict) -> None:
    print(f"seed {verdict.seed}: {verdict.about}", flush=True)
    for sentence in verdict.violations:
        print(f"    {sentence}", flush=True)
    if verdict.violations:
        print(f"    replay: make sim SEED={verdict.seed}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
