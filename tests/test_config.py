"""What vcs.yaml may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcsctl.config import load_config, places
from vcsctl.errors import VcsError


def test_a_heartbeat_is_no_faster_than_vcsd_beats(tmp_path: Path) -> None:
    file = tmp_path / "etc/vcs/vcs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("heartbeat: 1s\n")
    assert load_config(places(str(tmp_path))).heartbeat == 1
    file.write_text("heartbeat: 900ms\n")
    with pytest.raises(VcsError, match="heartbeat: must be 1s or more, not 900ms"):
        load_config(places(str(tmp_path)))
