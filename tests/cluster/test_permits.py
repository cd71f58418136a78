"""Whose turn it is to restart a daemon of each node, for who may not touch the share: by files and a lock, both real."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcsctl.store.cell import make_cell
from vcsctl.store.paths import Paths
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.permits import AskedPermits, GrantedPermits, SharedPermits

MINUTE_S = 60.0


class Clock(Clocks):
    """Its seconds pass when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.s = 0.0

    def monotonic(self) -> float:
        return self.s


class Pair:
    """The two processes of a node, and another node's turn that is under way."""

    def __init__(self, root: Path) -> None:
        (root / "store").mkdir()
        self.share = root / "share"
        self.share.symlink_to(root / "store")
        paths = Paths(str(self.share))
        make_cell(paths)
        self.clock, folder = Clock(), str(root / "permits")
        self.granted = GrantedPermits(folder, SharedPermits(paths))
        self.asked = AskedPermits(folder, self.clock)
        self.other = SharedPermits(paths)
        assert self.other.take("keeps", "keeps@b")

    def waits(self, seconds: float, *, with_looks: bool) -> float | None:
        """How long it waited, asking once a second as it does; None when it still waits."""
        begin_s = self.clock.s
        while self.clock.s - begin_s < seconds:
            if self.asked.take("keeps", "keeps@a"):
                return self.clock.s - begin_s
            if with_looks:
                self.granted.look()
            self.clock.s += 1
        return None


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_another_nodes_turn_is_waited_for_however_long_it_takes(pair: Pair) -> None:
    assert pair.waits(10 * MINUTE_S, with_looks=True) is None
    pair.other.give_back("keeps")
    assert pair.waits(MINUTE_S, with_looks=True) == 1
    assert not pair.other.take("keeps", "keeps@b"), "now it is the other's turn to wait"
    pair.asked.give_back("keeps")
    pair.granted.look()
    assert pair.other.take("keeps", "keeps@b")
    assert not list((pair.share.parent / "permits").iterdir())


def test_nobody_who_answers_is_waited_for_a_minute(pair: Pair) -> None:
    assert pair.waits(10 * MINUTE_S, with_looks=False) == MINUTE_S + 1


def test_a_share_that_is_away_is_waited_for_a_minute_from_its_last_answer_on(pair: Pair) -> None:
    assert pair.waits(10 * MINUTE_S, with_looks=True) is None
    pair.share.unlink()
    assert pair.waits(10 * MINUTE_S, with_looks=True) == MINUTE_S + 1
