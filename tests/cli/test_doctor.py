"""doctor on one machine, as a user calls it: on a good directory, on a hung one, and as one who may not write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vcsctl.cli.context import READ_PATIENCE_S
from vcsctl.cli.doctor_checks import Patient, clock, host_names
from vcsctl.config import Config
from vcsctl.places import Places
from vcsctl.store import nodes
from vcsctl.store.cell import make_cell
from vcsctl.store.nodes import NodeState
from vcsctl.store.paths import Paths
from vcsctl.store.server_clock import ClockOffset

Site = Any
PROVED = {
    "locks exclude",
    "moved lock files are noticed",
    "exclusive create",
    "link once",
    "rename replaces",
    "sync of a directory",
    "locks outlive their opener",
}


@pytest.fixture
def fresh(tmp_path: Path, site_class: type[Any]) -> Site:
    """A root whose shared directory is there and empty."""
    site = site_class(tmp_path)
    site.shared.mkdir(parents=True)
    return site


def verdicts(site: Site) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for line in json.loads(site.vcsctl("doctor", "--output", "json").stdout)["checks"]:
        found.setdefault(line["check"], []).append((line["verdict"], line["text"]))
    return found


def test_a_local_directory_is_well_and_nothing_is_left_in_it(fresh: Site) -> None:
    done = fresh.vcsctl("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert not [line for line in done.stdout.splitlines() if not line.startswith(("ok ", "skipped ", "warning "))]
    found = verdicts(fresh)
    assert set(found) >= PROVED
    assert {found[name][0][0] for name in PROVED} == {"ok"}
    assert list(fresh.shared.iterdir()) == []


def test_it_disturbs_no_vcsd(site: Site) -> None:
    site.start()
    assert site.vcsctl("doctor").returncode == 0
    assert list((site.shared / "probe").iterdir()) == []
    assert site.wake()


def test_a_share_that_is_not_there_is_named(fresh: Site) -> None:
    fresh.shared.rmdir()
    done = fresh.vcsctl("doctor")
    assert done.returncode == 1
    assert f"{fresh.shared} is not there; mount the share" in done.stdout.splitlines()[-1]
    shutil.rmtree(fresh.shared.parent)
    fresh.shared.parent.touch()
    assert f"{fresh.shared} is not there; mount the share" in fresh.vcsctl("doctor").stdout.splitlines()[-1]


def test_another_cell_than_the_expected_one_fails(fresh: Site) -> None:
    made = make_cell(Paths(str(fresh.shared)))
    fresh.configure("cell: abcdef\n")
    done = fresh.vcsctl("doctor")
    assert done.returncode == 1
    assert f"{fresh.shared} is cell {made.id}, vcs.yaml expects abcdef; mount the right one" in done.stdout


def test_files_that_others_may_write_fail(fresh: Site) -> None:
    fresh.unit("calculator", "schedule: periodical\nperiod: 5\nexec: [/bin/true]\n")
    (fresh.units / "calculator.yaml").chmod(0o666)
    (failed,) = verdicts(fresh)["permissions"]
    assert failed == (
        "failed",
        f"{fresh.units}/calculator.yaml: can be written by others; take that right away (chmod go-w)",
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534


def as_nobody(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    for folder in (site.root, *site.root.parents):
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    command = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--", sys.executable, "-m"]
    command += ["vcsctl.cli.main", "--root", str(site.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_root
def test_who_may_not_write_is_told_what_could_not_be_tested(fresh: Site) -> None:
    done = as_nobody(fresh, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{fresh.shared} cannot be written by uid 65534: whether locks work only uid 0 or root" in done.stdout
    assert "locks exclude" not in done.stdout
    make_cell(Paths(str(fresh.shared)))
    done = as_nobody(fresh, "doctor")
    assert done.returncode == 0, "where no vcsd has run nobody knows whose the cell should be"


@needs_root
def test_who_may_not_even_look_at_the_share_is_told_so(fresh: Site) -> None:
    fresh.shared.parent.chmod(0o700)
    done = as_nobody(fresh, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    sentence = f"cannot look at {fresh.shared}: permission denied; run the command as a user who may"
    assert sentence in done.stdout.splitlines()[-1]
    assert "permission denied; run the command as a user who may" in as_nobody(fresh, "status").stderr


@needs_root
def test_a_folder_that_is_another_users_than_vcsds_fails(site: Site) -> None:
    site.start()
    assert site.vcsctl("doctor").returncode == 0
    os.chown(site.shared / "queue", NOBODY, -1)
    done = site.vcsctl("doctor")
    assert done.returncode == 1
    remedy = f"run vcsd as one user on every node, and chown -R that user {site.shared}"
    assert f"{site.shared}/queue belongs to uid 65534, vcsd runs here as uid 0: {remedy}" in done.stdout
    site.stop()
    shutil.rmtree(site.root / "var/cache")
    (site.root / "run/vcs/vcsd.sock").unlink()
    done = site.vcsctl("doctor")
    assert done.returncode == 1
    assert f"{site.shared}/queue belongs to uid 65534, {site.shared}/cell.json to uid 0: {remedy}" in done.stdout


@needs_root
def test_a_cell_that_vcsds_user_may_not_write_fails_whoever_asks(site: Site) -> None:
    site.start()
    site.stop()
    os.chown(site.root / "run/vcs/vcsd.sock", NOBODY, -1)  # as a vcsd of that user makes it
    for done in (site.vcsctl("doctor"), as_nobody(site, "doctor")):
        assert done.returncode == 1
        assert f"{site.shared}/cell.json belongs to uid 0, vcsd runs here as uid 65534: " in done.stdout
    for path in (site.shared, *site.shared.rglob("*")):
        os.chown(path, NOBODY, -1)
    for done in (site.vcsctl("doctor"), as_nobody(site, "doctor")):
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("node", "host", "machine", "age_s", "expected"),
    [
        ("b", "files2", "m2", 0, ("ok", "files1 is one machine's name among 1 node of this cell")),
        ("b", "files1", "m1", 0, ("ok", "files1 is one machine's name")),
        ("a", "renamed", "m1", 0, ("ok", "files1 is one machine's name")),
        ("b", "files1", "", 0, ("ok", "files1 is one machine's name")),
        ("b", "files1", "m2", 0, ("failed", "node b is on another machine called files1: one gets the other's locks")),
        ("b", "files1", "m2", 600, ("warning", "if that machine is no more, vcsctl nodes forget b")),
        ("a", "files2", "m2", 0, ("failed", "another machine, files2, is node a: one gets the other's locks")),
        ("b", "files2", "m1", 0, ("warning", "node b on files2 has this machine's id: one is a copy of the other")),
    ],
    ids=[
        "two machines",
        "two nodes of one machine",
        "a machine that was renamed",
        "a machine without an id",
        "two machines of one host name",
        "the same, long silent",
        "two machines as one node",
        "a copied machine",
    ],
)
def test_two_machines_of_one_name_are_told(
    tmp_path: Path, node: str, host: str, machine: str, age_s: int, expected: tuple[str, str]
) -> None:
    paths = Paths(str(tmp_path))
    make_cell(paths)
    nodes.publish_state(paths, NodeState(node, 1, "boot", 1, datetime.now(UTC), 5.0, host=host, machine=machine))
    long_ago = time.time() - age_s
    os.utime(paths.node(node), (long_ago, long_ago))
    patient = Patient(Places(), Config(node="a", shared_dir=str(tmp_path)), "files1", "m1")
    ((verdict, text),) = host_names(patient)
    assert verdict == expected[0]
    assert expected[1] in text


@pytest.mark.parametrize(
    ("offset", "verdict", "words"),
    [
        (ClockOffset(0.2, 0.01), "ok", "0.200 s ahead of"),
        (ClockOffset(-0.2, 0.01), "ok", "0.200 s behind"),
        (ClockOffset(-3.0, 0.01), "warning", "3.000 s behind the file server's, ± 0.010 s: slots start that much"),
        (ClockOffset(3.0, 2.5), "ok", "± 2.500 s"),
        (ClockOffset(30.0, 0.01), "failed", "30 s ahead of the file server's: it claims nothing; set it right"),
        (ClockOffset(12.0, 4.0), "warning", "12.000 s ahead of"),
    ],
    ids=["right", "right, the other way", "3 s off", "nobody knows", "30 s off", "perhaps 8 s off"],
)
def test_a_clock_is_judged_by_what_is_certain(offset: ClockOffset, verdict: str, words: str) -> None:
    patient = Patient(Places(), Config(node="a"))
    patient.offset = offset
    ((found, text),) = clock(patient)
    assert found == verdict
    assert words in text


@pytest.fixture
def unknown(fresh: Site, tmp_path: Path) -> Iterator[tuple[Site, subprocess.Popen[bytes]]]:
    """The shared directory lies on a file system of a kind that nobody knows; and the process that serves it."""
    if shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("needs bindfs and /dev/fuse")
    (tmp_path / "disk").mkdir()
    server = subprocess.Popen(["bindfs", "-f", str(tmp_path / "disk"), str(fresh.shared)])
    fresh.until(lambda: os.path.ismount(fresh.shared), "it is mounted")
    yield fresh, server
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait(10)


def test_storage_that_hangs_is_given_up_and_named(unknown: tuple[Site, subprocess.Popen[bytes]]) -> None:
    site, server = unknown
    server.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    done = site.vcsctl("doctor")
    assert done.returncode == 75
    assert READ_PATIENCE_S <= time.monotonic() - began_s < 20
    last = done.stdout.splitlines()[-1]
    assert last.startswith("HUNG     shared directory")
    assert "see to its mount and its server" in last
    assert done.stderr == "still at: shared directory\n"


def test_a_share_that_is_broken_is_not_taken_for_one_that_is_not_mounted(
    unknown: tuple[Site, subprocess.Popen[bytes]],
) -> None:
    site, server = unknown
    server.kill()
    server.wait(10)
    try:
        site.until(lambda: not os.path.isdir(site.shared), "the kernel has forgotten how it was")
        done = site.vcsctl("doctor")
    finally:
        subprocess.run(["umount", "--lazy", str(site.shared)], check=True, timeout=10)
    assert done.returncode == 1
    assert f"cannot look at {site.shared}: transport endpoint is not connected" in done.stdout.splitlines()[-1]


def test_vcsd_and_doctor_refuse_storage_of_which_they_know_no_fence(
    unknown: tuple[Site, subprocess.Popen[bytes]],
) -> None:
    site, _ = unknown
    site.configure("fence_after: 30s\n")
    assert "30 s (configured): a run without a proof for 15 s is stopped" in site.vcsctl("doctor").stdout
    assert site.vcsctl("init").returncode == 0
    site.start()
    site.stop()
    site.configure("fence_after: auto\n")
    sentence = "file system fuse: nothing here tells when it gives a silent node's locks away; write that time as"
    vcsd = [sys.executable, "-m", "vcsctl.vcsd.main", "--root", str(site.root)]
    refused = subprocess.run(vcsd, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 5
    assert f"vcsd: cannot trust {site.shared} with locks: {sentence} fence_after into vcs.yaml" in refused.stderr
    done = site.vcsctl("doctor")
    assert done.returncode == 1
    assert sentence in done.stdout


def test_whether_nfs_3_will_do_is_said_in_the_configuration(fresh: Site) -> None:
    fresh.configure("allow_nfs3: true\n")
    assert fresh.vcsctl("doctor").returncode == 0
    fresh.configure("allow_nfs3: perhaps\n")
    done = fresh.vcsctl("doctor")
    assert done.returncode == 2
    assert "vcs.yaml:1:1: allow_nfs3: cannot read" in done.stderr
