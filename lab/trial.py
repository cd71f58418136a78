"""One scenario being played: what it measured, what was said meanwhile, what it expected and did not find."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

from lab.cell import Cell, Service
from lab.channel import NoAnswerError
from lab.findings import Findings, Measure, Quote
from lab.image import Images
from lab.machine import Machine
from tests.checker import Asked, Claimed, Due, History, Recorded, violations


class Trial:
    """Handed to a scenario; everything it notes goes into `findings`."""

    def __init__(self, images: Images, findings: Findings, *, keep: bool) -> None:
        self.findings = findings
        self._images, self._keep = images, keep
        self._moment_s = time.monotonic()
        self._asked: list[Asked] = []

    def cell(
        self, services: Sequence[Service], *, nodes: int = 2, lease_s: int = 30, grace_s: int | None = None
    ) -> Cell:
        cell = Cell(self._images, services, nodes=nodes, lease_s=lease_s, grace_s=grace_s, keep=self._keep)
        if self._keep:
            self.fact(f"the machines' consoles, logs and disks are kept in {cell.folder}")
        return cell

    # Notes.

    def moment(self, at_s: float | None = None) -> None:
        """From here on `quote` counts: the cut, the power-off."""
        self._moment_s = time.monotonic() if at_s is None else at_s

    def fact(self, text: str) -> None:
        self.findings.facts.append(text)
        tell(f"    {text}")

    def expect(self, holds: object, text: str) -> bool:
        """`text` says what should hold; it is a fact when it does and a failure when it does not."""
        if holds:
            self.fact(text)
        else:
            self.findings.failures.append(f"not seen: {text}")
            tell(f"    NOT SEEN: {text}")
        return bool(holds)

    def measure(self, what: str, took_s: float, *, least: float = 0.0, most: float = float("inf")) -> None:
        bounds = [*([f"at least {least:g} s"] if least else []), *([f"at most {most:g} s"] if most < 1e9 else [])]
        measure = Measure(what, took_s, ", ".join(bounds), least <= took_s <= most)
        self.findings.measures.append(measure)
        if not measure.is_kept:
            self.findings.failures.append(f"{what} took {took_s:.1f} s, expected: {measure.expected}")
        mark = "" if measure.is_kept else "  <-- NOT KEPT"
        tell(f"    {what}: {took_s:.1f} s ({measure.expected or 'no bound'}){mark}")

    def quote(self, node: Machine, command: str, text: str) -> None:
        """What was said, once for each text that differs in more than its numbers."""
        before = [quote for quote in self.findings.quotes if (quote.node, quote.command) == (node.name, command)]
        if not before or _shape(before[-1].text) != _shape(text):
            self.findings.quotes.append(Quote(time.monotonic() - self._moment_s, node.name, command, text))

    def ask(self, cell: Cell, node: Machine, *words: str) -> str:
        """A vcsctl command whose answer belongs into the report."""
        done = cell.vcsctl(node, *words)
        text = done.text if done.ok else f"{done.text}\n(exit {done.code})"
        self.quote(node, f"vcsctl {' '.join(words)}", text)
        return done.output

    def request(self, cell: Cell, node: Machine, name: str) -> None:
        """`vcsctl run`; the checker will want to see what became of it."""
        at_s = time.monotonic()
        done = cell.vcsctl(node, "run", name, must=True)
        tell(f"    {node.name}: vcsctl run {name}")
        self._asked.append(Asked(done.output.partition("(")[2].partition(")")[0], name, at_s))

    def watch(self, cell: Cell, node: Machine, *commands: str) -> Watch:
        return Watch(self, cell, node, commands)

    # The verdict.

    def judge(self, cell: Cell, *, settled: bool = True) -> None:
        """The shared checker on what the jobs told, what is on record and what was asked for."""
        executions = cell.oracle.executions()
        rows = cell.rows()
        recorded = [
            Recorded(
                row["id"], row["key"], row["outcome"], row["cause"], row.get("slot"), row.get("attempt", 1),
                tuple(row.get("requests", ())), last=row.get("last"),
            )
            for row in rows
        ]  # fmt: skip
        claimed = [Claimed(f"{claim['key']}.{claim['fence']}", 0.0) for claim in cell.claims() if claim.get("unit")]
        due = list(_due([service.name for service in cell.services if service.period == 1], recorded))
        settled_until = inf if settled else 0.0
        history = History(executions, recorded, claimed, self._asked, due=due, settled_until=settled_until)
        broken = violations(history)
        self.findings.failures += [f"the checker: {text}" for text in broken]
        self.findings.executions += len(executions)
        self.findings.rows += len(rows)
        self.findings.is_judged = True
        for text in broken:
            tell(f"    CHECKER: {text}")
        tell(f"    checker: {len(executions)} executions, {len(rows)} rows, {len(broken)} violations")

    def settle(self, cell: Cell, patience_s: float = 180.0) -> None:
        """Waits until everything that ran has its row in the history."""

        def missing() -> list[str]:
            known = {row["id"] for row in cell.rows()}
            return [one.run for one in cell.oracle.seen() if one.run not in known]

        give_up_s = time.monotonic() + patience_s
        while left := missing():
            if time.monotonic() > give_up_s:
                tell(f"    no row in the history after {patience_s:g} s: {', '.join(left)}")
                return
            time.sleep(2.0)


class Watch:
    """In a `with`: asks a node again and again, beside what the scenario does, and keeps what changed."""

    def __init__(self, trial: Trial, cell: Cell, node: Machine, commands: Sequence[str]) -> None:
        self._trial, self._cell, self._node, self._commands = trial, cell, node, commands
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(150)

    def _ask(self) -> None:
        while not self._over.is_set():
            for command in self._commands:
                try:
                    self._trial.ask(self._cell, self._node, *command.split())
                except NoAnswerError:
                    return
            self._over.wait(2.0)


def play(run: Callable[[Trial], None], trial: Trial) -> None:
    """A fault of the scenario itself is a finding too."""
    began_s = time.monotonic()
    trial.findings.played_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    try:
        run(trial)
    except NoAnswerError as error:
        trial.findings.failures.append(str(error))
        tell(f"    {error}")
    except Exception as error:  # noqa: BLE001 - the scenarios after it are played all the same
        what, where = traceback.format_exception_only(error)[-1].strip(), traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}, in {where.name}: {where.line}"
        trial.findings.failures.append(f"the scenario broke off: {what} ({place})")
        traceback.print_exc()
    trial.findings.took_s = time.monotonic() - began_s


def _due(names: Collection[str], rows: Sequence[Recorded]) -> Iterator[Due]:
    """The slots of what is due each minute: of each from its first on record, before which nobody may have known its
    schedule, to the newest of all, which may be under way elsewhere still."""
    slots = [
        (row.key, slot) for row in rows if row.key in names and row.slot for slot in (row.slot, row.last or row.slot)
    ]
    newest = max((slot for _, slot in slots), default="")
    for name in sorted({key for key, _ in slots}):
        slot = min(slot for key, slot in slots if key == name)
        while slot < newest:
            yield Due(name, slot, 0.0)
            slot = f"{datetime.fromisoformat(slot) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"


def _shape(text: str) -> str:
    """Without numbers and the widths that follow from them, so that ages and times alone are no news."""
    return "".join(one for one in text if not one.isdigit() and one not in " .:-")


def tell(text: str) -> None:
    print(text, flush=True)
