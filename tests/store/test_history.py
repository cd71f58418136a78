"""History as far back as somebody wants to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from vcsctl.domain.history import Row
from vcsctl.store import history
from vcsctl.store.paths import Paths

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_the_rows_since_an_instant_are_those_of_all_nodes_each_once_the_newest_first(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    (tmp_path / "history").mkdir()

    def row(name: str, number: int, minute: float) -> Row:
        return Row(f"{name}.{number}", name, name, "ok", "exited", "", NEW_YEAR + minute * MINUTE, "n")

    # Over the end of a month, from two nodes, one row written by both, one somewhat late.
    history.append(paths, "a", [row("one", number, number - 5) for number in range(10)], check=False)
    history.append(paths, "b", [row("one", 9, 4), row("one", 20, 20), row("one", 12, 4.5)], check=False)
    history.append(paths, "a", [row("other", 1, -90), row("other", 2, 1)], check=False)
    found = history.read_since(paths, ["one", "other", "none"], NEW_YEAR - 2 * MINUTE)
    assert [one.id for one in found] == [
        "one.20", "one.12", "one.9", "one.8", "one.7", "one.6", "one.5", "one.4", "one.3", "other.2",
    ]  # fmt: skip
