"""The cell: the shared directory as a whole. Makes it, recognises it, refuses what it does not understand."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vcsctl.errors import ForeignFileError, RefusedError, StorageError
from vcsctl.store import codec, files
from vcsctl.store.paths import FOLDERS, Paths

CELL_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """What cell.json says; `timezone` was the system's zone when the cell was made."""

    id: str
    format: int
    timezone: str


def read_cell(paths: Paths) -> Cell | None:
    """None where no cell was made. Raises RefusedError for one of an unknown format."""
    try:
        # By a listing: over NFS a name that was missing once stays missing for long.
        found = files.read(paths.cell) if os.path.basename(paths.cell) in files.names(paths.root) else None
        if found is None:
            return None
        cell = codec.decode(Cell, found[0])
    except (codec.BadRecordError, ForeignFileError) as error:
        raise RefusedError(f"{paths.cell} {error}; restore it from a backup, it is never rewritten") from None
    if cell.format != CELL_FORMAT:
        raise RefusedError(
            f"{paths.cell} has format {cell.format}, this program knows {CELL_FORMAT}; use the version that made it"
        )
    return cell


def make_cell(paths: Paths) -> Cell:
    """Makes the folders and the marker; when two do so at once, the first one's marker counts."""
    with files.named_faults("make", paths.root):
        for folder in FOLDERS:
            # Who can open a lock file can hold the lock: nobody else may.
            os.makedirs(paths.folder(folder), 0o700 if folder.startswith("locks/") else 0o755, exist_ok=True)
    if (cell := read_cell(paths)) is None:
        files.link_new(paths.cell, codec.encode(Cell(os.urandom(8).hex(), CELL_FORMAT, system_timezone())))
        cell = read_cell(paths)
    if cell is None:
        raise StorageError(f"cannot read {paths.cell} back; see to the storage")
    return cell


def open_cell(paths: Paths) -> Cell:
    """For commands that only read: raises StorageError where there is no cell."""
    cell = read_cell(paths)
    if cell is None:
        raise StorageError(
            f"{paths.root} holds no cell; mount the shared directory, or make one: start vcsd, or `vcsctl init`"
        )
    return cell


def system_timezone() -> str:
    """The IANA name of the system's zone, UTC where the system does not say."""
    try:
        target = os.path.realpath("/etc/localtime")
    except OSError:
        return "UTC"
    _, found, name = target.partition("/zoneinfo/")
    name = name.removeprefix("posix/").removeprefix("right/")
    return name if found and name and name != "Etc/UTC" else "UTC"
