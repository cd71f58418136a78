"""`vcsctl lock` beside real vcsd's: excluded as a run is, in its turn, whatever is killed, and nothing left behind."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cell import Cell, signal_each
from witness import Witness, broken_promises

from vcsctl import steps

CellOf = Callable[..., Cell]
DEADLINE_S = 40


def job(witness: Witness, seconds: float = 0.3) -> str:
    return f"schedule: periodical\nperiod: 60\nenabled: false\ngroups: [g]\nexec: {witness.command('g', seconds)}\n"


def words(witness: Witness, seconds: float = 0.0, manner: str = "") -> list[str]:
    found: list[str] = json.loads(witness.command("g", seconds, manner))
    return found


def over(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what it said."""
    _, said = process.communicate(timeout=DEADLINE_S)
    return process.returncode, said


def seen(cell: Cell, witness: Witness, node: str) -> list[str]:
    """The violations, once all that ran is on record."""

    def written() -> bool:
        ids = {row["id"] for path in cell.shared.glob("history/*") for row in cell[node].history(path.name)}
        return set(witness.begun()) <= ids and not list(cell.shared.glob("running/*"))

    cell[node].until(written, "all is in the history")
    return broken_promises(witness, cell.shared, time.monotonic(), [], [])


def waiting(cell: Cell) -> list[str]:
    return sorted(path.name for path in cell.shared.glob("queue/*.json"))


