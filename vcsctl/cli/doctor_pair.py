"""One side of `doctor --serve` and `doctor --peer`: finds the other, runs the trials with it, says the same as it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from vcsctl import __version__
from vcsctl.cli.doctor_checks import CLOCK_WARNING_S, Patient
from vcsctl.cli.doctor_steps import Finding, Step
from vcsctl.domain.nodes import CLOCK_LIMIT_S
from vcsctl.errors import StorageError, VcsError
from vcsctl.runners import proc
from vcsctl.runners.two_nodes import TRIALS, Pair, Result, run_trial
from vcsctl.store import exchange
from vcsctl.store.exchange import Exchange, Role
from vcsctl.store.selftest import describe
from vcsctl.store.server_clock import ClockOffset

PEER_PATIENCE_S = 30.0
_TRIAL_PATIENCE_S = 120.0  # the other side's silence is noticed long before; this is for storage that hangs
_GREETING_PATIENCE_S = 60.0
_LOCK_TRIALS = ("lock of", "child's lock")


def pair_steps(patient: Patient, role: Role, within_s: float) -> Generator[Step, None, None]:
    """Once a lock was given to two, how quickly one is handed over means nothing."""
    side = _Side(patient, role)
    try:
        yield Step("other side", within_s + _GREETING_PATIENCE_S, partial(side.find, within_s))
        for name, trial in TRIALS.items():
            if side.pair is None:
                return
            if name == "hand-over" and side.locks_failed:
                yield Step(name, _TRIAL_PATIENCE_S, lambda: [("skipped", "locks do not hold between the two sides")])
            else:
                yield Step(name, _TRIAL_PATIENCE_S, partial(side.run, name, trial))
        side.say_goodbye()
    finally:
        side.close()


class _Side:
    """`pair` is None while there is no other side, and again when it has gone."""

    def __init__(self, patient: Patient, role: Role) -> None:
        self.patient = patient
        self.role = role
        self.pair: Pair | None = None
        self.locks_failed = False
        self._exchange: Exchange | None = None
        self._stopped_here = True

    def find(self, within_s: float) -> list[Finding]:
        paths = self.patient.paths
        try:
            hello = self._hello()
            begin = exchange.wait_for_peer if self.role == "server" else exchange.ask_for_server
            self._exchange, other = begin(paths, hello, within_s)
        except VcsError as error:
            return [("failed", str(error))]
        sides = {"server": hello, "peer": other} if self.role == "server" else {"server": other, "peer": hello}
        names: dict[Role, str] = {"server": sides["server"]["host"], "peer": sides["peer"]["host"]}
        if names["server"] == names["peer"]:
            names = {"server": "the serving side", "peer": "the peer"}
        self.pair = Pair(self._exchange, names)
        return _judge(sides["server"], sides["peer"], names)

    def _hello(self) -> dict[str, Any]:
        patient, offset = self.patient, self.patient.offset
        return {
            "host": patient.host,
            "machine": patient.machine,
            "boot_id": proc.boot_id(),
            "version": __version__,
            "mount": describe(patient.storage),
            "offset_s": offset.offset_s,
            "doubt_s": offset.doubt_s,
        }

    def run(self, name: str, trial: Callable[[Pair], Result]) -> list[Finding]:
        assert self.pair is not None
        try:
            verdict, text = run_trial(trial, self.pair)
        except StorageError as error:
            self.pair, self._stopped_here = None, False
            return [("failed", str(error))]
        self.locks_failed |= name.startswith(_LOCK_TRIALS) and verdict == "failed"
        return [(verdict, text)]

    def say_goodbye(self) -> None:
        """The serving side leaves first: the peer, which made the session, removes it."""
        with contextlib.suppress(StorageError):
            if self.pair is None or self._exchange is None:
                return
            if self.role == "server":
                self._exchange.receive()
                self._exchange.send({})
                self._exchange = None
            else:
                self._exchange.meet({})
        self._stopped_here = False

    def close(self) -> None:
        if self._exchange is not None:
            exchange.end(self._exchange, self.patient.paths, stopped_here=self._stopped_here)


def _judge(server: dict[str, Any], peer: dict[str, Any], names: dict[Role, str]) -> list[Finding]:
    findings: list[Finding] = []
    for name, side in ((names["server"], server), (names["peer"], peer)):
        findings.append(("ok", f"{name}: {side['mount']}, version {side['version']}"))
    if server["boot_id"] == peer["boot_id"]:
        text = "both sides run on one machine, which proves nothing between two; run one of them on another node"
        findings.append(("warning", text))
    elif server["host"] == peer["host"]:
        text = f"two machines are called {server['host']}: one gets the other's locks; give each its own host name"
        findings.append(("failed", text))
    if server["version"] != peer["version"]:
        findings.append(("warning", "the two sides are of different versions; bring both to one"))
    apart = ClockOffset(server["offset_s"] - peer["offset_s"], server["doubt_s"] + peer["doubt_s"])
    text = f"the clocks are {abs(apart.offset_s):.3f} s apart, ± {apart.doubt_s:.3f} s"
    if apart.at_least_s > CLOCK_LIMIT_S:
        findings.append(("failed", f"{text}; vcsctl doctor on each node says which one to set"))
    elif apart.at_least_s > CLOCK_WARNING_S:
        findings.append(("warning", f"{text}; have NTP keep both"))
    else:
        findings.append(("ok", text))
    return findings
