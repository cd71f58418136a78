"""What a node makes of what the others publish: real files, and a clock that the test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vcsctl.catalog.snapshot import CompiledUnit, Snapshot
from vcsctl.domain import history as rows_of
from vcsctl.domain.outcome import End, Started
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.domain.run import CAUSES, Claim, Dropped
from vcsctl.store import files, nodes, state
from vcsctl.store.cell import make_cell
from vcsctl.store.nodes import NodeState, NodeUnits
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.store.state import StateReader
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.expiry import expire_overrides
from vcsctl.vcsd.peers import Peers
from vcsctl.vcsd.services import Services

NIGHTLY = {"name": "nightly", "schedule": "fixed-time", "run_at": ["09:00"], "exec": ["/bin/true"], "timeout": 60}


class SetClocks(Clocks):
    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__()

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(str(tmp_path))
    make_cell(found)
    return found


def row(plain: dict[str, Any]) -> dict[str, Any]:
    about = {"masked": False, "stale": False, "broken": False, "schedule_digest": "x", "missing": None}
    return {"plain": plain, "key": plain["name"], **about}


def publish(paths: Paths, node: str, **plain: Any) -> dict[str, dict[str, Any]]:
    rows = {"nightly": row(NIGHTLY | plain)}
    nodes.publish_units(paths, NodeUnits(node, "UTC", rows, []))
    return rows


def beat(paths: Paths, node: str, counter: int) -> None:
    clocks = Clocks()
    nodes.publish_state(paths, NodeState(node, counter, f"boot of {node}", 1, clocks.now(), 5.0))


def test_the_groups_of_a_node_whose_units_cannot_be_read_any_more_still_count(paths: Paths) -> None:
    faults = Faults()
    peers = Peers(paths, "a", Clocks(), faults)
    publish(paths, "b", groups=["x"])
    peers.adopt_own(publish(paths, "a", groups=["x"]))
    peers.refresh()
    files.replace(paths.node_units("b"), b'{"version":1,"node":"b"')
    peers.refresh()
    assert peers.groups_of("nightly") == ("x",)
    peers.adopt_own(publish(paths, "a", groups=["y"]))
    peers.refresh()
    assert peers.groups_of("nightly") == ("x", "y")
    assert faults.problems
    peers.adopt_own(publish(paths, "a", groups=["x"]))
    peers.refresh()
    assert peers.groups_of("nightly") == ("x",)


def test_whoever_was_held_up_takes_nobody_for_silent(paths: Paths) -> None:
    clocks = SetClocks()
    peers = Peers(paths, "a", clocks, Faults())
    beat(paths, "b", 1)
    assert peers.look() == []
    clocks.now_s += 40.0  # the file server was away
    assert not peers.is_silent("b")
    assert peers.look() == []
    clocks.now_s += 5.0
    beat(paths, "b", 2)
    assert peers.look() == []
    for _ in range(3):
        clocks.now_s += 5.0
        assert peers.look() == []
    clocks.now_s += 5.0
    assert peers.look() == ["b"], "its heartbeat stood still at four looks, a heartbeat apart"


def test_a_node_that_was_forgotten_is_told_as_one_that_fell_silent(paths: Paths) -> None:
    peers = Peers(paths, "a", SetClocks(), Faults())
    beat(paths, "b", 1)
    peers.look()
    nodes.forget(paths, "b")
    assert peers.look() == ["b"]
    assert peers.look() == []


def test_units_of_a_later_version_on_another_node_leave_overrides_alone(paths: Paths) -> None:
    services = Services("a", (), "UTC")
    outdated = Override({"timeout": FieldOverride(5, 30, "op", "a", Clocks().now())})
    units = {"nightly": CompiledUnit("nightly", NIGHTLY, False, False, "1", (), (), ())}
    services.adopt(Snapshot(units, ()), {"nightly": outdated})
    publish(paths, "newer", priority=5)
    assert expire_overrides(paths, services) == []


def test_a_fault_is_over_when_its_file_is_removed(paths: Paths) -> None:
    faults, reader_of = Faults(), StateReader
    files.make_folder(paths.state("a"))
    claim = Path(paths.claim("a", 1))
    claim.write_text("nonsense")
    reader_of(paths, faults).read("a")
    faults.add("a", "a fault of the service, which is no file")
    faults.forget_removed()
    assert set(faults.problems) == {str(claim), "a"}
    claim.unlink()
    faults.forget_removed()
    assert set(faults.problems) == {"a"}


def test_a_run_that_another_node_took_over_before_it_began_is_told_of_where_it_ran(paths: Paths) -> None:
    now = Clocks().now()
    files.make_folder(paths.state("a"))
    draft = state.draft_claim(paths, Claim("a", 1, "a", "claimer", "schedule", "due", unit=NIGHTLY))
    assert draft.link()
    draft.discard()
    assert state.write_started(paths, "a", 1, Started(1, 1, "boot", now, "/log", node="runner"))
    assert state.write_end(paths, "a", 1, End("node-died", "runner has been silent", "finder", now))
    ((claim, end),) = StateReader(paths, Faults()).finished("a", 0)
    assert [one.node for one in rows_of.rows(claim.value, claim.at, end.value if end else None)] == ["runner"]


def test_a_cause_of_a_later_version_is_counted_as_nothing_missed() -> None:
    assert "vanished" not in CAUSES
    now = Clocks().now()
    dropped = (Dropped("vanished", "why", first=now), Dropped("nobody-there", "why", first=now, last=now, count=3))
    assert Claim("a", 1, "a", "n", "schedule", "due", dropped=dropped).missed == 3
