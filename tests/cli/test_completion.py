"""What Tab offers, in real shells and by their protocol; no vcsd is there, only what one has published."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sites import Site

from tests.terminals import Terminal
from vcsctl.cli import shapes, shaping
from vcsctl.store import nodes, records
from vcsctl.store.nodes import NodeUnits
from vcsctl.store.paths import Paths

PROGRAM = f"#!{sys.executable}\nfrom vcsctl.cli.main import main\nmain()\n"
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(vcsctl completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -D && source <(vcsctl completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "vcsctl completion fish | source"),
}
LISTED = "late,schedule,late,retry,none,"


def row(name: str, *groups: str) -> dict[str, object]:
    plain = {"schedule": "periodical", "period": 5, "groups": list(groups), "environment": {"name": "trap"}}
    told = {"plain": plain, "masked": False, "stale": False, "broken": False, "digest": "d", "key": name}
    return {**told, "schedule_digest": "s", "missing": None}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two nodes, the one with a service of its own; and the program `vcsctl` in a directory for PATH."""
    site = Site(tmp_path_factory.mktemp("published"))
    paths = Paths(str(site.shared))
    for folder in (paths.nodes, paths.overrides, paths.history_folder("backup")):
        os.makedirs(folder)
    shared = {"backup": row("backup", "disk"), "backup-all": row("backup-all", "disk", "billing")}
    nodes.publish_units(paths, NodeUnits("bill1", "UTC", {**shared, "calculator": row("calculator", "billing")}))
    nodes.publish_units(paths, NodeUnits("bill2", "UTC", {**shared, "report": row("report")}))
    for number in (9, 10):
        records.append_line(
            paths.history("backup", "2026-01", "bill1"), b'{"id":"backup.%d","key":"backup"}\n' % number
        )
    (site.root / "bin").mkdir()
    program = site.root / "bin/vcsctl"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return site


def environment(site: Site) -> dict[str, str]:
    home = site.root / "home"
    home.mkdir(exist_ok=True)
    path = f"{site.root}/bin:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "VCS_ROOT": str(site.root), "PS1": "$ ", "LC_ALL": "C.UTF-8"}


