"""The scenarios by name. Each is a module with a docstring, which is its title in the report, and `run(trial)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lab.scenarios import (
    clock,
    cut,
    doctor_pair,
    host_name,
    kills,
    nfs3,
    no_share,
    power_off,
    server_away,
    short_cut,
    short_reboot,
    take_over,
    unsafe_mounts,
)
from lab.trial import Trial


class Scenario(Protocol):
    def run(self, trial: Trial) -> None: ...


SCENARIOS: Mapping[str, Scenario] = {
    "power-off": power_off,
    "cut": cut,
    "short-cut": short_cut,
    "short-reboot": short_reboot,
    "server-away": server_away,
    "kills": kills,
    "take-over": take_over,
    "clock": clock,
    "nfs3": nfs3,
    "unsafe-mounts": unsafe_mounts,
    "doctor-pair": doctor_pair,
    "no-share": no_share,
    "host-name": host_name,
}
