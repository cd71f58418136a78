"""The programs that the laboratory needs of the machine it runs on. Installs them where it may, else names them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

PROGRAMS = {  # program → the package that has it
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "apt-get": "apt",
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class MissingError(Exception):
    """The laboratory cannot be set up here; the text says why."""


def provide() -> None:
    if platform.machine() != "x86_64":
        raise MissingError(f"the laboratory's kernel is for x86_64, this machine is {platform.machine()}")
    if os.geteuid():
        raise MissingError("only root can make the system disk (chroot); run `make lab` as root")
    if not (packages := missing()):
        return
    if shutil.which("apt-get") is None:
        raise MissingError(f"install first: {' '.join(packages)}")
    for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", *packages]):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode and command[1] == "install":
            raise MissingError(f"cannot install {' '.join(packages)}:\n{done.stderr[-2000:]}")


def missing() -> list[str]:
    return sorted(package for program, package in PROGRAMS.items() if shutil.which(program, path=_PATH) is None)
