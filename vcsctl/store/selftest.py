"""Proves on the real directory, by one process, what this project relies on. Touches nothing of the cell.

vcsd tries each of these when it starts and every hour, `vcsctl doctor` shows them one by one, and tries besides what
takes a process of its own: that a lock outlives its opener. What a mount's options promise is storage_rules' matter;
what happens between two nodes only two nodes can prove.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator

from vcsctl.errors import RefusedError
from vcsctl.store import files, locks
from vcsctl.store.mounts import Storage, storage_of
from vcsctl.store.paths import Paths
from vcsctl.store.storage_rules import BEST, fence_after_s, refusals

RELEASE_PATIENCE_S = 5.0  # file systems in user space may tell their server a moment later
_DEBRIS_AGE_S = 3600.0
_MAKE_ATTEMPTS = 5


def prove_storage(root: str, *, allow_nfs3: bool, fence_after: float | None) -> float | None:
    """Refuses storage that cannot be trusted with locks (RefusedError); else the `fence_after_s` that follows.

    `fence_after` is the configured one, None for auto. The directory must be there.
    """
    storage = storage_of(root)
    if found := refusals(storage, allow_nfs3=allow_nfs3, configured_s=fence_after):
        raise RefusedError(f"cannot trust {root} with locks: {'; also: '.join(found)}")
    with scratch_folder(Paths(root)) as folder:
        for prove in PROOFS.values():
            prove(folder)
    return fence_after_s(storage, fence_after)


def describe(storage: Storage) -> str:
    mount = storage.mount
    return f"{mount.kind} {mount.source} at {mount.point}"


@contextlib.contextmanager
def scratch_folder(paths: Paths) -> Iterator[str]:
    """A fresh directory for one test on the shared directory, removed afterwards; a killed test's is swept later."""
    folder = paths.self_test(os.urandom(6).hex())
    try:
        make_folder(paths, folder)
        yield folder
    finally:
        tidy(paths, folder)


def make_folder(paths: Paths, folder: str) -> None:
    """Where there is no cell yet, another test that ends may remove the common folder at the same time: then again."""
    with files.named_faults("write", folder):
        for attempt in range(_MAKE_ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                os.mkdir(paths.probe, 0o755)
            try:
                os.mkdir(folder, 0o755)
            except FileNotFoundError:
                if attempt == _MAKE_ATTEMPTS - 1:
                    raise
            else:
                return


def tidy(paths: Paths, folder: str) -> None:
    """Removes the folder of a test that is over, and those of tests that were killed long ago.

    A signal that ends the test, by an exception, waits until this is done.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        with contextlib.suppress(OSError):
            _sweep(paths, os.stat(folder).st_mtime)
        remove_folder(folder)
        if not os.path.lexists(paths.cell):  # who tests a directory before its cell is made owns no part of it
            with contextlib.suppress(OSError):
                os.rmdir(paths.probe)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def remove_folder(folder: str) -> None:
    """With all that is in it, as far as that can be done."""
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(paths: Paths, now_s: float) -> None:
    """`now_s` is the file server's, as its files' ages are: by a clock that is ahead all who test now would be dead."""
    for name in os.listdir(paths.probe):
        folder = f"{paths.probe}/{name}"
        if now_s - os.stat(folder).st_mtime > _DEBRIS_AGE_S:
            remove_folder(folder)


def locks_exclude(folder: str) -> None:
    path = f"{folder}/lock"
    first = locks.try_lock(path)
    if first is None:
        raise RefusedError(f"a lock that nobody holds is refused in {folder}: its locks do not work; {BEST}")
    try:
        first.write(1, "self-test")
        second = locks.try_lock(path)
        if second is not None:
            second.close()
            raise RefusedError(f"a lock in {folder} was given to two holders at once; {BEST}")
    finally:
        first.close()
    give_up_s = time.monotonic() + RELEASE_PATIENCE_S
    while (again := locks.try_lock(path)) is None:
        if time.monotonic() > give_up_s:
            raise RefusedError(f"a lock in {folder} stays although its holder let go; {BEST}")
        time.sleep(0.01)
    again.close()


def moved_locks_are_noticed(folder: str) -> None:
    """A file renamed over a lock file must be told from it, or two would hold one name."""
    path, other = f"{folder}/moved", f"{folder}/other"
    held = locks.try_lock(path)
    if held is None:
        raise RefusedError(f"a lock that nobody holds is refused in {folder}: its locks do not work; {BEST}")
    try:
        files.replace(other, b"")
        with files.named_faults("rename", other):
            os.rename(other, path)
        if locks.is_the_file_at(path, held.descriptor):
            raise RefusedError(f"a lock file in {folder} and the one put in its place have one inode number; {BEST}")
    finally:
        held.close()


def create_is_exclusive(folder: str) -> None:
    path = f"{folder}/created"
    _expect_once(folder, "an exclusive create", lambda: os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)))


def link_is_exclusive(folder: str) -> None:
    files.replace(f"{folder}/draft", b"draft")
    _expect_once(folder, "link()", lambda: os.link(f"{folder}/draft", f"{folder}/linked"))


def _expect_once(folder: str, what: str, call: Callable[[], None]) -> None:
    with files.named_faults("write", folder):
        call()
        try:
            call()
        except FileExistsError:
            return
    raise RefusedError(f"{what} in {folder} succeeded twice for one name; {BEST}")


def rename_replaces(folder: str) -> None:
    path = f"{folder}/replaced"
    for content in (b"first", b"second"):
        files.replace(path, content)
        found = files.read(path)
        if found is None or found[0] != content:
            raise RefusedError(f"a file that was replaced in {folder} still reads as before; {BEST}")


def folders_can_be_synced(folder: str) -> None:
    files.replace(f"{folder}/synced", b"synced", durable=True)
    files.sync_directory(folder)


PROOFS: dict[str, Callable[[str], None]] = {
    "locks exclude": locks_exclude,
    "moved lock files are noticed": moved_locks_are_noticed,
    "exclusive create": create_is_exclusive,
    "link once": link_is_exclusive,
    "rename replaces": rename_replaces,
    "sync of a directory": folders_can_be_synced,
}
