"""What an idle cell asks of the share does not grow with the number of units."""

from __future__ import annotations

from collections import Counter

from tests.simulation.script import Script, catalog, once
from tests.simulation.world import Setting


def idle_calls(units: int, nodes: int) -> tuple[Counter[str], int]:
    """The calls of a minute in which nothing is due, and the bytes read."""
    setting = Setting(nodes=nodes, catalog=catalog(*(once(f"u{number}", "g", at="18:00") for number in range(units))))
    script = Script(1, setting)
    with script.at_work():
        for node in script.nodes:
            script.boot(node)
        script.until(600.0)
        settled = {node.name: script.managers[node.name].passes for node in script.nodes}
        script.posix.calls.clear()
        script.posix.bytes_read = 0
        script.until(660.0)
        assert all(script.managers[name].passes > passes for name, passes in settled.items())
        return script.posix.calls, script.posix.bytes_read


def test_an_idle_pass_costs_the_same_with_30_and_with_10000_units() -> None:
    few, bytes_few = idle_calls(30, nodes=2)
    many, bytes_many = idle_calls(10_000, nodes=2)
    assert many == few
    assert abs(bytes_many - bytes_few) < 100  # the numbers in a heartbeat have more digits or fewer
    assert sum(few.values()) < 60 * 20 * 2, few