def test_a_lock_and_runs_exclude_each_other_on_one_node_and_on_another(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.unit("job", job(witness, 60))
    cell.start()

    def go_on(count: int, what: str) -> None:
        """Ends what runs, and waits for what comes next."""
        os.kill(next(reversed(witness.begun().values())).pid, signal.SIGTERM)
        cell["a"].until(lambda: len(witness.begun()) == count, what)

    cell["a"].request("job")
    cell["a"].until(lambda: witness.begun(), "the run has begun")
    held = [cell[node].lock("g", "--", *words(witness, 60)) for node in ("a", "b")]
    cell["a"].until(lambda: len(waiting(cell)) == 2, "both wait in the queue")
    shown = cell["b"].vcsctl("queue").stdout
    assert "lock@a-1" in shown
    assert "waits for group g, held by job.1 on" in shown
    go_on(2, "one lock is held")
    assert "waits for group g, held by lock@" in cell["a"].vcsctl("queue").stdout
    cell["b"].request("job")
    cell["a"].until(lambda: "job." in " ".join(waiting(cell)) or cell["a"].wake(), "the request waits")
    assert "held by lock@" in cell["a"].vcsctl("why", "job").stdout
    status = cell["b"].vcsctl("status").stdout
    assert "Locks\n" in status
    assert f"{getpass.getuser()} held g for python" in status
    assert json.loads(cell["b"].vcsctl("status", "--output", "json").stdout)["locks"][0]["run_groups"] == ["g"]
    go_on(3, "the next has begun")
    go_on(4, "the last has begun")
    os.kill(next(reversed(witness.begun().values())).pid, signal.SIGTERM)
    assert [over(process)[0] for process in held] == [143, 143]
    assert not seen(cell, witness, "a")
    assert not waiting(cell)


def test_a_lock_that_waited_longer_than_fair_after_is_next(cell_of: CellOf, witness: Witness) -> None:
    """Two services that are always asked for again would share the group between them for ever."""
    cell = cell_of("a", configuration="fair_after: 1s\n")
    for name in ("x", "y"):
        cell.unit(name, job(witness, 0.3))
    cell.start()
    cell["a"].request("x", "y")
    cell["a"].until(lambda: witness.begun(), "one has begun")
    held, began_s = cell["a"].lock("g", "--", *words(witness)), time.monotonic()
    while held.poll() is None:
        cell["a"].request("x", "y")
        time.sleep(0.1)
        assert time.monotonic() - began_s < DEADLINE_S, f"it still waits; {waiting(cell)}"
    print(f"\nserved {time.monotonic() - began_s:.1f} s after it was called")
    assert over(held)[0] == 0
    assert time.monotonic() - began_s < 20
    cell["a"].until(lambda: not waiting(cell), "the queue is empty")
    assert not seen(cell, witness, "a")


def test_a_service_that_waited_longer_than_fair_after_is_next(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", configuration="fair_after: 1s\nheartbeat: 60s\n")  # its node is not silent so soon
    cell.unit("job", job(witness, 0.1))
    cell.start()
    first = cell["a"].lock("g", "--", *words(witness, 4.0))
    cell["a"].until(lambda: witness.begun(), "the lock is held")
    cell["a"].request("job")
    cell["a"].pause()  # nobody looks for it
    cell["b"].pause()
    asked_s = time.monotonic()
    assert over(first)[0] == 0
    cell["a"].until(lambda: time.monotonic() - asked_s > 1.2, "it has waited long enough")
    code, said = over(cell["b"].lock("g", "--wait", "0", "--", "true"))
    assert (code, "group g, reserved for job, in the queue since" in said) == (75, True), said
    cell["a"].resume()
    cell["b"].resume()
    assert over(cell["b"].lock("g", "--wait", "20s", "--", "true"))[0] == 0
    assert [one.execution.key for one in witness.begun().values()] == ["lock@a-1", "job"]


def test_a_waiter_that_is_killed_leaves_the_queue(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", configuration="fair_after: 100ms\n")
    cell.unit("job", job(witness, 6.0))
    cell.start()
    cell["b"].request("job")
    cell["b"].until(lambda: witness.begun(), "the run has begun")
    waiter = cell["a"].lock("g", "--", "true")
    cell["a"].until(lambda: waiting(cell), "it waits")
    waiter.kill()
    waiter.communicate()
    cell["b"].until(lambda: not waiting(cell), "its entry is gone", 5)
    cell["b"].request("job")
    cell["b"].until(lambda: len(witness.begun()) == 2, "the next run has begun")
    assert not seen(cell, witness, "b")
    assert not cell["b"].history("lock")


@pytest.mark.parametrize("who", ["runner", "vcsctl", "both"])
def test_whoever_is_killed_the_group_is_free_when_all_it_ran_is_gone(
    cell_of: CellOf, witness: Witness, who: str
) -> None:
    """The job's child has closed all it inherited: the locks would be free under it. Of two killed at once it lives on
    where there are no control groups, so there the job has none."""
    cell = cell_of("a", "b")
    cell.start()
    held = cell["a"].lock("g", "--", *words(witness, 60, "" if who == "both" else "family"))
    cell["a"].until(lambda: witness.begun(), "the lock is held")
    begun = witness.begun()["lock@a-1.1"]
    after = cell["b"].lock("g", "--", *words(witness))
    cell["b"].until(lambda: waiting(cell), "the other waits")
    if who == "both":
        signal_each([held.pid, begun.runner], signal.SIGSTOP)
    signal_each(
        [*([begun.runner] if who != "vcsctl" else []), *([held.pid] if who != "runner" else [])], signal.SIGKILL
    )
    code, said = over(held)
    assert over(after)[0] == 0
    assert not [pid for pid in cell["a"].processes() if b"job.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert not seen(cell, witness, "b")
    row = cell["b"].history("lock")[0]
    assert row["id"] == "lock@a-1.1"
    if who == "runner":
        assert (code, row["cause"]) == (75, "runner-died")
        assert "its runner was killed by SIGKILL" in said
    else:
        assert row["cause"] == ("runner-signalled" if who == "vcsctl" else "runner-died")


def test_the_group_of_a_lock_on_a_node_that_died_is_free_for_others(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.unit("job", job(witness, 0.1), on=["b"])
    cell.start()
    held = cell["a"].lock("g", "--", *words(witness, 60))
    cell["a"].until(lambda: witness.begun(), "the lock is held")
    cell["b"].request("job")
    waiter = cell["a"].lock("g", "--", "true")
    cell["b"].until(lambda: len(waiting(cell)) == 2, "both wait")
    cell["a"].power_off()
    for process in (held, waiter):
        process.communicate()
    cell["b"].until(lambda: len(witness.begun()) == 2, "the service has begun")
    cell["b"].until(lambda: cell["b"].history("lock") and not waiting(cell), "the lock is recorded lost")
    (row,) = cell["b"].history("lock")
    assert (row["outcome"], row["cause"]) == ("lost", "node-died")
    assert not seen(cell, witness, "b")
    cell["b"].until(lambda: not list(cell.shared.glob("running/*")), "the index is empty")


@pytest.mark.parametrize("step", [*steps.CLAIM, *steps.START, *steps.OUTCOME, "locks freed"])
def test_killed_after_any_step_it_is_recorded_once_and_the_group_goes_on(
    cell_of: CellOf, witness: Witness, step: str
) -> None:
    if step in ("not recalled", "runner forked", "runner alone"):
        pytest.skip("a step of vcsd alone")
    cell = cell_of("a", "b")
    cell.start()
    over(cell["a"].lock("g", "--", *words(witness, 0.1), crash_after=step))
    assert over(cell["b"].lock("g", "--wait", "20s", "--", *words(witness, 0.1)))[0] == 0
    node = cell["b"]
    node.until(lambda: any(row["id"].startswith("lock@b") for row in node.history("lock")), "its own run is recorded")
    if step in ("locks taken", "claim drafted", "run indexed"):
        assert not seen(cell, witness, "b")
        assert not waiting(cell)
        assert len(node.history("lock")) == 1  # nothing was claimed
        return
    node.until(lambda: any(row["id"] == "lock@a-1.1" for row in node.history("lock")), "the killed one is recorded")
    assert not seen(cell, witness, "b")
    assert not waiting(cell)
    (row,) = [row for row in node.history("lock") if row["id"] == "lock@a-1.1"]
    print(f"\n{step}: {row['outcome']}: {row['why']}")
    if step in steps.CLAIM or step == "locks proved":
        assert row["cause"] == "recalled" or step == "locks proved"
    elif step in ("outcome linked", "index removed", "locks freed"):
        assert row["cause"] == "exited"
    else:
        assert row["cause"] == "runner-died"


def test_it_needs_no_vcsd_and_puts_in_order_what_the_last_one_left(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    cell.start()
    cell["a"].kill()
    held = cell["a"].lock("g", "--", *words(witness, 60))
    cell["a"].until(lambda: witness.begun(), "the lock is held")
    waiter = cell["a"].lock("g", "--", *words(witness))
    cell["a"].until(lambda: waiting(cell), "the other waits")
    signal_each([held.pid, witness.begun()["lock@a-1.1"].runner], signal.SIGKILL)
    held.communicate()
    assert over(waiter)[0] == 0
    assert over(cell["a"].lock("g", "--", *words(witness)))[0] == 0  # takes the KEY of the one that was killed
    cell.start()
    assert not seen(cell, witness, "a")
    rows = {row["id"]: row["cause"] for row in cell["a"].history("lock")}
    assert rows == {"lock@a-1.1": "runner-died", "lock@a-2.1": "exited", "lock@a-1.2": "exited"}


def test_many_locks_at_once_never_overlap_and_fifty_leave_nothing_behind(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.start()
    for _ in range(10):
        together = [cell[node].lock("g", "--", *words(witness, 0.02)) for node in ("a", "a", "b", "b", "b")]
        assert [over(process)[0] for process in together] == [0] * 5
    assert not seen(cell, witness, "a")
    assert len(witness.begun()) == 50
    cell["a"].until(lambda: not list(cell.shared.glob("running/*")), "the index is empty", 10)
    assert not list(cell.shared.glob("queue/*"))
    folders = sorted(path.name for path in cell.shared.glob("state/*"))
    assert set(folders) <= {"lock@a-1", "lock@a-2", "lock@b-1", "lock@b-2", "lock@b-3"}

    def pruned() -> bool:
        return all(len(os.listdir(cell.shared / "state" / name)) <= 3 for name in folders)

    cell["a"].until(pruned, "all but the newest records are pruned")
