"""The only ways this project writes and reads a small file on the shared directory. Knows no record and no name.

`link_new` publishes a complete, durable file under a name that did not exist: first wins. `replace` puts a
new version in place of an old one and is only for what is shown, never for what decides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime

from vcsctl.errors import ForeignFileError, NoSpaceError, StorageError
from vcsctl.store.opening import again_where_stale, open_shared
from vcsctl.store.paths import ASIDE_SUFFIX, TEMPORARY_PREFIX

LARGEST_RECORD = 1 << 20  # a record is a few kilobytes; more is somebody else's file


@contextlib.contextmanager
def named_faults(action: str, path: str) -> Iterator[None]:
    """Turns an OSError into a StorageError that names the file and the way out."""
    try:
        yield
    except OSError as error:
        raise _fault(action, path, error) from error


def _fault(action: str, path: str, error: OSError) -> StorageError:
    kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(f"cannot {action} {path}: {_sentence(error)}")


def _sentence(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "no space left; free some, nothing recorded earlier is lost"
        case errno.EROFS:
            return "the file system is read-only; mount it for writing"
        case errno.EACCES | errno.EPERM:
            return "permission denied; run the command as a user who may, or mend the directory's mode"
        case errno.ENOLCK:
            return (
                "the storage gives no locks; on NFS 3 see that rpc.statd runs on both sides, or mount it with vers=4.2"
            )
        case errno.EIO | errno.ESTALE:
            return f"the storage failed ({os.strerror(error.errno or 0)}); see to the disk or the file server"
        case _:
            return (error.strerror or str(error)).lower()


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return f"{folder}/{TEMPORARY_PREFIX}{name}.{os.urandom(6).hex()}"


def _write_temporary(path: str, data: bytes, mode: int, *, durable: bool) -> tuple[str, datetime]:
    """Returns the temporary's path and its mtime: the file server's own clock."""
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        if durable:
            os.fsync(descriptor)
        modified_at = instant_of(os.fstat(descriptor).st_mtime_ns)
    except BaseException:
        discard(temporary)
        raise
    finally:
        os.close(descriptor)
    return temporary, modified_at


def instant_of(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC)


def make_folder(path: str) -> None:
    """A directory in one that must be there: the mount point of a share that is away is empty, and stays so."""
    with named_faults("make", path), contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)


def discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def remove(path: str) -> None:
    """Removes a name that may be gone already."""
    with named_faults("remove", path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def move(path: str, to: str) -> None:
    """Gives another name to what may be gone already."""
    with named_faults("move", path), contextlib.suppress(FileNotFoundError):
        os.rename(path, to)


class Draft:
    """A complete and durable record that has no name yet. `modified_at` is the file server's clock at its writing."""

    def __init__(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.path = path
        with named_faults("write", path):
            self._temporary, self.modified_at = _write_temporary(path, data, mode, durable=True)

    def link(self) -> bool:
        """Publishes the draft; False when the name is taken. `discard` it afterwards in any case."""
        try:
            os.link(self._temporary, self.path)
        except FileExistsError:
            # Over NFS the reply to a link that succeeded may be lost and the repeated call fail: the count tells.
            with named_faults("write", self.path):
                return os.stat(self._temporary).st_nlink == 2
        except OSError as error:
            self.discard()
            raise _fault("write", self.path, error) from error
        return True

    def link_also(self, path: str) -> None:
        """A second name for the same file, unless there is one."""
        with named_faults("write", path), contextlib.suppress(FileExistsError):
            os.link(self._temporary, path)

    def discard(self) -> None:
        discard(self._temporary)


def link_new(path: str, data: bytes, mode: int = 0o644, *, sync_folder: bool = False) -> bool:
    """Publishes `data` under `path` unless that name exists; complete and durable before it is visible."""
    draft = Draft(path, data, mode)
    linked = draft.link()
    draft.discard()
    if linked and sync_folder:
        sync_directory(os.path.dirname(path))
    return linked


def replace(path: str, data: bytes, mode: int = 0o644, *, durable: bool = False) -> None:
    with named_faults("write", path):
        temporary, _ = _write_temporary(path, data, mode, durable=durable)
        try:
            os.rename(temporary, path)
        except OSError:
            discard(temporary)
            raise


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable."""
    with named_faults("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: str) -> tuple[bytes, datetime] | None:
    """Content and mtime of a regular file, None when there is none. Never waits on a pipe, never follows a link.

    Raises ForeignFileError for what is no file that we may read: a fault of that one name, not of the storage.
    """
    with named_faults("read", path):
        return again_where_stale(lambda: _read(path))


def _read(path: str) -> tuple[bytes, datetime] | None:
    try:
        descriptor = open_shared(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EACCES, errno.ENXIO):
            raise ForeignFileError(f"cannot be read ({(error.strerror or str(error)).lower()})") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ForeignFileError("is not a regular file")
        # As much as there is: a buffer for the largest costs more than the reading of a small one.
        return os.read(descriptor, min(status.st_size + 1, LARGEST_RECORD)), instant_of(status.st_mtime_ns)
    finally:
        os.close(descriptor)


def names(folder: str) -> list[str]:
    """The names in a directory, looked up anew (over NFS a missing name stayed missing for 24 s)."""
    with named_faults("list", folder):
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []


def entries(folder: str) -> list[tuple[str, int]]:
    """The names in a directory with their inodes, from one look at it and without a call for each."""
    with named_faults("list", folder):
        try:
            with os.scandir(folder) as found:
                return [(entry.name, entry.inode()) for entry in found]
        except FileNotFoundError:
            return []


def set_aside(path: str) -> str:
    """Takes an unreadable file out of the way, keeping it for whoever wants to know; its new path."""
    aside = f"{path}{ASIDE_SUFFIX}"
    with named_faults("set aside", path):
        os.rename(path, aside)
    return aside
