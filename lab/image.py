"""What the machines boot: kernel, first root, a read-only system disk, a disk with the project. Starts no machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.needs import MissingError

PROJECT = Path(__file__).parents[1]
GUEST = Path(__file__).parent / "guest"
KERNEL = "linux-image-cloud-amd64"
SYSTEM = ("busybox-static", "iproute2", "kmod", "nfs-common", "nfs-kernel-server", "procps", "python3-venv", "strace")
DROPPED = ("man", "doc", "locale", "info", "lintian")
FIRST_MODULES = ("virtio_pci", "virtio_blk", "ext4", "overlay")  # what it takes to reach the system disk


@dataclass(frozen=True, slots=True)
class Images:
    kernel: Path
    initrd: Path
    system: Path
    project: Path


def build(cache: Path) -> Images:
    """Everything that is there already and still true is used again; the project's disk is made anew each time."""
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / "system"
    recipe = _digest(repr((_codename(), KERNEL, SYSTEM, DROPPED, FIRST_MODULES)), (GUEST / "first-init").read_text())
    images = Images(cache / "vmlinuz", cache / "initrd", cache / "system.img", cache / "project.img")
    mark = cache / "recipe"
    if not (mark.exists() and mark.read_text() == recipe):
        mark.unlink(missing_ok=True)
        _build_system(tree, images, cache)
        mark.write_text(recipe)
    _build_project(tree, images, cache)
    return images


def make_disk(path: Path, megabytes: int, content: Path | None = None) -> None:
    path.unlink(missing_ok=True)
    source = [] if content is None else ["-d", str(content)]
    _do(["/sbin/mke2fs", "-q", "-t", "ext4", *source, str(path), f"{megabytes}M"])


def _build_system(tree: Path, images: Images, cache: Path) -> None:
    say("the system disk is being made; this is done once and takes about two minutes")
    shutil.rmtree(tree, ignore_errors=True)
    drop = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in DROPPED]
    packages = ",".join(SYSTEM)
    _do(["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={packages}", *drop, _codename(), str(tree)])
    version = _add_kernel(tree, images, cache)
    _build_initrd(tree, images.initrd, version)
    make_disk(images.system, _megabytes(tree), tree)


def _add_kernel(tree: Path, images: Images, cache: Path) -> str:
    listed = _do(["apt-cache", "depends", "--important", KERNEL])
    package = next(line.split()[-1] for line in listed.splitlines() if "Depends: linux-image-" in line)
    packages = cache / "packages"
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir()
    _do(["apt-get", "download", "-q", package], folder=packages)
    unpacked = packages / "kernel"
    _do(["dpkg-deb", "-x", str(next(packages.glob("*.deb"))), str(unpacked)])
    version = next((unpacked / "lib/modules").iterdir()).name
    shutil.copy(unpacked / f"boot/vmlinuz-{version}", images.kernel)
    shutil.copytree(unpacked / "lib/modules", tree / "lib/modules", dirs_exist_ok=True)
    _do(["chroot", str(tree), "depmod", version])
    return version


def _build_initrd(tree: Path, initrd: Path, version: str) -> None:
    folder = initrd.with_suffix(".tree")
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("bin", "dev", "proc", "modules", "lower", "upper", "new"):
        (folder / name).mkdir(parents=True)
    shutil.copy(tree / "bin/busybox", folder / "bin/busybox")
    shutil.copy(GUEST / "first-init", folder / "init")
    (folder / "init").chmod(0o755)
    order: list[str] = []
    for module in FIRST_MODULES:
        listed = _do(["chroot", str(tree), "modprobe", "-S", version, "--show-depends", module])
        order += [line.split()[1] for line in listed.splitlines() if line.startswith("insmod")]
    order = list(dict.fromkeys(order))
    for path in order:
        shutil.copy(tree / path.lstrip("/"), folder / "modules")
    (folder / "modules/order").write_text("".join(f"{Path(path).name}\n" for path in order))
    _do(["sh", "-c", f"find . | cpio --quiet -o -H newc | gzip -1 > '{initrd}'"], folder=folder)


def _build_project(tree: Path, images: Images, cache: Path) -> None:
    """A virtual environment as a user would make it, from wheels, by the system's own Python."""
    say("the project is being installed on its disk")
    wheels, opt = tree / "tmp/wheels", tree / "opt"
    python = _do(["chroot", str(tree), "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    needs = cache / "needs"
    wanted = _digest((PROJECT / "setup.py").read_text(), python)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    fresh = not (needs.exists() and needs.read_text() == wanted)
    if fresh:
        needs.unlink(missing_ok=True)
        shutil.rmtree(wheels, ignore_errors=True)
        shutil.rmtree(opt, ignore_errors=True)
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("vcsctl-*.whl"):
        old.unlink()
    scratch = cache / "source"  # a build leaves folders in its source, which are no business of the work tree
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("vcsctl", "units", "etc"):
        shutil.copytree(PROJECT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, scratch)
    _do([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(scratch)])
    own = next(wheels.glob("vcsctl-*.whl"))
    if fresh:
        only = ["--only-binary=:all:", "--python-version", python]
        _do([*pip, "download", *only, "--dest", str(wheels), str(own)])
        _do(["chroot", str(tree), "python3", "-m", "venv", "/opt/vcs"])
    inside = [
        "chroot",
        str(tree),
        "/opt/vcs/bin/pip",
        "--quiet",
        "install",
        "--no-index",
        "--find-links",
        "/tmp/wheels",
    ]
    _do([*inside, "--force-reinstall", "--no-deps", f"/tmp/wheels/{own.name}"])
    _do([*inside, f"/tmp/wheels/{own.name}"])
    needs.write_text(wanted)
    shutil.rmtree(opt / "vcs/share/vcs", ignore_errors=True)  # the laboratory has units of its own
    shutil.rmtree(opt / "lab", ignore_errors=True)
    shutil.copytree(GUEST, opt / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    for file in (opt / "lab").iterdir():
        file.chmod(0o755)
    make_disk(images.project, _megabytes(opt), opt)


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise MissingError("/etc/os-release names no release of a distribution; the laboratory needs Debian")


def _megabytes(tree: Path) -> int:
    used = int(_do(["du", "-sm", str(tree)]).split()[0])
    return used + used // 4 + 16


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _do(command: Sequence[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if done.returncode:
        raise MissingError(f"cannot make the images: {' '.join(command)}:\n{done.stderr[-2000:]}")
    return done.stdout


def say(text: str) -> None:
    print(text, flush=True)
