"""Four nodes, forty services, faults at random: a short run of what `make chaos` does for as long as one likes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import chaos

SHORTEST_S = 30.0
AFTER_A_MINUTE_S = 8.0  # its slots are claimed, doubled or lost by then, if they are


def test_nothing_runs_twice_or_together_and_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    seconds = max(SHORTEST_S, 60 - time.time() % 60 + AFTER_A_MINUTE_S)
    assert chaos.run(tmp_path, seed, seconds, print) == []
