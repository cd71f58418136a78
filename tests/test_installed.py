"""The project as users get it: a wheel in an environment of its own, away from the sources."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1]
PATIENCE_S = 30.0
pytest.importorskip("setuptools", minversion="70.1", reason="builds wheels by itself from 70.1 on")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VCS_"))}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "sources"
    hidden = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(SOURCES, copy, ignore=hidden)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    built = run(*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", folder / "wheels", copy, cwd=folder)
    assert built.returncode == 0, built.stderr
    shutil.rmtree(copy)
    made = folder / "venv"
    assert run(sys.executable, "-m", "venv", "--without-pip", made, cwd=folder).returncode == 0
    site_packages = next(made.glob("lib/python3*/site-packages"))
    (site_packages / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    wheel = next((folder / "wheels").glob("vcsctl-*.whl"))
    put = run(*pip, "--python", made / "bin/python", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    assert put.returncode == 0, put.stderr
    return made


@pytest.fixture
def root(prefix: Path, tmp_path: Path) -> Iterator[Path]:
    """A root with the installed units, and the installed vcsd running on it."""
    units = tmp_path / "usr/share/vcs/units"
    shutil.copytree(prefix / "share/vcs/units", units)
    log = (tmp_path / "vcsd.log").open("wb")
    vcsd = subprocess.Popen([prefix / "bin/vcsd", "--root", tmp_path], cwd="/", stderr=log)
    log.close()
    give_up = time.monotonic() + PATIENCE_S
    while run(prefix / "bin/vcsctl", "--root", tmp_path, "reload", cwd=tmp_path).returncode == 3:
        assert vcsd.poll() is None and time.monotonic() < give_up, (tmp_path / "vcsd.log").read_text()
        time.sleep(0.02)
    yield tmp_path
    vcsd.send_signal(signal.SIGTERM)
    assert vcsd.wait(20) == 0


def test_the_wheel_brings_programs_units_and_samples(prefix: Path, tmp_path: Path) -> None:
    where = run(prefix / "bin/python", "-c", "import vcsctl; print(vcsctl.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(prefix))
    shipped = {path.name for path in (SOURCES / "units").glob("*.yaml")}
    assert {path.name for path in (prefix / "share/vcs/units").iterdir()} == shipped
    assert (prefix / "share/vcs/services.d/backup-manager.yaml.d/10-billing.yaml").is_file()
    assert (prefix / "lib/systemd/system/vcsd.service").is_file()
    for schema in ("unit.schema.json", "drop-in.schema.json"):
        assert (prefix / "share/vcs" / schema).read_bytes() == (SOURCES / schema).read_bytes()
    for page in ("man/man1/vcsctl.1", "man/man8/vcsd.8"):
        assert (prefix / "share" / page).read_text().startswith(".TH VCS")
    if shutil.which("man"):
        beside = {"PATH": f"{prefix}/bin:{os.environ['PATH']}"}  # of man, too, the pages beside a directory of PATH
        found = subprocess.run(
            ["man", "-w", "vcsctl"], env=beside, capture_output=True, text=True, timeout=60, check=False
        )
        assert found.stdout == f"{prefix}/share/man/man1/vcsctl.1\n", found.stderr
    for script in (
        "bash-completion/completions/vcsctl",
        "zsh/site-functions/_vcsctl",
        "fish/vendor_completions.d/vcsctl.fish",
    ):
        assert "_VCSCTL_COMPLETE" in (prefix / "share" / script).read_text()
    for program in ("vcsctl", "vcsd", "vcs-utility"):
        assert run(prefix / "bin" / program, "--version", cwd=tmp_path).returncode == 0


def test_without_a_root_the_shipped_units_are_those_of_the_prefix(prefix: Path, tmp_path: Path) -> None:
    shown = run(prefix / "bin/vcsctl", "cat", "cleaner", cwd=tmp_path)
    assert shown.stdout.startswith(f"# {prefix}/share/vcs/units/cleaner.yaml\n"), shown.stderr


def test_the_installed_vcsd_runs_the_shipped_units(prefix: Path, root: Path) -> None:
    vcsctl = (prefix / "bin/vcsctl", "--root", root)
    status = run(*vcsctl, "status", cwd=root)
    assert (status.returncode, status.stderr) == (0, "")
    lines = [line for line in status.stdout.splitlines() if line.startswith(("  enabled ", "  disabled "))]
    assert len(lines) == len(list((SOURCES / "units").glob("*.yaml")))
    ran = run(*vcsctl, "run", "cleaner", "--wait", cwd=root)
    assert (ran.returncode, ran.stdout.splitlines()[1]) == (0, "cleaner.1: ok: exited with code 0"), ran
    assert run(*vcsctl, "verify", cwd=root).returncode == 0
