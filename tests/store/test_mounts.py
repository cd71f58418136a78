"""What is read out of /proc: tables of real-looking texts, and this machine's own mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcsctl.errors import StorageError
from vcsctl.store.mounts import Mount, parse_leases, parse_mountinfo, paths_of_the_same, storage_of

NFS42 = (
    "45 27 0:52 / /mnt/share rw,relatime shared:25 - nfs4 10.0.0.1:/export rw,vers=4.2,rsize=262144,wsize=262144,"
    "namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=10.0.0.2,local_lock=none,addr=10.0.0.1"
)
NOLOCK = (
    "46 27 0:53 / /mnt/three rw,relatime shared:26 master:1 - nfs files1:/srv/vcs rw,vers=3,rsize=65536,wsize=65536,"
    "namlen=255,hard,nolock,proto=tcp,timeo=600,retrans=2,sec=sys,mountaddr=10.0.0.1,mountvers=3,mountport=20048,"
    "mountproto=udp,local_lock=all,addr=10.0.0.1"
)
ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"
BLANKS = r"50 27 0:60 /a\134b /mnt/with\040blank\011tab rw - cifs //files1/my\040share rw,vers=3.1.1,nobrl"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (NFS42, ("0:52", "/mnt/share", "nfs4", "10.0.0.1:/export", "4.2")),
        (NOLOCK, ("0:53", "/mnt/three", "nfs", "files1:/srv/vcs", "3")),
        (ROOT, ("254:0", "/", "ext4", "/dev/vda", "")),
        (BLANKS, ("0:60", "/mnt/with blank\ttab", "cifs", "//files1/my share", "")),
        ("60 27 0:70 / /m rw - nfs4 s:/x rw,vers=4,minorversion=1", ("0:70", "/m", "nfs4", "s:/x", "4.1")),
        ("60 27 0:70 / /m rw - nfs4 s:/x rw,vers=4", ("0:70", "/m", "nfs4", "s:/x", "4.0")),
        ("60 27 0:70 / /m rw - nfs s:/x rw,hard", ("0:70", "/m", "nfs", "s:/x", "")),
    ],
    ids=["NFS 4.2", "NFS 3 without locks", "disk", "escapes", "vers=4 of old kernels", "plain vers=4", "no version"],
)
def test_a_mount_is_read(line: str, expected: tuple[str, ...]) -> None:
    (mount,) = parse_mountinfo(line + "\n")
    assert (mount.device, mount.point, mount.kind, mount.source, mount.nfs_version) == expected


def test_what_a_mount_is_asked_for() -> None:
    (mount,) = parse_mountinfo(NOLOCK)
    assert mount.has("nolock")
    assert not mount.has("nobrl")
    assert mount.value("local_lock") == "all"
    assert mount.value("vers") == "3", "and not the mountvers"
    assert mount.value("minorversion") is None
    (mount,) = parse_mountinfo(BLANKS)
    assert mount.root == "/a\\b"


def test_lines_of_another_form_are_left_out() -> None:
    text = f"{ROOT}\n\nx 1 2\n27 1 254:0 / / rw,relatime ext4\n27 1 254:0 / / rw - ext4\n{NFS42}\n"
    assert [mount.point for mount in parse_mountinfo(text)] == ["/", "/mnt/share"]


MOUNTSTATS = r"""device proc mounted on /proc with fstype proc
no device mounted on /x with fstype tmpfs
device 10.0.0.1:/export mounted on /mnt/share with fstype nfs4 statvers=1.1
	opts:	rw,vers=4.2,rsize=262144,wsize=262144,namlen=255,acregmin=3,acregmax=60,hard,local_lock=none
	age:	77
	impl_id:	name='',domain='',date='0,0'
	caps:	caps=0x3ffbc0bf,wtmult=512,dtsize=1048576,bsize=0,namlen=255
	nfsv4:	bm0=0xfdffbfff,bm1=0xf9be3e,bm2=0x68800,acl=0x3,sessions,pnfs=not configured,lease_time=90,lease_expired=0
	sec:	flavor=1,pseudoflavor=1
	events:	2 5 0 0 2 3 10 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
device files1:/srv/vcs mounted on /mnt/with\040blank with fstype nfs statvers=1.1
	opts:	rw,vers=3,local_lock=all
	sec:	flavor=1,pseudoflavor=1
device files2:/x mounted on /mnt/with fstype with fstype nfs4 statvers=1.1
	nfsv4:	bm0=0xfdffbfff,sessions,lease_time=10,lease_expired=3
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MOUNTSTATS, {"/mnt/share": 90.0, "/mnt/with fstype": 10.0}),
        (MOUNTSTATS + "device tmpfs mounted on /mnt/share with fstype tmpfs\n", {"/mnt/with fstype": 10.0}),
        ("", {}),
    ],
    ids=["two leases", "the share is covered by another mount", "nothing"],
)
def test_leases_are_read(text: str, expected: dict[str, float]) -> None:
    assert parse_leases(text) == expected


def nfs(device: str, point: str, source: str, root: str = "/", options: tuple[str, ...] = ()) -> Mount:
    return Mount(1, device, root, point, "nfs4", source, ("rw", "vers=4.2", *options))


@pytest.mark.parametrize(
    ("mount", "others", "expected"),
    [
        (nfs("0:1", "/a", "s:/x"), [nfs("0:2", "/b", "s:/x")], ["/b/shared"]),
        (nfs("0:1", "/a", "s:/x"), [nfs("0:1", "/b", "s:/x")], []),
        (nfs("0:1", "/a", "s:/x"), [nfs("0:2", "/b", "t:/x")], []),
        (
            nfs("0:1", "/a", "s:/x", options=("addr=10.0.0.1",)),
            [nfs("0:2", "/b", "10.0.0.1:/x", options=("addr=10.0.0.1",))],
            ["/b/shared"],
        ),
        (nfs("0:1", "/a", "s:/x"), [nfs("0:2", "/b", "s:/")], ["/b/x/shared"]),
        (nfs("0:1", "/a", "s:/x"), [nfs("0:2", "/b", "s:/x/shared")], ["/b"]),
        (nfs("0:1", "/a", "s:/x"), [nfs("0:2", "/b", "s:/x/other"), nfs("0:3", "/c", "s:/xx")], []),
        (nfs("0:1", "/a", "[fe80::1]:/x"), [nfs("0:2", "/b", "[fe80::1]:/x", root="/shared")], ["/b"]),
        (
            Mount(1, "8:1", "/", "/a", "ext4", "/dev/sda1", ()),
            [Mount(2, "8:1", "/", "/b", "ext4", "/dev/sda1", ())],
            [],
        ),
    ],
    ids=[
        "nosharecache",
        "one instance at two points",
        "another server",
        "one server under two names",
        "the whole server as well",
        "the directory itself",
        "siblings",
        "a part of it, by IPv6",
        "a disk",
    ],
)
def test_where_a_second_mount_should_show_the_directory(mount: Mount, others: list[Mount], expected: list[str]) -> None:
    assert [path for _, path in paths_of_the_same("/a/shared", mount, [mount, *others])] == expected


def test_this_machines_own_directories_are_told() -> None:
    proc = storage_of("/proc/self")
    assert (proc.mount.kind, proc.mount.point) == ("proc", "/proc")
    assert storage_of("/dev/shm").mount.kind == "tmpfs"


def test_a_link_is_followed_to_where_the_directory_lies(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/shm")
    assert storage_of(str(tmp_path / "link")).mount.point == os.path.realpath("/dev/shm")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"cannot look at {tmp_path}/none: no such file"):
        storage_of(f"{tmp_path}/none")
