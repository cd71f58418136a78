"""What a scenario found: values, kept as one file a scenario, so that a report has the newest of each."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measure:
    what: str
    took_s: float
    expected: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """What a command on a node said, so many seconds after the scenario's moment."""

    at_s: float
    node: str
    command: str
    text: str


@dataclass(slots=True)
class Findings:
    name: str
    title: str
    played_at: str = ""
    measures: list[Measure] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    executions: int = 0
    rows: int = 0
    is_judged: bool = False
    took_s: float = 0.0

    @property
    def is_good(self) -> bool:
        return not self.failures and self.is_judged


def keep(folder: Path, found: Findings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{found.name}.json").write_text(json.dumps(dataclasses.asdict(found), indent=1))


def kept(folder: Path, name: str) -> Findings | None:
    try:
        found = json.loads((folder / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    measures = [Measure(**one) for one in found.pop("measures")]
    quotes = [Quote(**one) for one in found.pop("quotes")]
    return Findings(**found, measures=measures, quotes=quotes)
