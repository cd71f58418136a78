"""cleaner: says which old files go, by rules of age, number and size; `sweep` removes them. Looks into no file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import click

from vcsctl.domain import values
from vcsctl.domain.parsed import Duration, FieldError, Parsed
from vcsctl.errors import FAILED, OK
from vcsctl.store.paths import Paths
from vcsctl.utilities import sweep
from vcsctl.utilities.places import Directories
from vcsctl.utilities.settings import Items, Part, load, parse_plain_path, shown, size_text
from vcsctl.utilities.sweep import File, Pattern, Tally

NAME = "cleaner"
HELP = """Remove old run logs, history and files.

Removes run logs (by default those older than 720h), history (by default whole months after 13) and the files that the
rules in /etc/vcs/utilities/cleaner.yaml name. Follows no link, removes no directory, leaves alone what was written in
the last five minutes and the newest run log of each service.

Exit codes: 0 done, or nothing to do. 1 something could not be removed; each is named. 2 the settings are wrong; nothing
was removed.
"""
# What was written a moment ago is probably still being written.
FRESH_S = 300
_RUN_NUMBER = re.compile(r"\.([0-9]{1,18})\.log")
_RUN_LOG = re.compile(r".+\.log(\.\d+)?(\.gz)?")
_HISTORY = re.compile(r"(\d{4}-\d{2})\..+\.jsonl")
Count = Annotated[int, Parsed(values.WholeNumber(0, 1_000_000))]
Doomed = Callable[[Iterable[File]], list[File]]


def _parse_path(value: object) -> str:
    path = parse_plain_path(value)
    base = sweep.parse_pattern(path).base
    if why := sweep.danger(base):
        raise ValueError(f"{path!r} cannot be cleaned: {base} {why}")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The files that match `path`, and which of them stay."""

    path: Annotated[str, Parsed(_parse_path)]
    older_than: Duration | None = None
    keep: Count | None = None
    max_total: Annotated[int, Parsed(values.parse_size)] | None = None

    def __post_init__(self) -> None:
        if self.older_than is None and self.keep is None and self.max_total is None:
            raise FieldError("path", "has no rule beside it; write older_than, keep or max_total")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLogs:
    """The logs of runs; the newest of each service always stays, as its run may not be over."""

    older_than: Duration = 720 * 3600.0
    keep: Annotated[int, Parsed(values.WholeNumber(1, 1_000_000))] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    run_logs: Annotated[RunLogs, Part(RunLogs)] = RunLogs()
    history_months: Annotated[int, Parsed(values.WholeNumber(1, 1200))] = 13
    rules: Annotated[tuple[Rule, ...], Items(Rule)] = ()


def run(places: Directories, config: str | None, dry_run: bool) -> int:
    settings = load(Settings, places.settings_file(NAME), config)
    now = datetime.now(UTC)
    cleaning = Cleaning(int(now.timestamp() * 1e9), _tell_one if dry_run else None)
    own = (os.path.dirname(places.state), places.shared, places.logs)
    with contextlib.ExitStack() as stack:
        # All are opened, and refused if need be, before anything is removed.
        opened = []
        for rule in settings.rules:
            declared = sweep.parse_pattern(rule.path)
            pattern = Pattern(places.moved(declared.base), declared.parts)
            base = sweep.open_base(pattern.base, own)
            if base is not None:
                stack.callback(os.close, base)
                opened.append((base, pattern, rule))
        for base, pattern, rule in opened:
            cleaning.by_rule(base, pattern, rule, sweep.identities(own))
    history = Paths(places.shared).folder("history")
    cleaning.own(places.logs, _RUN_LOG, lambda files: cleaning.expired(files, settings.run_logs))
    cleaning.own(history, _HISTORY, lambda files: _before(files, first_month(now, settings.history_months)))
    return _tell(cleaning.tally, dry_run)


def _by_age(file: File) -> tuple[int, str]:
    return file.modified_ns, file.name


def _by_run(file: File) -> tuple[int, int, str]:
    """A rotation gives an old run's log a new time: the run's number tells the newest."""
    match = _RUN_NUMBER.search(file.name)
    return int(match[1]) if match else -1, file.modified_ns, file.name


