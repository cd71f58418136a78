"""History as far back as somebody wants to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from vcsctl.domain.history import Row
from vcsctl.domain.run import Outcome
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


def test_how_long_runs_took_is_told_of_those_that_went_well_the_newest_first(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    (tmp_path / "history").mkdir()

    def row(number: str, minute: int, outcome: Outcome = "ok", lasted_s: float | None = 1.0, why: str = "") -> Row:
        at = NEW_YEAR + minute * MINUTE
        return Row(f"one.{number}", "one", "one", outcome, "exited", why, at, "n", duration_s=lasted_s)

    liar = '"outcome":"ok","duration_s":99,'
    rows = [row("1", -1, lasted_s=1e-06), row("2", 1, lasted_s=2.5), row("3", 2, "failed", 3.0, why=liar)]
    rows += [row("4+1", 3), row("5", 4, lasted_s=None, why=liar), row("6", 6, lasted_s=6.0, why=liar)]
    history.append(paths, "a", rows, check=False)
    history.append(paths, "b", [row("7", 5, lasted_s=7.0)], check=False)
    with open(paths.history("one", "2026-01", "a"), "ab") as file:
        file.write(b'{"version":1,"id":"one.8","outcome":"ok","at":"2026-01-01T00:07:00Z","duration_s":8')
    told = list(history.durations(paths, "one"))
    assert told == [None, 6.0, 7.0, None, None, None, 2.5, 1e-06]
