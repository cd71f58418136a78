"""What takes longer to read than a storage that hangs is given is read to its end."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vcsctl.domain.history import Row
from vcsctl.store import history
from vcsctl.store.paths import Paths

ROWS = 60_000
PATIENCE_S = 0.8  # as vcsctl's own, made short with the history
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, site_class: type[Any]) -> Any:
    made = site_class(tmp_path_factory.mktemp("site"))
    made.configure("node: n1\n")
    made.unit("often", "schedule: periodical\nperiod: 5\nenabled: false\nexec: [/bin/true]\n")
    made.start()
    row = Row("often.1", "often", "often", "ok", "ok", "", NOW - timedelta(days=40), "n1")
    (path,) = history.append(Paths(str(made.shared)), "n1", [row], check=False)
    line = Path(path).read_bytes()
    Path(path).write_bytes(b"".join(line.replace(b"often.1", b"often.%d" % n) for n in range(1, ROWS)))
    yield made
    made.stop()


def vcsctl(busy: Any, *command: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from vcsctl.cli import context, main; context.READ_PATIENCE_S = {PATIENCE_S}; sys.exit(main.main())"
    return subprocess.run(
        [sys.executable, "-c", code, "--root", str(busy.root), *command],
        env=busy.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("history", "often", "--outcome", "lost"), (0, "")),
        (("why", "often", "--at", f"{NOW - timedelta(days=60):%Y-%m-%dT%H}:00Z"), (0, "")),
        (("logs", "often", "--run", "often.1"), (3, "the log of often.1 is gone")),
    ],
    ids=["history", "why --at", "logs --run"],
)
def test_a_long_history_is_no_share_that_hangs(busy: Any, command: tuple[str, ...], expected: tuple[int, str]) -> None:
    done = vcsctl(busy, *command)
    assert expected[1] in done.stderr
    assert "did not answer" not in done.stderr
    assert done.returncode == expected[0], done.stderr


def test_what_became_of_an_old_run_is_looked_for_as_long_as_the_history_answers(busy: Any) -> None:
    for number in (1, 2):
        log = busy.root / "var/log/vcs/often" / f"often.{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("x\n")
    done = vcsctl(busy, "logs", "often", "--since", "1d")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(", n1, ok <==") == 2
