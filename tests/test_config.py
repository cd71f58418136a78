"""What vcs.yaml may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vcsctl.config import load_config
from vcsctl.errors import VcsError
from vcsctl.places import places


def test_a_heartbeat_is_no_faster_than_vcsd_beats(tmp_path: Path) -> None:
    file = tmp_path / "etc/vcs/vcs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("heartbeat: 1s\n")
    assert load_config(places(str(tmp_path))).heartbeat == 1
    file.write_text("heartbeat: 900ms\n")
    with pytest.raises(VcsError, match="heartbeat: must be 1s or more, not 900ms"):
        load_config(places(str(tmp_path)))


@pytest.mark.parametrize("others", [{}, {"made_by": "0.0.9"}], ids=["of a time without versions", "of another version"])
def test_what_another_version_found_right_is_not_believed(tmp_path: Path, others: dict[str, Any]) -> None:
    where = places(str(tmp_path))
    file, cache = Path(where.config_file), Path(where.config_cache)
    file.parent.mkdir(parents=True)
    file.write_text("heartbeat: 2s\n")
    assert load_config(where).heartbeat == 2
    kept = json.loads(cache.read_text())
    assert load_config(where).heartbeat == 2
    file.write_text("heartbeat: 900ms\n")
    kept |= {"source": "heartbeat: 900ms\n", "values": kept["values"] | {"heartbeat": 0.9}}
    cache.write_text(json.dumps({key: value for key, value in kept.items() if key != "made_by"} | others))
    with pytest.raises(VcsError, match="heartbeat: must be 1s or more, not 900ms"):
        load_config(where)
