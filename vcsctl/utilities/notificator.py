"""notificator: decides what is to be told of the file systems, once per crossing. Measures and mails nothing itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import click

from vcsctl.domain import values
from vcsctl.domain.parsed import Duration, FieldError, Parsed
from vcsctl.errors import FAILED, OK, StorageError
from vcsctl.store import files
from vcsctl.utilities import disks, mailing
from vcsctl.utilities.disks import Usage
from vcsctl.utilities.mailing import Mail, MailError
from vcsctl.utilities.places import Directories
from vcsctl.utilities.settings import Items, Part, load, parse_plain_path, size_text

NAME = "notificator"
HELP = """Warn of file systems that run out of space or inodes.

Without /etc/vcs/utilities/notificator.yaml it watches /, the log directory and the shared directory, and warns when one
is more than 90 % full. A crossing is told once: on standard output, and by mail where the settings name a server; so is
the recovery. While the mail cannot be sent nothing counts as told, and the next run tries again. What was told is kept
in /var/lib/vcs/utilities/notificator.json.

Exit codes: 0 all is well, has recovered, or was told before. 1 something crossed a limit just now, a file system cannot
be checked (each time), or a mail could not be sent to somebody. 2 the settings are wrong; nothing was checked.
"""
# A number of free bytes or inodes counts as recovered a tenth above its limit, so that it does not come and go.
_FREE_PARTS = 10
_PERCENT_MARGIN = 5
_VERSION = 1
WHAT = ("access", "space", "inodes")
Percent = Annotated[int, Parsed(values.WholeNumber(1, 100))]
Level = Literal["high", "between", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One file system, by any path on it, and its limits. `clear_below` is by default five below its limit."""

    path: Annotated[str, Parsed(parse_plain_path)]
    used_above: Percent = 90
    clear_below: Percent | None = None
    free_below: Annotated[int, Parsed(values.parse_size)] | None = None
    inodes_used_above: Percent = 90
    inodes_clear_below: Percent | None = None
    inodes_free_below: Annotated[int, Parsed(values.WholeNumber(1, 999_999_999))] | None = None

    def __post_init__(self) -> None:
        for clear, above in (("clear_below", "used_above"), ("inodes_clear_below", "inodes_used_above")):
            if (getattr(self, clear) or 0) > getattr(self, above):
                raise FieldError(clear, f"must not be above {above} ({getattr(self, above)})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    file_systems: Annotated[tuple[FileSystem, ...], Items(FileSystem)] = ()
    mail: Annotated[Mail, Part(Mail)] | None = None
    check_timeout: Duration = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """Something to tell: a limit is crossed, or no longer."""

    key: str
    crossed: bool
    text: str


def run(places: Directories, config: str | None, dry_run: bool) -> int:
    settings = load(Settings, places.settings_file(NAME), config)
    state = f"{places.state}/{NAME}.json"
    told = _read_told(state)
    watched = _watched(settings, places)
    changes = [change for one, usage in watched for change in judge(one, usage, told)]
    for change in changes:
        click.echo(f"{'would tell: ' if dry_run else ''}{change.text}")
    faults = 0
    if not dry_run:
        faults = _tell(settings, places, changes, told, {f"{what} {one.path}" for one, _ in watched for what in WHAT})
    _sum_up(watched, changes)
    unchecked = any(isinstance(usage, str) for _, usage in watched)
    return FAILED if faults or unchecked or any(change.crossed for change in changes) else OK


def _watched(settings: Settings, places: Directories) -> list[tuple[FileSystem, Usage | str]]:
    """Each file system with what it says; the default ones without those that are not there or the same."""
    declared = [replace(one, path=places.moved(one.path)) for one in settings.file_systems]
    chosen = declared or [FileSystem(path=path) for path in (places.moved("/"), places.logs, places.shared)]
    usages = disks.ask([one.path for one in chosen], settings.check_timeout)
    found: list[tuple[FileSystem, Usage | str]] = []
    devices: set[int] = set()
    for one in chosen:
        usage = usages[one.path]
        if not declared and (usage == disks.MISSING or (isinstance(usage, Usage) and usage.device in devices)):
            continue
        if isinstance(usage, Usage):
            devices.add(usage.device)
        found.append((one, usage))
    return found


def judge(one: FileSystem, usage: Usage | str, told: Mapping[str, str]) -> Iterator[Change]:
    """What of this file system is news. A file system that does not answer says nothing about its space."""
    access = f"access {one.path}"
    if isinstance(usage, str):
        if access not in told:
            yield Change(access, True, f"{one.path} cannot be checked: {usage}")
        return
    if access in told:
        yield Change(access, False, f"{one.path} can be checked again")
    yield from _crossing(
        f"space {one.path}",
        told,
        level(usage.used_percent, usage.available, one.used_above, one.clear_below, one.free_below),
        f"{one.path} is {math.ceil(usage.used_percent)} % full, {size_text(usage.available)} free",
        _limits(one.used_above, one.free_below and size_text(one.free_below)),
    )
    percent = usage.inodes_percent
    if percent is not None:
        yield from _crossing(
            f"inodes {one.path}",
            told,
            level(
                percent,
                usage.inodes_available,
                one.inodes_used_above,
                one.inodes_clear_below,
                one.inodes_free_below,
            ),
            f"{one.path} has {math.ceil(percent)} % of its inodes used, {usage.inodes_available} free",
            _limits(one.inodes_used_above, one.inodes_free_below),
        )


def level(percent: float, free: int, above: int, clear_below: int | None, free_below: int | None) -> Level:
    """Above a limit, below what counts as recovered, or between the two, where nothing changes."""
    clear = clear_below if clear_below is not None else above - _PERCENT_MARGIN
    if percent > above or (free_below is not None and free < free_below):
        return "high"
    if percent < clear and (free_below is None or free >= free_below + free_below // _FREE_PARTS):
        return "low"
    return "between"


def _crossing(key: str, told: Mapping[str, str], found: Level, text: str, limits: str) -> Iterator[Change]:
    if found == "high" and key not in told:
        yield Change(key, True, f"{text}; the limit is {limits}")
    if found == "low" and key in told:
        yield Change(key, False, f"{text}: well again")


def _limits(above: int, free_below: object) -> str:
    return f"{above} %" + (f", or {free_below} free" if free_below else "")


def _tell(settings: Settings, places: Directories, changes: list[Change], told: dict[str, str], known: set[str]) -> int:
    """Mails the changes and only then keeps them as told. Returns how many faults it has named."""
    faults: list[str] = []
    if changes and settings.mail is not None:
        mail = _moved(settings.mail, places)
        made = mailing.message(mail, places.node, _subject(places.node, changes), _text(places.node, changes))
        try:
            faults = mailing.send(mail, places.node, made)
        except MailError as error:
            click.echo(f"{NAME}: {error}; it is tried again at the next run", err=True)
            return 1
    for fault in faults:
        click.echo(f"{NAME}: {fault}; correct the recipients", err=True)
    now_told = {key: text for key, text in told.items() if key in known}
    for change in changes:
        now_told.pop(change.key, None)
        if change.crossed:
            now_told[change.key] = change.text
    if now_told != told:
        content = json.dumps({"version": _VERSION, "told": now_told}, indent=1)
        path = places.state_file(f"{NAME}.json")
        files.replace(path, f"{content}\n".encode(), durable=True)
        files.sync_directory(places.state)
    return len(faults)


def _moved(mail: Mail, places: Directories) -> Mail:
    return replace(
        mail,
        ca_file=mail.ca_file and places.moved(mail.ca_file),
        password_file=mail.password_file and places.moved(mail.password_file),
    )


def _subject(node: str, changes: list[Change]) -> str:
    rest = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    return f"[{node}] {changes[0].text}{rest}"


def _text(node: str, changes: list[Change]) -> str:
    lines = [f"On node {node}:", "", *(f"- {change.text}" for change in changes)]
    lines += ["", "Each crossing is told once, and once more when it is well again."]
    return "\n".join(lines) + "\n"


def _read_told(path: str) -> dict[str, str]:
    """Key → what was told. A state that cannot be read counts as none: better told twice than never."""
    try:
        found = files.read(path)
        content: Any = json.loads(found[0]) if found else {"told": {}}
        return {str(key): str(text) for key, text in content["told"].items()}
    except (StorageError, ValueError, KeyError, TypeError, AttributeError) as error:
        click.echo(f"{NAME}: cannot use {path}: {error}; everything is told anew", err=True)
        return {}


def _sum_up(watched: list[tuple[FileSystem, Usage | str]], changes: list[Change]) -> None:
    unchecked = sum(isinstance(usage, str) for _, usage in watched)
    news = sum(change.crossed for change in changes)
    text = f"{len(watched)} file {'system' if len(watched) == 1 else 'systems'} watched, {news} new"
    click.echo(f"{NAME}: {text}" + (f", {unchecked} cannot be checked" if unchecked else ""))
