"""Four nodes, forty services, faults at random: a short run of what `make chaos` does for as long as one likes."""

from __future__ import annotations

import random
import time
from pathlib import Path

import chaos
import load
import pytest

SHORTEST_S = 30.0
AFTER_A_MINUTE_S = 8.0  # its slots are claimed, doubled or lost by then, if they are


def test_nothing_runs_twice_or_together_and_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    seconds = max(SHORTEST_S, 60 - time.time() % 60 + AFTER_A_MINUTE_S)
    assert chaos.run(tmp_path, seed, seconds, print) == []


def test_what_settles_only_after_the_bound_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "CALM_BOUND_S", 3.0)
    monkeypatch.setattr(load, "SERVICES", 0)
    one = chaos.Chaos(tmp_path, 0, print)
    command = one.witness.command(seconds=4.0)  # which twice the bound has room for
    slow = load.Service("slow", f"{load.MANUAL}exec: {command}\n", chaos.NODES, each=False, timed=False)
    one.load.services.append(slow)
    one.cell.unit(slow.name, slow.text)
    try:
        one.cell.start()
        assert one._ask(slow)
        one.calm()
        found = one.judge.verdict()
    finally:
        one.cell.close()
    assert found
    assert [text for text in found if not text.startswith("still so 3 s after the faults had stopped: slow")] == []
