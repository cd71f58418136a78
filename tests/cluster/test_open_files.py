"""A vcsd that is given few descriptors: it uses all that it may, and outlives the want of one more."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sites import Site

FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
HARD = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)


@pytest.fixture
def site_with(tmp_path: Path) -> Iterator[list[Site]]:
    made: list[Site] = []
    yield made
    for site in made:
        site.stop()


def test_no_descriptor_to_be_had_does_not_end_vcsd(tmp_path: Path, site_with: list[Site]) -> None:
    site = Site(tmp_path, FEW.format(soft=40, hard=40))
    site_with.append(site)
    site.start()
    with ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(tmp_path / "run/vcs/vcsd.sock"))
        site.until(lambda: "too many open files" in (tmp_path / "vcsd.log").read_text().lower(), "it has none left")
    site.until_it_answers()
    assert "Traceback" not in (tmp_path / "vcsd.log").read_text()


def test_vcsd_takes_what_it_may_and_a_job_gets_what_it_had(tmp_path: Path, site_with: list[Site]) -> None:
    site = Site(tmp_path, FEW.format(soft=256, hard=HARD))
    site_with.append(site)
    asks = f"ulimit -Sn > {tmp_path}/soft; ulimit -Hn > {tmp_path}/hard"
    site.unit("asks", f"schedule: periodical\nperiod: 60\nenabled: false\nexec: [/bin/sh, -c, '{asks}']\n")
    site.start()
    assert site.vcsd is not None
    assert resource.prlimit(site.vcsd.pid, resource.RLIMIT_NOFILE) == (HARD, HARD)
    site.request("asks")
    site.until(lambda: site.history("asks"), "it has run")
    assert site.history("asks")[0]["outcome"] == "ok", site.history("asks")
    assert (tmp_path / "soft").read_text().strip() == "256"
    assert (tmp_path / "hard").read_text().strip() == str(HARD)
