"""Daemons in a cell of real vcsds: started where they are wanted, stopped where not, ordered about, taken over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cell import CLOCK_AHEAD, SILENT_AFTER_S, Cell
from witness import Witness, broken_promises

from vcsctl.domain.daemon import DaemonState, Order
from vcsctl.domain.override import FieldOverride, Override
from vcsctl.store import daemons, nodes
from vcsctl.store.override_change import change_override

CellOf = Callable[..., Cell]
FAILING = "schedule: daemon\nrun_on: any\nrestart_delay: 10ms\nstart_limit: 2 in 60s\n"


def unit(witness: Witness, *, more: str = "", group: str = "") -> str:
    groups = f"groups: [{group}]\n" if group else ""
    return f"schedule: daemon\nrestart_delay: 100ms\n{groups}{more}exec: {witness.command(group, 600)}\n"


def shown(cell: Cell) -> dict[str, DaemonState]:
    """KEY → how it is, as all nodes publish it."""
    return {one.key: one for stored in daemons.published(cell.paths).values() for one in stored.value.daemons}


def ends(cell: Cell, key: str) -> list[tuple[str, str]]:
    """Of the runs of a KEY, the oldest first."""
    rows = [row for row in next(iter(cell.nodes.values())).history(key.partition("@")[0]) if row["key"] == key]
    return [(row["id"], row["cause"]) for row in sorted(rows, key=lambda row: int(row["id"].rpartition(".")[2]))]


def until_up(cell: Cell, *runs: str) -> None:
    """They are ready, and published so."""
    node = next(iter(cell.nodes.values()))
    for run in runs:

        def is_up(run: str = run) -> bool:
            return (run, "up") in {(state.run_id, state.phase) for state in shown(cell).values()}

        node.until(is_up, f"{run} is up, and published so")


def until_another_is_up(cell: Cell, key: str, than: str = "") -> str:
    """Of a daemon that needs no share, whose numbers begin anywhere; the run."""
    node = next(iter(cell.nodes.values()))

    def is_up() -> bool:
        state = shown(cell).get(key)
        return state is not None and state.phase == "up" and state.run_id != than

    node.until(is_up, f"a run of {key} other than {than or 'none'} is up, and published so")
    return shown(cell)[key].run_id


def order(cell: Cell, key: str, do: str) -> None:
    """As a command enters it; on return it is carried out."""
    one = Order("o" + os.urandom(5).hex(), key, do, "kim", "elsewhere", "a trial")  # type: ignore[arg-type]
    daemons.enter_order(cell.paths, one)
    for node in cell.nodes.values():
        node.wake()
    node.until(lambda: not daemons.is_waiting(cell.paths, key, one.id), f"{do} of {key} is carried out")


def switch(cell: Cell, name: str, *, on: bool) -> None:
    """As `vcsctl enable` and `disable` do, of a service that is declared enabled."""
    changed = FieldOverride(False, True, "kim", "elsewhere", datetime.now(UTC))
    change_override(cell.paths, name, lambda _, moment: Override({} if on else {"enabled": changed}, moment))
    for node in cell.nodes.values():
        node.wake()


def broken(cell: Cell, witness: Witness) -> list[str]:
    """What the checker finds, apart from this: a daemon that runs has no outcome yet."""
    cells = [cell.shared, *(node.root / "var/lib/vcs/local" for node in cell.nodes.values())]
    live = [f"no outcome: run {path.stem} " for one in cells for path in one.glob("running/*.json")]
    found = broken_promises(witness, cell.shared, time.monotonic(), [], [])
    return [sentence for sentence in found if not sentence.startswith(tuple(live))]


def said(cell: Cell, text: str) -> bool:
    return any(text in node.log() for node in cell.nodes.values())


def beats(cell: Cell) -> dict[str, int]:
    """Node → how many heartbeats its vcsd has published."""
    told = {name: stored.value for name, stored in nodes.read_states(cell.paths).items()}
    ours = {name: node.vcsd.pid for name, node in cell.nodes.items() if node.vcsd is not None}
    return {name: told[name].counter if name in told and told[name].pid == pid else 0 for name, pid in ours.items()}


def until_looked(cell: Cell) -> None:
    """Every node has looked at everything, later than any pause after which it would start something: three heartbeats
    are two seconds at least, the pauses one, a poll 300 ms."""
    before = beats(cell)
    for name, node in cell.nodes.items():
        node.until(lambda name=name: beats(cell)[name] >= before[name] + 3, f"{name} beats")  # type: ignore[misc]


def quiet(cell: Cell, witness: Witness) -> bool:
    before = len(witness.begun())
    until_looked(cell)
    return len(witness.begun()) == before


def test_daemons_start_and_stop_as_their_units_and_operators_say(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    node = cell["a"]
    cell.unit("one", unit(witness, group="g"))
    cell.unit("off", unit(witness, group="h", more="enabled: false\n"))
    cell.start()
    until_up(cell, "one@a.1")
    began = witness.begun()["one@a.1"]
    assert shown(cell)["one@a"].pid == began.pid
    assert quiet(cell, witness), "what is declared disabled began"
    # Another title restarts nothing.
    cell.unit("one", "title: Other\n" + unit(witness, group="g"))
    node.reload()
    assert quiet(cell, witness)
    # What its process sees does.
    cell.unit("one", unit(witness, group="g", more="environment: {A: b}\n"))
    node.reload()
    until_up(cell, "one@a.2")
    assert said(cell, "one@a.1: told to stop: its unit changed: environment")
    # A broken unit changes nothing: the last good one is in force.
    cell.unit("one", "schedule: daemon\nexec: 7: 8\n")
    node.reload()
    assert quiet(cell, witness)
    cell.unit("one", unit(witness, group="g", more="environment: {A: b}\n"))
    node.reload()
    assert quiet(cell, witness)
    # Disabled and enabled by hand.
    switch(cell, "one", on=False)
    node.until(lambda: len(ends(cell, "one@a")) == 2, "it is stopped since it is disabled")
    assert quiet(cell, witness)
    node.until(lambda: "one@a" not in shown(cell), "it is published no more")
    switch(cell, "one", on=True)
    until_up(cell, "one@a.3")
    # Masked, and unmasked.
    (node.units / "one.yaml").write_text("")
    node.reload()
    node.until(lambda: len(ends(cell, "one@a")) == 3, "it is stopped since it is masked")
    cell.unit("one", unit(witness, group="g", more="environment: {A: b}\n"))
    node.reload()
    until_up(cell, "one@a.4")
    # Gone.
    (node.units / "one.yaml").unlink()
    node.reload()
    node.until(lambda: len(ends(cell, "one@a")) == 4, "it is stopped since its unit is gone")
    assert {cause for _, cause in ends(cell, "one@a")} == {"unwanted"}
    assert not broken(cell, witness)


def test_orders_are_carried_out(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    reloaded = cell.root / "reloaded"
    more = f"reload: {{exec: [/bin/touch, {reloaded}]}}\n"
    cell.unit("one", unit(witness, group="g", more=more))
    cell.start()
    until_up(cell, "one@a.1")
    order(cell, "one@a", "reload")
    cell["a"].until(reloaded.exists, "its reload command has run")
    order(cell, "one@a", "restart")
    until_up(cell, "one@a.2")
    order(cell, "one@a", "reset-failed")
    assert said(cell, "it runs as one@a.2; nothing is done")
    order(cell, "one@a", "stop")
    cell["a"].until(lambda: len(ends(cell, "one@a")) == 2, "it is stopped")
    assert quiet(cell, witness)
    order(cell, "one@a", "stop")
    order(cell, "one@a", "reload")
    assert quiet(cell, witness)
    # It stays down when vcsd is restarted, too.
    cell["a"].stop()
    cell.start()
    assert quiet(cell, witness)
    order(cell, "one@a", "restart")
    until_up(cell, "one@a.3")
    assert ends(cell, "one@a") == [("one@a.1", "restart-requested"), ("one@a.2", "stop-requested")]
    order(cell, "nobody", "stop")
    assert said(cell, "nobody: stop ordered by kim on elsewhere: no known node may run it; nothing is done")
    assert not broken(cell, witness)


def test_a_killed_vcsd_leaves_its_daemons_alone_and_finds_them_again(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    cell.unit("one", unit(witness, group="g"))
    cell.start()
    until_up(cell, "one@a.1")
    before = witness.begun()["one@a.1"]
    cell["a"].kill()
    cell.start()
    assert said(cell, "one@a.1: lives on; watched from now on")
    cell["a"].wake()
    assert shown(cell)["one@a"].pid == before.pid
    cell["a"].until(lambda: (shown(cell)["one@a"].memory_kib or 0) > 0, "what it uses is published")
    order(cell, "one@a", "restart")
    until_up(cell, "one@a.2")
    assert len(witness.begun()) == 2
    assert not broken(cell, witness)


def test_a_daemon_at_its_start_limit_is_tried_elsewhere_and_then_is_failed(cell_of: CellOf, tmp_path: Path) -> None:
    cell = cell_of("a", "b")
    tried = tmp_path / "tried"
    cell.unit("bad", FAILING + f"exec: [/bin/sh, -c, 'echo x >> {tried}; exit 3']\n")
    cell.start()
    node = cell["a"]
    node.until(lambda: len(ends(cell, "bad")) == 2, "it has failed on both nodes")
    rows = node.history("bad")
    assert {(row["node"], row["cause"]) for row in rows} == {("a", "start-limit"), ("b", "start-limit")}
    lines = len(tried.read_text().split())
    assert lines == 4
    until_looked(cell)
    assert len(tried.read_text().split()) == lines, "it is tried on and on"
    order(cell, "bad", "reset-failed")
    node.until(lambda: len(ends(cell, "bad")) == 4, "it is tried again, on both nodes")
    cell.unit("bad", FAILING + "exec: [/bin/sleep, '600']\n")
    for one in cell.nodes.values():
        one.reload()
    until_up(cell, "bad.5")


def test_a_drained_node_gives_its_daemon_to_another(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.unit("any", unit(witness, group="g", more="run_on: any\n"))
    cell.unit("each", unit(witness))
    cell.start("a")
    until_up(cell, "any.1")
    before = until_another_is_up(cell, "each@a")
    cell.start("b")
    until_another_is_up(cell, "each@b")
    assert cell["a"].vcsctl("drain", "a").returncode == 0
    until_up(cell, "any.2")
    assert shown(cell)["any"].node == "b"
    cell["a"].until(lambda: "each@a" not in shown(cell), "its own daemon is stopped, too")
    assert cell["a"].vcsctl("resume", "a").returncode == 0
    until_another_is_up(cell, "each@a", before)
    until_up(cell, "any.2")
    assert not broken(cell, witness)


def test_another_node_takes_over_when_everything_on_the_first_is_dead(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.unit("any", unit(witness, group="g", more="run_on: any\n"))
    cell.start("a")
    until_up(cell, "any.1")
    cell.start("b")
    cell["a"].power_off()
    died_at = time.monotonic()
    cell["b"].until(lambda: "any.2" in witness.begun(), "b has taken over")
    took_s = time.monotonic() - died_at
    print(f"\ntaken over {took_s:.1f} s after the power was off")
    assert witness.begun()["any.2"].execution.node == "b"
    assert took_s < 4 * SILENT_AFTER_S
    cell.start("a")
    until_up(cell, "any.2")
    # Its runner is killed alone: what it left dies with it, and it is started again.
    os.kill(witness.begun()["any.2"].runner, 9)
    cell["b"].until(lambda: "any.3" in witness.begun(), "it is started again")
    assert [cause for _, cause in ends(cell, "any")] == ["node-died", "runner-died"]
    assert not broken(cell, witness)


def test_why_says_once_that_the_node_of_a_daemon_is_silent(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b")
    cell.unit("any", unit(witness, group="g", more="run_on: any\n"))
    cell.start("a")
    until_up(cell, "any.1")
    cell.start("b")
    cell["a"].kill()
    told = "it may go on there"
    cell["b"].until(lambda: told in cell["b"].vcsctl("why", "any").stdout, "why tells of the silent node")
    assert cell["b"].vcsctl("why", "any").stdout.count(told) == 1
    assert "any.1" in cell["b"].vcsctl("why", "any").stdout


def test_nodes_restart_a_changed_daemon_one_at_a_time(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a", "b", "c")
    more = "ready: {after: 1s}\n"
    cell.unit("each", unit(witness, more=more))
    cell.start()
    before = {name: until_another_is_up(cell, f"each@{name}") for name in cell.nodes}
    cell.unit("each", unit(witness, more=more + "environment: {A: b}\n"))
    for node in cell.nodes.values():
        node.reload()
    after = [until_another_is_up(cell, f"each@{name}", run) for name, run in before.items()]
    began = sorted(witness.begun()[run].execution.began_at for run in after)
    assert all(later - one >= 1.0 for one, later in pairwise(began)), began
    assert not broken(cell, witness)


def test_a_clock_that_is_off_keeps_no_daemon_down(cell_of: CellOf, witness: Witness) -> None:
    cell = cell_of("a")
    cell["a"].preamble += CLOCK_AHEAD.format(seconds=3600)
    cell.unit("one", unit(witness, group="g"))
    cell.start()
    until_up(cell, "one@a.1")
    cell["a"].until(lambda: said(cell, "it claims nothing; set it right"), "the clock is noticed")
    assert quiet(cell, witness)
    order(cell, "one@a", "restart")
    until_up(cell, "one@a.2")
    assert not broken(cell, witness)
