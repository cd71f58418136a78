"""What storage is refused, by which words, and the fence that follows from what is allowed."""

from __future__ import annotations

import pytest

from vcsctl.store.mounts import Mount, Storage
from vcsctl.store.storage_rules import fence_after_s, is_local, refusals, warnings


def mounted(kind: str, options: str = "", source: str = "files1:/export", device: str = "0:52") -> Mount:
    return Mount(45, device, "/", "/mnt/share", kind, source, ("rw", *options.split(",")))


def nfs(options: str = "vers=4.2,hard,local_lock=none", lease_s: float | None = 90.0) -> Storage:
    return Storage(mounted("nfs4" if "vers=4" in options else "nfs", options), lease_s)


DISK = Storage(mounted("ext4", source="/dev/sda1"))
SECOND = Mount(46, "0:53", "/", "/srv/again", "nfs4", "files1:/export", ("rw", "vers=4.2"))


@pytest.mark.parametrize(
    ("storage", "configured_s", "fence_s"),
    [
        (nfs(), None, 90.0),
        (nfs("vers=4.1,hard,local_lock=none"), None, 90.0),
        (nfs(), 60.0, 60.0),
        (nfs(lease_s=None), 60.0, 60.0),
        (DISK, None, None),
        (DISK, 30.0, 30.0),
        (Storage(mounted("ceph", source="10.0.0.1:6789:/")), 60.0, 60.0),
        (Storage(mounted("fuse.glusterfs")), 40.0, 40.0),
        (Storage(mounted("lustre", "flock")), 40.0, 40.0),
        (Storage(mounted("cifs", "vers=3.1.1", source="//files1/vcs")), 40.0, 40.0),
        (Storage(mounted("vfat", source="/dev/sdb1")), None, None),
        (Storage(mounted("tmpfs", source="tmpfs")), None, None),
    ],
    ids=lambda value: value.mount.kind if isinstance(value, Storage) else str(value),
)
def test_good_storage_and_its_fence(storage: Storage, configured_s: float | None, fence_s: float | None) -> None:
    assert refusals(storage, allow_nfs3=False, configured_s=configured_s) == []
    assert fence_after_s(storage, configured_s) == fence_s


@pytest.mark.parametrize(
    ("storage", "configured_s", "named", "remedy"),
    [
        (nfs("vers=3,nolock,local_lock=all"), None, "nolock and local_lock=all", "mount it without"),
        (nfs("vers=3,local_lock=flock"), None, "local_lock=flock", "mount it without"),
        (nfs("vers=3,local_lock=posix"), None, "local_lock=posix", "mount it without"),
        (nfs("vers=4.0,local_lock=none"), None, "vers=4.0", "vers=4.2 or 4.1"),
        (nfs("vers=4,local_lock=none"), None, "vers=4.0", "vers=4.2 or 4.1"),
        (nfs("vers=3,local_lock=none"), None, "NFS 3", "allow_nfs3: true"),
        (nfs("vers=2,local_lock=none"), None, "NFS version 2", "vers=4.2"),
        (nfs("hard"), None, "NFS version unknown", "vers=4.2"),
        (nfs("vers=4.2,ro"), None, "read-only", "rw"),
        (Storage(mounted("nfs4", "vers=4.2"), 90.0, (SECOND,)), None, "/mnt/share and /srv/again", "nosharecache"),
        (Storage(mounted("nfs4", "vers=4.2"), 90.0, (), True), None, "recover_lost_locks is on", "=0"),
        (nfs(lease_s=None), None, "lease", "fence_after"),
        (nfs(), 120.0, "120s", "fence_after: auto"),
        (Storage(mounted("cifs", "nobrl")), 40.0, "nobrl", "without nobrl"),
        (Storage(mounted("lustre", "localflock")), 40.0, "localflock", "with flock"),
        (Storage(mounted("lustre", "noflock")), 40.0, "noflock", "with flock"),
        (Storage(mounted("fuse.sshfs")), 40.0, "fuse.sshfs", "NFS 4.1 or later"),
        (Storage(mounted("9p", "trans=virtio")), 40.0, "9p", "NFS 4.1 or later"),
        (Storage(mounted("virtiofs")), 40.0, "virtiofs", "NFS 4.1 or later"),
        (Storage(mounted("ceph")), None, "ceph", "fence_after"),
        (Storage(mounted("fuse.glusterfs")), None, "fuse.glusterfs", "fence_after"),
        (Storage(mounted("lustre", "flock")), None, "lustre", "fence_after"),
        (Storage(mounted("cifs")), None, "cifs", "fence_after"),
        (Storage(mounted("fuse.something-new")), None, "fuse.something-new", "fence_after"),
        (Storage(mounted("gfs2", source="/dev/mapper/shared")), None, "gfs2", "fence_after"),
    ],
    ids=lambda value: value.mount.kind if isinstance(value, Storage) else None,
)
def test_bad_storage_is_refused_by_name_with_a_remedy(
    storage: Storage, configured_s: float | None, named: str, remedy: str
) -> None:
    sentence = refusals(storage, allow_nfs3=False, configured_s=configured_s)[0]
    assert named in sentence
    assert remedy in sentence.partition(": ")[2]


def test_nfs3_is_allowed_when_asked_for_but_never_without_locks() -> None:
    good = nfs("vers=3,hard,local_lock=none", None)
    assert refusals(good, allow_nfs3=True, configured_s=None) == []
    assert fence_after_s(good, None) is None, "its locks are never given away"
    assert "by hand" in warnings(good, many_nodes=True)[0]
    assert refusals(nfs("vers=3,nolock,local_lock=all"), allow_nfs3=True, configured_s=None)


def test_every_reason_is_told_at_once() -> None:
    worst = Storage(mounted("nfs", "vers=3,nolock,local_lock=all,ro"), None, (SECOND,), True)
    assert len(refusals(worst, allow_nfs3=False, configured_s=None)) == 5


@pytest.mark.parametrize(
    ("storage", "many_nodes", "expected"),
    [
        (nfs(), True, []),
        (nfs("vers=4.2,soft,local_lock=none"), True, ["soft"]),
        (DISK, False, []),
        (DISK, True, ["this machine's own"]),
        (Storage(mounted("tmpfs", source="tmpfs")), False, ["kept in memory"]),
        (Storage(mounted("overlay", source="overlay")), True, ["this machine's own"]),
        (Storage(mounted("cifs")), True, ["seen to break"]),
        (Storage(mounted("fuse.glusterfs")), True, ["doctor --serve"]),
    ],
    ids=["NFS 4.2", "soft", "disk alone", "disk for many", "tmpfs", "overlay", "cifs", "glusterfs"],
)
def test_what_is_allowed_and_should_be_known(storage: Storage, many_nodes: bool, expected: list[str]) -> None:
    found = warnings(storage, many_nodes=many_nodes)
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))


def test_what_is_not_known_is_taken_for_a_network() -> None:
    assert is_local(DISK.mount)
    assert not is_local(mounted("fuse.bindfs", source="/data"))