def ask(site: Site, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Asks as bash does when Tab is typed at the end of the line; a word for each that bash makes of it."""
    words = shlex.split(line.replace("=", " = ")) + ([""] if line.endswith(" ") else [])
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_VCSCTL_COMPLETE": "bash_complete"}
    program = str(site.root / "bin/vcsctl")
    return subprocess.run(
        [program], env={**environment(site), **asked, **more}, capture_output=True, text=True, timeout=60, check=False
    )


def offered(site: Site, line: str, **more: str) -> list[str]:
    done = ask(site, line, **more)
    assert done.stderr == ""
    return [answer.partition(",")[2] for answer in done.stdout.split("\n") if answer]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vcsctl stat", ["status"]),
        ("vcsctl status ba", ["backup", "backup-all"]),
        ("vcsctl status ", ["backup", "backup-all", "calculator", "report"]),
        ("vcsctl run backup ", ["backup-all", "calculator", "report"]),
        ("vcsctl lock ", ["billing", "disk"]),
        ("vcsctl drain ", ["bill1", "bill2"]),
        ("vcsctl nodes ", ["forget"]),
        ("vcsctl nodes forget bill2", ["bill2"]),
        ("vcsctl why backup --node ", ["bill1", "bill2"]),
        ("vcsctl logs backup --run ", ["backup.10", "backup.9"]),
        ("vcsctl logs backup --run=", ["backup.10", "backup.9"]),
        ("vcsctl set backup per", ["period="]),
        ("vcsctl set backup period=", []),
        ("vcsctl status --output=j", ["json"]),
        ("vcsctl logs --fo", ["--follow"]),
        ("vcsctl completion z", ["zsh"]),
        ("vcsctl timeline rep", ["report"]),
        ("vcsctl simulate --duration backup", ["backup-all=", "backup="]),
        ("vcsctl simulate --duration backup=", []),
        ("vcsctl history backup --outcome st", ["stopped"]),
        ("vcsctl history backup --trigger s", ["schedule"]),
        ("vcsctl history backup --outcome failed,lo", ["failed,lost"]),
        ("vcsctl history backup --outcome=failed,lost,s", ["failed,lost,stopped", "failed,lost,skipped"]),
        ("vcsctl history backup --trigger late,schedule,late,retry,none,", [f"{LISTED}manual", f"{LISTED}daemon"]),
        ("vcsctl calendar 04:05 --days mon,t", ["mon,tue", "mon,thu"]),
        ("vcsctl nonsense ", []),
        ("vcsctl lock billing -- ca", ["ca"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fits_at_the_end_of_a_line_is_offered(published: Site, line: str, expected: list[str]) -> None:
    assert offered(published, line) == expected


def test_without_a_cell_nothing_is_offered_and_nothing_said(tmp_path: Path, published: Site) -> None:
    for root in (tmp_path, tmp_path / "missing"):
        assert offered(published, "vcsctl status ", VCS_ROOT=str(root)) == []


def test_a_fault_says_nothing_into_the_prompt(tmp_path: Path, published: Site) -> None:
    folder = tmp_path / "var/lib/vcs/shared/nodes"
    folder.mkdir(parents=True)
    (folder / "a.units.json").mkdir()
    (tmp_path / "etc/vcs").mkdir(parents=True)
    (tmp_path / "etc/vcs/vcs.yaml").write_text("node: [broken\n")
    assert offered(published, "vcsctl status ", VCS_ROOT=str(tmp_path)) == []
    assert ask(published, "vcsctl status ", _VCSCTL_COMPLETE="tcsh_complete").stderr == ""
    assert ask(published, "vcsctl status ", COMP_CWORD="none").stderr == ""


def test_completion_loads_no_command(published: Site) -> None:
    asked = {"COMP_WORDS": "vcsctl\nstatus\n", "COMP_CWORD": "2", "_VCSCTL_COMPLETE": "bash_complete"}
    code = "import sys, os; leave = os._exit\nos._exit = lambda code: (print(*sys.modules, file=sys.stderr), leave(code))\n"
    code += "from vcsctl.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(published), **asked},
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = set(done.stderr.split())
    assert "vcsctl.cli.completion" in loaded
    assert not loaded & {"vcsctl.cli.status", "vcsctl.cli.context", "vcsctl.config", "dataclasses", "json", "zoneinfo"}


def test_what_completion_knows_is_what_the_commands_take() -> None:
    assert Path(shaping.__file__).with_name("shapes.py").read_text() == shaping.written(), "make completion writes it"


def test_every_argument_completes_something() -> None:
    bare = {f"{command} {names[0]}" for command, (_, parameters) in shapes.SHAPES.items()
            for names, kind, *_ in parameters if not names[0].startswith("-") and not kind}  # fmt: skip
    assert bare == set(), "a kind for each in shaping.py"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, published: Site) -> Iterator[Callable[[], Terminal]]:
    """A real shell that has read the script."""
    command, setup = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with Terminal(command, environment(published), columns=100) as terminal:
        terminal.type(f"{setup}; echo rea''dy\n")
        terminal.until(lambda text: "\nready" in text, "script")
        terminal.type("\x0c")  # a clean screen
        terminal.until(lambda text: "ready" not in text, "clean screen")
        yield terminal


def test_a_shell_completes_commands_options_and_names(shell: Terminal) -> None:
    for typed, expected in (
        ("vcsctl cale\t", "vcsctl calendar "),
        ("calcu\t", "vcsctl calendar calculator "),
        ("--cou\t", "vcsctl calendar calculator --count "),
        ("\x15vcsctl set rep\t", "vcsctl set report "),
        ("peri\t", "vcsctl set report period="),
        ("7", "vcsctl set report period=7"),
        ("\x15vcsctl history report --outcome failed,lo\t", "vcsctl history report --outcome failed,lost"),
    ):
        shell.type(typed)
        shell.until(lambda text, line=expected: line.rstrip() in text.rstrip("\n").rstrip(), expected)  # type: ignore[misc]
    assert "rror" not in shell.text


@pytest.fixture
def stuck(published: Site, tmp_path: Path) -> Iterator[Path]:
    """A root whose shared directory hangs: the process that serves it is stopped."""
    if shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("needs bindfs and /dev/fuse")
    shared = tmp_path / "var/lib/vcs/shared"
    shared.mkdir(parents=True)
    server = subprocess.Popen(["bindfs", "-f", str(published.shared), str(shared)])
    give_up = time.monotonic() + 20
    while not os.path.ismount(shared):
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert offered(published, "vcsctl status calc", VCS_ROOT=str(tmp_path)) == ["calculator"]
    server.send_signal(signal.SIGSTOP)
    yield tmp_path
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait(10)


def test_a_share_that_hangs_does_not_hang_the_shell(published: Site, stuck: Path) -> None:
    assert offered(published, "vcsctl status calc", VCS_ROOT=str(stuck)) == []  # else `ask` gives it up
    assert offered(published, "vcsctl stat", VCS_ROOT=str(stuck)) == ["status"]