class Cleaning:
    """One pass over everything. `told` makes it a dry run."""

    def __init__(self, now_ns: int, told: Callable[[str, int], None] | None = None) -> None:
        self.now_ns = now_ns
        self.told = told
        self.tally = Tally()

    def own(self, folder: str, names: re.Pattern[str], doomed: Doomed) -> None:
        """`FOLDER/SERVICE/*`: what this project itself has put there."""
        try:
            base = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            self.tally.fault(folder, error)
            return
        try:
            for found in sweep.walk(base, Pattern(folder, ("*", "*")), self.tally):
                for file in doomed(file for file in found.files if names.fullmatch(file.name)):
                    sweep.remove(found.descriptor, found.path, file, self.tally, self.told)
        finally:
            os.close(base)

    def by_rule(self, base: int, pattern: Pattern, rule: Rule, left_out: frozenset[sweep.Identity]) -> None:
        """Each directory is dealt with as soon as it is read; only the total needs to have seen all of them."""
        rest: dict[str, list[File]] = {}
        total = 0
        for folder in sweep.walk(base, pattern, self.tally, left_out):
            gone = {
                file
                for file in self.expired(folder.files, rule)
                if sweep.remove(folder.descriptor, folder.path, file, self.tally, self.told)
            }
            if rule.max_total is not None:
                total += sum(file.size for file in folder.files if file not in gone)
                removable = [
                    file for file in self._removable(folder.files, rule.keep or 0, _by_age) if file not in gone
                ]
                if removable:
                    rest[folder.path] = removable
        if rule.max_total is not None and total > rule.max_total:
            self._reduce(base, pattern, rest, left_out, total - rule.max_total)

    def expired(self, files: Iterable[File], rule: Rule | RunLogs) -> list[File]:
        """The files of one directory that go by their age; by their number, where no other limit is given."""
        order = _by_run if isinstance(rule, RunLogs) else _by_age
        removable = self._removable(files, rule.keep or 0, order)
        if rule.older_than is not None:
            oldest = self.now_ns - int(rule.older_than * 1e9)
            return [file for file in removable if file.modified_ns < oldest]
        return removable if isinstance(rule, Rule) and rule.max_total is None else []

    def _removable(self, files: Iterable[File], keep: int, order: Callable[[File], Any]) -> list[File]:
        """All but the newest `keep`, and none that is being written; oldest first."""
        by_age = sorted(files, key=order)
        newest = self.now_ns - int(FRESH_S * 1e9)
        return [file for file in by_age[: max(len(by_age) - keep, 0)] if file.modified_ns < newest]

    def _reduce(
        self, base: int, pattern: Pattern, rest: dict[str, list[File]], left_out: frozenset[sweep.Identity], excess: int
    ) -> None:
        """Removes the oldest files of all directories together until `excess` bytes are gone."""
        by_age = sorted(
            ((path, file) for path, files in rest.items() for file in files),
            key=lambda found: (found[1].modified_ns, found[0], found[1].name),
        )
        doomed: dict[str, list[File]] = {}
        for path, file in by_age:
            if excess <= 0:
                break
            doomed.setdefault(path, []).append(file)
            excess -= file.size
        for folder in sweep.walk(base, pattern, Tally(), left_out):
            for file in doomed.get(folder.path, ()):
                sweep.remove(folder.descriptor, folder.path, file, self.tally, self.told)


def first_month(now: datetime, months: int) -> str:
    """The oldest month that stays, `YYYY-MM`: the present one and `months` before it do."""
    count = now.year * 12 + now.month - 1 - months
    return f"{count // 12:04}-{count % 12 + 1:02}"


def _before(files: Iterable[File], month: str) -> list[File]:
    return [file for file in files if (found := _HISTORY.fullmatch(file.name)) and found[1] < month]


def _tell_one(path: str, size: int) -> None:
    click.echo(f"would remove {shown(path)} ({size_text(size)})")


def _tell(tally: Tally, dry_run: bool) -> int:
    for fault in tally.faults:
        click.echo(f"{NAME}: {fault}", err=True)
    verb = "would remove" if dry_run else "removed"
    faults = f"; {len(tally.faults)} faults" if tally.faults else ""
    click.echo(
        f"{NAME}: {verb} {tally.files} {'file' if tally.files == 1 else 'files'}, {size_text(tally.size)}{faults}"
    )
    return FAILED if tally.faults else OK
