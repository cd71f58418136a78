"""Which storage can be trusted with locks, and how long a silent node keeps them. Pure: reads no file.

Each rule stands here because breaking it was seen, or is documented, to give one lock to two holders while
every call says that all is well. A sentence names the option and what to use instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vcsctl.store.mounts import Mount, Storage

# Shared by design, with locks that hold between nodes, and with times of their own after which they are given away.
_NETWORK_KINDS = re.compile(
    r"afs|beegfs|ceph|cifs|fhgfs|fuse\.(ceph|ceph-fuse|glusterfs|juicefs|mfs)|gfs2|glusterfs|gpfs"
    r"|lustre|ocfs2|orangefs|panfs|pvfs2|smb3|smbfs|wekafs"
)
# Shared by design, with locks that only this machine's kernel knows.
_LOCKS_STAY_AT_HOME = re.compile(r"9p|virtiofs|vboxsf|fuse\.(sshfs|vmhgfs-fuse|rclone|s3fs|mount-s3|gcsfuse|goofys)")
_KINDS_WITHOUT_NETWORK = re.compile(r"bcachefs|btrfs|ext[234]|f2fs|jfs|overlay|ramfs|tmpfs|xfs|zfs")
_CIFS_KINDS = ("cifs", "smb3", "smbfs")
BEST = "use a local file system on one machine, NFS 4.1 or later between several"


def is_local(mount: Mount) -> bool:
    """On a disk or in the memory of this machine; what is not known is taken for a network's."""
    if _KINDS_WITHOUT_NETWORK.fullmatch(mount.kind):
        return True
    return mount.source.startswith("/dev/") and not _NETWORK_KINDS.fullmatch(mount.kind)


def fence_after_s(storage: Storage, configured_s: float | None) -> float | None:
    """After how long a silence another node may get a run's locks; None: never, only a failed proof counts."""
    if configured_s is not None:
        return configured_s
    return storage.lease_s if storage.mount.nfs_version.startswith("4") else None


def refusals(storage: Storage, *, allow_nfs3: bool, configured_s: float | None) -> list[str]:
    """Why vcsd must not start on this storage; empty when it may. `configured_s` is `fence_after` of vcs.yaml."""
    mount = storage.mount
    found = list(_nfs_refusals(storage, allow_nfs3)) if mount.is_nfs else list(_other_refusals(mount))
    if mount.has("ro"):
        found.append("it is mounted read-only (ro): mount it with rw")
    return found or list(_fence_refusals(storage, configured_s))


def _nfs_refusals(storage: Storage, allow_nfs3: bool) -> Iterator[str]:
    mount, version = storage.mount, storage.mount.nfs_version
    local = mount.value("local_lock")
    if mount.has("nolock") or local not in (None, "none"):
        seen = " and ".join(option for option in mount.options if option == "nolock" or option.startswith("local_lock"))
        yield f"mounted with {seen}: each node keeps its locks to itself; mount it without, best with vers=4.2"
    if version == "4.0":
        yield (
            "NFS 4.0 (vers=4.0): it has no sessions, so a request repeated after a lost reply may be carried out twice;"
            " mount it with vers=4.2 or 4.1"
        )
    elif version == "3" and not allow_nfs3:
        yield (
            "NFS 3 (vers=3): the locks of a node that lost its power stay until the server is told; mount it with"
            " vers=4.2, or accept that with allow_nfs3: true in vcs.yaml"
        )
    elif not version.startswith(("3", "4")):
        yield f"NFS version {version or 'unknown'}: locks are sure from version 4.1 on; mount it with vers=4.2"
    if storage.recovers_lost_locks:
        yield (
            "the nfs module's recover_lost_locks is on: a lock that was given to another node is taken back blindly;"
            " set nfs.recover_lost_locks=0 and mount it anew"
        )
    for other in storage.again:
        yield (
            f"this machine has mounted it twice, at {mount.point} and {other.point}, with separate caches: their locks"
            " were seen not to exclude; unmount one, or mount both with the same options, without nosharecache"
        )


def _other_refusals(mount: Mount) -> Iterator[str]:
    if mount.kind in _CIFS_KINDS and mount.has("nobrl"):
        yield "mount option nobrl: each node keeps its locks to itself; mount it without nobrl"
    if mount.kind == "lustre":
        for option in ("localflock", "noflock"):
            if mount.has(option):
                yield f"mount option {option}: locks do not hold between nodes; mount it with flock"
    if _LOCKS_STAY_AT_HOME.fullmatch(mount.kind):
        yield f"file system {mount.kind}: each machine keeps its locks to itself; {BEST}"


def _fence_refusals(storage: Storage, configured_s: float | None) -> Iterator[str]:
    mount, lease_s = storage.mount, storage.lease_s
    if mount.nfs_version.startswith("4"):
        if lease_s is None and configured_s is None:
            yield (
                "the server's lease is not in /proc/self/mountstats: write the server's lease as fence_after into"
                " vcs.yaml (90s where nobody changed it)"
            )
        elif lease_s is not None and configured_s is not None and configured_s > lease_s:
            yield (
                f"fence_after is {configured_s:g}s, but the server gives a silent node's locks away after"
                f" {lease_s:g}s: write fence_after: auto"
            )
    elif not mount.is_nfs and not is_local(mount) and configured_s is None:
        yield (
            f"file system {mount.kind}: nothing here tells when it gives a silent node's locks away; write that time as"
            " fence_after into vcs.yaml, rather too short than too long"
        )


def warnings(storage: Storage, *, many_nodes: bool) -> list[str]:
    """What is allowed and should be known. `many_nodes`: the configuration names a cell, so others may share it."""
    return list(_warnings(storage.mount, many_nodes))


def _warnings(mount: Mount, many_nodes: bool) -> Iterator[str]:
    if mount.kind in ("tmpfs", "ramfs"):
        yield "it is kept in memory: at a restart of the machine the cell forgets which slots have run"
    if many_nodes and is_local(mount):
        yield (
            f"file system {mount.kind} is this machine's own: no other node sees it; mount the share there if the cell"
            " is to have several"
        )
    if mount.nfs_version == "3":
        yield "NFS 3: a dead node's locks must be freed on the server by hand, see docs/storage.md"
    for option in ("soft", "softerr", "softreval"):
        if mount.has(option):
            yield f"mount option {option}: a slow server looks like a broken one and stops runs; mount it with hard"
    if mount.kind in _CIFS_KINDS:
        yield (
            f"file system {mount.kind}: exclusion between nodes was seen to break when two processes of one node wanted"
            " a lock; NFS 4.1 or later is the sure choice"
        )
    elif not mount.is_nfs and not is_local(mount):
        yield "prove it between two nodes with vcsctl doctor --serve on one and vcsctl doctor --peer on another"
