"""Daemons that need no shared directory run without one: at boot, while it hangs, and whatever is killed meanwhile."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cell import Cell, Node, signal_each
from sites import Site
from test_storage import is_there, mounted

from vcsctl.domain.daemon import Order
from vcsctl.store import daemons, local_cell
from vcsctl.store.cell import read_cell
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.store.state import read_key

DAEMON = "schedule: daemon\nrestart_delay: 100ms\nexec: [/bin/sh, -c, 'echo $$ > {pid}; exec sleep 1000']\n"
AWAY = "cell: 0123456789abcdef\n"  # no such cell is there
CellOf = Callable[..., Cell]


class Kept:
    """The daemon `keeps` of a node, by the pid that it writes down itself."""

    def __init__(self, node: Site) -> None:
        self.node = node
        self.file = node.root / "keeps.pid"
        node.unit("keeps", DAEMON.format(pid=self.file))

    @property
    def pid(self) -> int:
        try:
            pid = int(self.file.read_text())
        except (OSError, ValueError):
            return 0
        return pid if is_there(pid) else 0

    def until_up(self, other_than: int = 0) -> int:
        self.node.until(lambda: self.pid not in (0, other_than), "the daemon is up")
        return self.pid

    def until_down(self) -> None:
        self.node.until(lambda: self.pid == 0, "the daemon is down")

    def stays(self, pid: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.node.until(lambda: self.pid != pid or time.monotonic() > until, "time is over")
        assert self.pid == pid

    @property
    def local(self) -> Paths:
        return Paths(str(self.node.root / "var/lib/vcs/local"))

    def runner(self) -> int:
        [started] = local_cell.runners(self.local.root)
        return started.pid

    def keepers(self) -> list[int]:
        """The keeper, and what it watches over."""
        assert self.node.vcsd is not None
        children = _children(self.node.vcsd.pid)
        keeper = [pid for pid in children if _children(pid) or "vcsctl" in _command(pid)]
        return [*keeper[:1], *[pid for pid in _children(keeper[0]) if "vcsctl" in _command(pid)][:1]]


def _published(cell: Cell, node: str) -> str:
    path = Path(cell.paths.node_daemons(node))
    return path.read_text() if path.exists() else ""


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(found)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def end(node: Site) -> None:
    """vcsd at once, as a machine that loses nothing else: no runner notices."""
    node.kill()
    node.vcsd = None


@pytest.fixture
def node(cell_of: CellOf) -> Node:
    """One whose shared directory is not there."""
    return cell_of("a", configuration=AWAY)["a"]


def test_a_daemon_runs_without_the_share_and_is_the_same_process_after_vcsd_was_killed(node: Node) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    first = kept.until_up()
    os.kill(first, signal.SIGKILL)
    second = kept.until_up(other_than=first)
    for _ in range(3):
        end(node)
        node.start(until_it_answers=False)
        node.until(lambda: "lives on; watched from now on" in node.log(), "it is adopted")
    kept.stays(second, 0.5)
    runner = kept.runner()
    os.kill(runner, signal.SIGKILL)
    third = kept.until_up(other_than=second)
    assert kept.runner() != runner
    assert node.vcsd is not None
    node.vcsd.terminate()
    assert node.vcsd.wait(10) == 0, "it waits for the share, and ends at once all the same"
    kept.stays(third, 0.5)


def test_it_sleeps_between_two_tries_while_the_share_is_away(node: Node) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    kept.until_up()
    assert node.vcsd is not None
    switches = lambda: int(re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)[0])  # noqa: E731
    status = Path(f"/proc/{node.vcsd.pid}/status")
    before = switches()
    kept.stays(kept.pid, 3)
    assert switches() - before < 100  # a try costs it some ten; without a pause there are hundreds of tries


def test_a_share_that_hangs_holds_up_no_daemon(cell_of: CellOf) -> None:
    cell = cell_of("a", configuration="fence_after: 6s\n")
    node, kept = cell["a"], Kept(cell["a"])
    with mounted(cell, "a") as mount:
        mount.hang()
        node.start(until_it_answers=False)
        first = kept.until_up()
        node.until(lambda: "does not answer; trying again" in node.log(), "it says what it waits for")
        assert node.vcsd is not None
        [asks] = set(_children(node.vcsd.pid)) - set(kept.keepers())
        assert sorted(os.listdir(f"/proc/{asks}/fd")) == ["0", "1", "2"], "should it hang for ever, it holds no lock"
        end(node)
        node.start(until_it_answers=False)
        node.until(lambda: "lives on; watched from now on" in node.log(), "the next vcsd has adopted the daemon")
        os.kill(first, signal.SIGKILL)
        second = kept.until_up(other_than=first)
        mount.answer()
        node.until(node.wake, "it carries on by itself")
        mount.hang()
        os.kill(second, signal.SIGKILL)
        third = kept.until_up(other_than=second)
        os.kill(kept.keepers()[1], signal.SIGKILL)
        node.until(lambda: "ended with code" in node.log() or "was killed by SIGKILL" in node.log(), "it is noticed")
        node.until(lambda: node.log().count("lives on; watched from now on") == 2, "the next one has adopted it")
        os.kill(kept.runner(), signal.SIGKILL)
        kept.until_up(other_than=third)
        mount.answer()
        node.until(node.wake, "it answers again")
        ids = lambda: [row["id"] for row in node.history("keeps")]  # noqa: E731
        node.until(lambda: ids(), "what ended meanwhile is in the shared history")


def test_the_keeper_is_started_again_and_nothing_that_it_left_is_killed(node: Node) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    pid = kept.until_up()
    keeper = kept.keepers()[0]
    os.kill(keeper, signal.SIGKILL)
    node.until(lambda: "the keeper has died; started again" in node.log(), "vcsd says so")
    node.until(lambda: "lives on; watched from now on" in node.log(), "the next one has adopted the run")
    assert kept.keepers()[0] != keeper
    kept.stays(pid, 0.5)


def test_the_wish_to_go_down_outlives_the_process_that_heard_it(node: Node) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    kept.until_up()
    keeper, local = kept.keepers()
    os.kill(local, signal.SIGSTOP)
    os.kill(keeper, signal.SIGUSR2)  # as vcsd does when the machine goes down
    os.kill(local, signal.SIGKILL)
    ends = lambda: [path.read_text() for path in Path(kept.local.root).rglob("*.end.json")]  # noqa: E731
    node.until(ends, "the daemon is stopped by the next one")
    assert '"shutdown"' in ends()[0]


def test_leftovers_of_a_run_of_the_share_are_told_from_what_a_killed_keeper_left(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    kept = Kept(node)
    job = node.root / "job.pid"
    node.unit(
        "job", f"schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sh, -c, 'echo > {job}; sleep 1000']\n"
    )
    node.start(with_cgroups=False)
    pid = kept.until_up()
    node.request("job")
    node.until(job.exists, "the job runs")
    signal_each(kept.keepers(), signal.SIGKILL)
    [started] = local_cell.runners(str(node.shared))
    os.kill(started.pid, signal.SIGKILL)
    node.until(lambda: node.history("job"), "what the job's runner left is killed")
    assert node.history("job")[0]["cause"] == "runner-died"
    kept.stays(pid, 0.5)


def test_what_was_disabled_or_drained_stays_so_without_the_share(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    kept = Kept(node)
    share = node.shared.readlink()
    for wish, opposite in (("disable", "enable"), ("drain", "resume")):
        name = "keeps" if wish == "disable" else "a"
        node.shared.unlink(missing_ok=True)
        node.shared.symlink_to(share)
        node.start()
        kept.until_up()
        assert node.vcsctl(wish, name).returncode == 0
        kept.until_down()
        node.shared.unlink()
        refused = node.vcsctl(opposite, name)
        assert refused.returncode == 75, refused
        end(node)
        node.start(until_it_answers=False)
        node.until(lambda: "trying again" in node.log(), "it waits for the share")
        kept.stays(0, 1.5)
        node.shared.symlink_to(share)
        node.until(node.wake, "it works again")
        assert node.vcsctl(opposite, name).returncode == 0
        kept.until_up()
        end(node)


def test_each_outcome_comes_once_into_the_shared_history_whatever_is_killed(cell_of: CellOf) -> None:
    cell = cell_of("a")
    node = cell["a"]
    kept = Kept(node)
    share = node.shared.readlink()
    node.preamble += (
        "import os, signal\nfrom vcsctl.store import local_cell\n_done = local_cell.Outcomes.done\n"
        "def done(self, reached):\n"
        f"    if not os.path.exists({str(node.root / 'crashed')!r}):\n"
        f"        open({str(node.root / 'crashed')!r}, 'x').close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    _done(self, reached)\nlocal_cell.Outcomes.done = done\n"
    )
    node.start()
    kept.until_up()
    node.shared.unlink()
    before = kept.pid
    for _ in range(2):  # the second ends a run that began without the share
        os.kill(kept.runner(), signal.SIGKILL)
        before = kept.until_up(other_than=before)
    node.shared.symlink_to(share)
    assert node.vcsd is not None
    node.vcsd.wait(30)
    node.start()
    node.until(lambda: len(node.history("keeps")) >= 2, "both are there")
    for _ in range(2):
        assert node.vcsctl("disable", "keeps").returncode == 0
        kept.until_down()
        assert node.vcsctl("enable", "keeps").returncode == 0
        kept.until_up()
    node.until(lambda: len(node.history("keeps")) >= 4, "all are there")
    ids = [row["id"] for row in node.history("keeps")]
    assert len(ids) == len(set(ids)) == 4
    assert [row["cause"] for row in node.history("keeps")] == ["runner-died", "runner-died", "unwanted", "unwanted"]
    assert all(re.fullmatch(r"keeps@a\.\d{10}", one) for one in ids), ids
    assert read_key(cell.paths, "keeps@a", Faults()).fence == 0, "the share has no records of its runs"


def test_a_second_vcsd_of_one_machine_is_refused(node: Node, cell_of: CellOf) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    pid = kept.until_up()
    first, node.vcsd = node.vcsd, None
    log = node.log()
    node.start(until_it_answers=False)
    second = node.vcsd
    node.vcsd = first
    assert second is not None
    assert second.wait(30) == 5, log
    assert "another vcsd runs on this machine" in node.log()
    kept.stays(pid, 0.5)


def test_a_unit_that_comes_goes_or_changes_is_seen_without_the_share(node: Node) -> None:
    kept = Kept(node)
    # Nobody can say whether it is this node's turn; it restarts the daemon all the same, but not at once.
    node.preamble += "from vcsctl.vcsd import permits\npermits._PATIENCE_S = 1.0\n"
    node.start(until_it_answers=False)
    first = kept.until_up()
    assert read_cell(kept.local) is not None
    (node.units / "keeps.yaml").write_text(DAEMON.format(pid=kept.file).replace("1000", "2000"))
    assert node.vcsd is not None
    node.vcsd.send_signal(signal.SIGHUP)
    kept.until_up(other_than=first)
    (node.units / "keeps.yaml").unlink()
    node.vcsd.send_signal(signal.SIGHUP)
    kept.until_down()


def test_orders_reach_a_daemon_that_needs_no_share(cell_of: CellOf) -> None:
    cell = cell_of("a", "b")
    for name in ("a", "b"):  # each sees the file of its own pid
        cell[name].unit("keeps", DAEMON.format(pid=f"{cell[name].root}/keeps.pid"))
    cell.start()
    kept = Kept.__new__(Kept)
    kept.node, kept.file = cell["a"], cell["a"].root / "keeps.pid"
    first = kept.until_up()
    cell["b"].until(lambda: f'"pid":{first}' in _published(cell, "a"), "b can read that it is up")
    done = cell["b"].vcsctl("restart", "keeps", "--node", "a")
    assert done.returncode == 0, done
    second = kept.until_up(other_than=first)
    done = cell["b"].vcsctl("stop", "keeps", "--node", "a")
    assert done.returncode == 0, done
    kept.until_down()
    kept.stays(0, 1)
    done = cell["a"].vcsctl("restart", "keeps", "--node", "a")
    assert done.returncode == 0, done
    kept.until_up(other_than=second)
    causes = lambda: [row["cause"] for row in cell["a"].history("keeps") if row["node"] == "a"]  # noqa: E731
    cell["a"].until(lambda: len(causes()) == 2, "both ends are in the shared history")
    assert causes() == ["restart-requested", "stop-requested"]
    assert not [name for name in os.listdir(cell.paths.queue) if name.endswith(".order")]


def test_an_order_is_carried_out_once_though_vcsd_dies_before_the_share_knows(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    kept = Kept(node)
    node.start()
    first = kept.until_up()
    local = kept.keepers()[1]
    os.kill(local, signal.SIGSTOP)
    order = Order("o1", "keeps@a", "restart", "root", "a", "")
    shared = Paths(str(node.shared))
    daemons.enter_order(shared, order)
    node.until(lambda: daemons.is_waiting(kept.local, "keeps@a", "o1"), "the order is in the local cell")
    assert node.vcsd is not None
    node.vcsd.send_signal(signal.SIGSTOP)
    os.kill(local, signal.SIGCONT)
    node.until(lambda: not daemons.is_waiting(kept.local, "keeps@a", "o1"), "the local cell has carried it out")
    second = kept.until_up(other_than=first)
    end(node)
    assert daemons.is_waiting(shared, "keeps@a", "o1"), "the share knew already: this test shows nothing"
    node.start()
    node.until(lambda: not daemons.is_waiting(shared, "keeps@a", "o1"), "the share knows")
    kept.stays(second, 2)
    assert not [name for name in os.listdir(kept.local.queue) if not name.startswith(".")]


def test_a_daemon_that_comes_into_a_group_or_leaves_it_never_runs_twice(cell_of: CellOf) -> None:
    """Its runs change from this machine's own cell to the shared one and back."""
    node = cell_of("a")["a"]
    kept = Kept(node)
    alone, notes = node.root / "alone", node.root / "notes"
    script = f'mkdir {alone} || echo twice >> {notes}; echo $$ > {kept.file}; trap \\"sleep 0.5; rmdir {alone}; exit\\" TERM; while :; do sleep 0.02; done'
    unit = f'schedule: daemon\nexec: [/bin/sh, -c, "{script}"]\n'
    node.unit("keeps", unit)
    node.start()
    pid = kept.until_up()
    for groups in ("groups: [g]\n", "", "groups: [g]\n", ""):
        node.unit("keeps", unit + groups)
        node.reload()
        pid = kept.until_up(other_than=pid)
        assert bool(local_cell.runners(str(node.shared))) == bool(groups)
        assert bool(local_cell.runners(kept.local.root)) != bool(groups)
    assert not notes.exists()


