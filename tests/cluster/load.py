"""The services of a chaos run: forty, of every kind that may meet another. Starts nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass

from witness import Witness

SERVICES = 40
GROUPS = ("g1", "g2", "g3", "g4", "g5", "g6")
TIMED = "schedule: periodical\nperiod: 1\n"
MANUAL = "schedule: periodical\nperiod: 60\nenabled: false\n"


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    text: str
    nodes: tuple[str, ...]
    each: bool
    timed: bool


class Load:
    """Every fourth service has a slot each minute, every sixth runs on each of its nodes, some on some nodes only."""

    def __init__(self, chance: random.Random, witness: Witness, nodes: tuple[str, ...]) -> None:
        self._chance = chance
        self.services = [self._service(number, witness, nodes) for number in range(SERVICES)]

    def _service(self, number: int, witness: Witness, nodes: tuple[str, ...]) -> Service:
        chance = self._chance
        groups = sorted(chance.sample(GROUPS, chance.choice((0, 1, 1, 1, 2, 3))))
        seconds = round(0.05 + 1.95 * chance.random() ** 3, 2)  # most are short
        manner = chance.choice(("", "", "", "fails", "deaf", "family"))
        timed, each = number % 4 == 0, number % 6 == 5
        allowed = tuple(sorted(chance.sample(nodes, chance.choice((1, 2, 2, 3))))) if chance.random() < 0.3 else nodes
        text = TIMED if timed else MANUAL
        text += f"groups: [{', '.join(groups)}]\nrun_on: {'each' if each else 'any'}\nstop_timeout: 1s\n"
        text += f"exec: {witness.command(','.join(groups), seconds, manner)}\n"
        if allowed != nodes:
            text += f"nodes: [{', '.join(allowed)}]\n"
        if chance.random() < 0.5:
            text += "retries: {attempts: 2, delay: 1s}\n"
        if chance.random() < 0.5:
            text += "on_lost: rerun\n"
        if chance.random() < 0.2:
            text += "timeout: 1s\n"
        return Service(f"s{number:02d}", text, allowed, each, timed)

    def any_service(self) -> Service:
        return self._chance.choice(self.services)

    def any_key(self, service: Service) -> str:
        return f"{service.name}@{self._chance.choice(service.nodes)}" if service.each else service.name

    def timed(self) -> list[str]:
        return [service.name for service in self.services if service.timed]
