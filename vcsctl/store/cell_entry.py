"""Which cell vcsd works in: for ever the same one, and a new one only where nothing says that there should be one."""

from __future__ import annotations

import os

from vcsctl.errors import RefusedError, StorageError
from vcsctl.store import files
from vcsctl.store.cell import Cell, make_cell, read_cell
from vcsctl.store.mounts import storage_of
from vcsctl.store.paths import Paths
from vcsctl.store.storage_rules import is_local


def enter_cell(paths: Paths, configured: str | None, memory: str) -> Cell:
    """The cell that vcsd is to work in, for ever the same: made here only where nothing says there should be one.

    A share that is not mounted shows an empty directory, and a cell made there would be a second one. So the id is
    configured (`cell:`), or remembered in the file `memory` of this machine. Raises StorageError while the expected
    one is not there, RefusedError where another one is.
    """
    expected = configured or _remembered(memory)
    if read_cell(paths) is None:
        if expected:
            raise StorageError(f"{paths.root} does not hold cell {expected}; mount the shared directory")
        _refuse_to_make(paths)
    cell = make_cell(paths)
    if expected not in (None, cell.id):
        source = "vcs.yaml expects" if configured else f"{memory} remembers"
        remedy = "mount the right one" if configured else f"mount the right one, or remove {memory} to move there"
        raise RefusedError(f"{paths.root} is cell {cell.id}, {source} {expected}; {remedy}")
    if not configured and not expected:
        _remember(memory, cell.id)
    return cell


def _refuse_to_make(paths: Paths) -> None:
    """On storage that several machines may share a cell is made by an operator, once."""
    if os.path.isdir(paths.root) and not is_local(mount := storage_of(paths.root).mount):
        raise StorageError(
            f"{paths.root} ({mount.kind} {mount.source}) holds no cell; make it once with `vcsctl init`, or mount the "
            "right share"
        )


def _remembered(memory: str) -> str | None:
    try:
        with open(memory, encoding="ascii") as file:
            return file.read(64).strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise StorageError(f"cannot read {memory}: {(error.strerror or str(error)).lower()}") from error


def _remember(memory: str, identity: str) -> None:
    with files.named_faults("make", os.path.dirname(memory)):
        os.makedirs(os.path.dirname(memory), exist_ok=True)
    files.replace(memory, f"{identity}\n".encode(), durable=True)