def test_a_node_that_gets_another_name_takes_its_daemons_along(node: Node) -> None:
    kept = Kept(node)
    node.start(until_it_answers=False)
    first = kept.until_up()
    end(node)
    file = node.root / "etc/vcs/vcs.yaml"
    file.write_text(file.read_text().replace("node: a\n", "node: z\n"))
    node.start(until_it_answers=False)
    node.until(lambda: not is_there(first), "the one of the former name has ended")
    kept.until_up(other_than=first)
    assert [claim.key for claim, _ in local_cell.living(kept.local)] == ["keeps@z"]


def test_a_daemon_that_nobody_looks_after_is_a_fault_of_its_node(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    kept = Kept(node)
    node.start()
    kept.until_up()
    inner = kept.keepers()[1]
    os.kill(inner, signal.SIGSTOP)
    node.until(lambda: "own daemons is silent" in node.vcsctl("status").stdout, "status says so")
    os.kill(inner, signal.SIGCONT)
    node.until(lambda: "own daemons is silent" not in node.vcsctl("status").stdout, "it is over")


def test_a_changed_unit_restarts_one_node_after_the_other(cell_of: CellOf) -> None:
    cell = cell_of("a", "b")
    slow = "ready: {{after: 2s}}\n" + DAEMON
    for name in ("a", "b"):
        cell[name].unit("keeps", slow.format(pid=f"{cell.root}/{name}.pid"))
    cell.start()
    pids = lambda: {name: (cell.root / f"{name}.pid").read_text() for name in ("a", "b")}  # noqa: E731
    cell["a"].until(lambda: all((cell.root / f"{name}.pid").exists() for name in ("a", "b")), "both are up")
    first, began_s = pids(), dict[str, float]()
    for name in ("a", "b"):
        cell[name].unit("keeps", slow.replace("1000", "2000").format(pid=f"{cell.root}/{name}.pid"))
        cell[name].reload()

    def both_are_new() -> bool:
        for name, pid in pids().items():
            if pid != first[name]:
                began_s.setdefault(name, time.monotonic())
        return len(began_s) == 2

    cell["a"].until(both_are_new, "both are restarted")
    assert abs(began_s["a"] - began_s["b"]) > 1.5, "the second waits until the first is ready"


def test_status_and_why_tell_of_them_without_the_share(cell_of: CellOf) -> None:
    node = cell_of("a")["a"]
    node.unit("fails", "schedule: daemon\nstart_limit: 2 in 60s\nrestart_delay: 100ms\nexec: [/bin/false]\n")
    kept = Kept(node)
    node.start()
    kept.until_up()
    node.until(lambda: "start-limit" in str(node.history("fails")), "the other one has failed")
    node.shared.unlink()
    shown = node.vcsctl("status")
    assert shown.returncode == 75
    assert "does not hold" in shown.stderr or "holds no cell" in shown.stderr
    assert "keeps@a on a: up since" in shown.stdout
    assert "fails@a on a: failed since" in shown.stdout
    why = node.vcsctl("why", "fails")
    assert why.returncode == 75
    assert why.stdout.startswith("by the records of this machine:\n")
    assert "reset-failed" in why.stdout
    assert "runs as keeps@a." in node.vcsctl("why", "keeps").stdout
