"""Walks the directories below a named one and removes files. Decides nothing, follows no link, removes no directory.

Every step goes through the descriptor of the directory it is about, so that names exchanged under it lead nowhere
else: a directory is entered, and a file removed, only as what it was when it was looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from vcsctl.errors import UsageError
from vcsctl.utilities.settings import shown

DEEPEST = 64  # descriptors are held open along the way down
_WILD = frozenset("*?[")
# Nothing of a site's own is kept in the former, and the latter are everybody's: neither is for a cleaner.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr")
_TOO_WIDE = (
    *("/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv"),
    *("/var", "/var/cache", "/var/lib", "/var/log", "/var/spool"),
)
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Files: those whose path below `base` matches `parts`; `**` stands for any number of directories."""

    base: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A regular file as it was when its directory was read."""

    name: str
    modified_ns: int
    size: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Folder:
    """One directory and those of its files that the pattern matches. The descriptor is closed after use."""

    descriptor: int
    path: str
    files: tuple[File, ...]


@dataclass(slots=True)
class Tally:
    files: int = 0
    size: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, path: str, error: OSError) -> None:
        self.faults.append(f"cannot clean {shown(path)}: {(error.strerror or str(error)).lower()}")


def parse_pattern(text: str) -> Pattern:
    """`DIR` means the files in it; `DIR/*.csv`, `DIR/*/*.csv`, `DIR/**` and `DIR/**/*.csv` what they say."""
    parts = [part for part in text.split("/") if part]
    fixed = next((place for place, part in enumerate(parts) if _WILD & set(part)), len(parts))
    wild = tuple(parts[fixed:]) or ("*",)
    return Pattern("/" + "/".join(parts[:fixed]), (*wild, "*") if wild[-1] == "**" else wild)


def danger(path: str) -> str | None:
    """Why nothing may be cleaned in a directory; None where it may."""
    if path in _TOO_WIDE:
        return "is shared by everything on the machine; name a directory of its own below it"
    if any(path == system or path.startswith(f"{system}/") for system in _SYSTEM):
        return "belongs to the system; nothing is cleaned there"
    return None


def open_base(path: str, own: tuple[str, ...] = ()) -> int | None:
    """A descriptor of the directory; None when there is none. Refuses what it really is, whatever links lead there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(f"cannot clean {shown(path)}: is not a directory; write DIR or DIR/PATTERN") from None
    real = os.readlink(f"/proc/self/fd/{descriptor}")
    why = danger(real)
    if any(f"{real}/".startswith(f"{os.path.realpath(folder)}/") for folder in own):
        why = "belongs to vcsctl itself; see run_logs and history_months"
    if why:
        os.close(descriptor)
        raise UsageError(f"cannot clean {shown(path)}: {shown(real)} {why}")
    return descriptor


def identities(paths: tuple[str, ...]) -> frozenset[Identity]:
    """What the directories are, so that a walk can leave them out by whatever name it meets them."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def walk(base: int, pattern: Pattern, tally: Tally, left_out: frozenset[Identity] = frozenset()) -> Iterator[Folder]:
    """Each directory that may hold matching files, on the base's own file system. `base` stays open."""
    device = os.fstat(base).st_dev
    yield from _walk(os.dup(base), pattern, (), tally, left_out, device)


def _walk(
    descriptor: int,
    pattern: Pattern,
    names: tuple[str, ...],
    tally: Tally,
    left_out: frozenset[Identity],
    device: int,
) -> Iterator[Folder]:
    path = "/".join((pattern.base.rstrip("/"), *names))
    try:
        files, folders = [], []
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if leads_on(pattern.parts, (*names, entry.name)):
                        folders.append(entry.name)
                elif matches(pattern.parts, (*names, entry.name)) and (file := _look(descriptor, entry.name)):
                    files.append(file)
        yield Folder(descriptor, path, tuple(files))
        for name in sorted(folders):
            if len(names) >= DEEPEST:
                tally.faults.append(f"cannot clean {shown(f'{path}/{name}')}: more than {DEEPEST} directories deep")
                continue
            try:
                inner = _enter(descriptor, name, left_out, device)
            except OSError as error:
                tally.fault(f"{path}/{name}", error)
                continue
            if inner is not None:
                yield from _walk(inner, pattern, (*names, name), tally, left_out, device)
    except OSError as error:
        tally.fault(path, error)
    finally:
        os.close(descriptor)


def _look(folder: int, name: str) -> File | None:
    """The regular file of that name; None for anything else, a link among it."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return File(name, status.st_mtime_ns, status.st_size, (status.st_dev, status.st_ino))


def _enter(folder: int, name: str, left_out: frozenset[Identity], device: int) -> int | None:
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None  # gone, or exchanged for a link, meanwhile
    status = os.fstat(inner)
    if status.st_dev != device or (status.st_dev, status.st_ino) in left_out:
        os.close(inner)
        return None
    return inner


def matches(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether a path below the base is one of the pattern's. Hidden names need a pattern that begins with a dot."""
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        return matches(parts[1:], names) or (not names[0].startswith(".") and matches(parts, names[1:]))
    return _name_matches(parts[0], names[0]) and matches(parts[1:], names[1:])


def leads_on(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether a directory may hold, at whatever depth, a file that matches."""
    if not names:
        return bool(parts)
    if len(parts) < 2:
        return False  # the last part is for files
    if parts[0] == "**":
        return leads_on(parts[1:], names) or (not names[0].startswith(".") and leads_on(parts, names[1:]))
    return _name_matches(parts[0], names[0]) and leads_on(parts[1:], names[1:])


def _name_matches(part: str, name: str) -> bool:
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def remove(folder: int, path: str, file: File, tally: Tally, told: Callable[[str, int], None] | None) -> bool:
    """Removes a file that is still what it was; with `told` only tells. True when it went, or would."""
    shown_path = f"{path}/{file.name}"
    try:
        if _look(folder, file.name) != file:
            return False  # written to, exchanged or removed meanwhile: it is not what was judged
        if told is not None:
            told(shown_path, file.size)
        else:
            os.unlink(file.name, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        tally.faults.append(f"cannot remove {shown(shown_path)}: {(error.strerror or str(error)).lower()}")
        return False
    tally.files += 1
    tally.size += file.size
    return True
