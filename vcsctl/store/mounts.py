"""Which file system a directory lies on, as the kernel tells it under /proc. Judges nothing.

The functions that take text are pure; those that take a path read /proc. A directory is told from its mount by
the kernel's own number of it, not by comparing names: a mount may hide another.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vcsctl.errors import StorageError
from vcsctl.store.files import named_faults

_ESCAPE = re.compile(r"\\([0-7]{3})")
_LEASE = re.compile(r"\blease_time=(\d+)")
_RECOVERS = "/sys/module/nfs/parameters/recover_lost_locks"


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. `root` is the part of the file system that is seen at `point`; `device` tells two
    instances of one share apart; `options` are the mount's own and the file system's."""

    id: int
    device: str
    root: str
    point: str
    kind: str
    source: str
    options: tuple[str, ...]

    @property
    def is_nfs(self) -> bool:
        return self.kind in ("nfs", "nfs4")

    def has(self, option: str) -> bool:
        return option in self.options

    def value(self, name: str) -> str | None:
        """What stands after `name=`."""
        found = [option for option in self.options if option.startswith(f"{name}=")]
        return found[-1].partition("=")[2] if found else None

    @property
    def nfs_version(self) -> str:
        """`3`, `4.0`, `4.2`, ...; empty where the options do not say, or it is no NFS."""
        version = self.value("vers") or self.value("nfsvers") or ""
        if not self.is_nfs or version != "4":
            return version if self.is_nfs else ""
        return f"4.{self.value('minorversion') or '0'}"  # as kernels before 3.5 wrote it


@dataclass(frozen=True, slots=True)
class Storage:
    """All that decides whether locks under a directory can be trusted, as observed."""

    mount: Mount
    lease_s: float | None = None
    again: tuple[Mount, ...] = ()  # other mounts of this machine that lead to the same directory
    recovers_lost_locks: bool = False


def parse_mountinfo(text: str) -> list[Mount]:
    """Every mount of a process, in the kernel's order. A line that is none of the known form is left out."""
    found = []
    for line in text.splitlines():
        own, separator, filesystem = line.partition(" - ")
        fields, rest = own.split(" "), filesystem.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 3 or not fields[0].isdecimal():
            continue
        root, point, kind, source = (_unescaped(name) for name in (fields[3], fields[4], rest[0], rest[1]))
        options = (*fields[5].split(","), *_unescaped(rest[2]).split(","))
        found.append(Mount(int(fields[0]), fields[2], root, point, kind, source, options))
    return found


def parse_leases(text: str) -> dict[str, float]:
    """Mount point → the server's lease in seconds, from mountstats. Later mounts of one point cover earlier ones."""
    leases: dict[str, float] = {}
    point = ""
    for line in text.splitlines():
        if line.startswith(("device ", "no device ")):
            mounted = line.partition(" mounted on ")[2]
            point = _unescaped(mounted.rpartition(" with fstype ")[0])
            leases.pop(point, None)
        elif point and (match := _LEASE.search(line)):
            leases[point] = float(match[1])
    return leases


def _unescaped(text: str) -> str:
    """The kernel writes blanks, line ends and backslashes in names as octal numbers."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def paths_of_the_same(folder: str, mount: Mount, mounts: list[Mount]) -> Iterator[tuple[Mount, str]]:
    """Where `folder`, which lies on `mount`, should be seen through other NFS mounts, each a file system of its own.

    Whether it really is there only a look can tell: an export may hold other exports.
    """
    if not mount.is_nfs:
        return
    place = _joined(_export(mount), mount.root, posixpath.relpath(folder, mount.point))
    for other in mounts:
        if not other.is_nfs or other.device == mount.device or _server(other) != _server(mount):
            continue
        top = _joined(_export(other), other.root)
        if posixpath.commonpath((top, place)) == top:
            yield other, _joined(other.point, posixpath.relpath(place, top))


def _server(mount: Mount) -> str:
    """The server's address: two names may mean one server."""
    return mount.value("addr") or mount.source.partition(":/")[0]


def _export(mount: Mount) -> str:
    return mount.source.partition(":/")[2]


def _joined(*parts: str) -> str:
    return "/" + posixpath.normpath("/".join(parts)).strip("/")


def storage_of(folder: str) -> Storage:
    """What the kernel says of the storage under an existing directory."""
    mounts = parse_mountinfo(_read("/proc/self/mountinfo"))
    with named_faults("look at", folder):
        real = os.path.realpath(folder)
        descriptor = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            number = _mount_number(_read(f"/proc/self/fdinfo/{descriptor}"))
            inode = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)
    mount = next((one for one in mounts if one.id == number), None)
    if mount is None:
        raise StorageError(f"cannot tell on which mount {folder} lies; see whether /proc shows this machine's mounts")
    if not mount.is_nfs:
        return Storage(mount)
    lease_s = parse_leases(_read("/proc/self/mountstats")).get(mount.point)
    again = [other for other, path in paths_of_the_same(real, mount, mounts) if _inode(path) == inode]
    recovers = False
    with contextlib.suppress(StorageError):  # no such file: the module is not there, as with a user-space client
        recovers = _read(_RECOVERS).strip() in ("Y", "1")
    return Storage(mount, lease_s, tuple(again), recovers)


def _mount_number(fdinfo: str) -> int | None:
    numbers = [line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id:")]
    return int(numbers[0]) if numbers else None


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _read(path: str) -> str:
    with named_faults("read", path), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
