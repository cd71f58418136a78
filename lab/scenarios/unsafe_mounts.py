"""`nolock` and `local_lock=all`: vcsd and doctor refuse them by name. NFSv4 and a local directory: doctor passes."""

from __future__ import annotations

from lab.cell import SHARED, Cell, Service
from lab.machine import Machine
from lab.trial import Trial

SERVICES = (Service("idle", ("billing",), 5),)
UNSAFE = {"nolock": "vers=3,nolock", "local_lock": "vers=3,local_lock=all"}


def run(trial: Trial) -> None:
    with trial.cell(SERVICES, nodes=1) as cell:
        cell.boot()
        (node,) = cell.nodes
        cell.mount(node)
        cell.make(node)
        cell.configure(node)
        doctor = cell.vcsctl(node, "doctor")
        trial.quote(node, "vcsctl doctor", doctor.text)
        trial.expect(doctor.code == 0, "NFSv4: doctor passes")
        for name, options in UNSAFE.items():
            node.must(f"umount {SHARED}")
            cell.mount(node, options)
            cell.configure(node, allow_nfs3=True)
            trial.fact(f"{name}: /proc/mounts shows {node.must(f'grep {SHARED} /proc/mounts').split()[3]}")
            _refused(trial, cell, node, name)
        node.must(f"umount {SHARED}")
        cell.id = None
        cell.configure(node, shared_dir="/root/local")
        node.must("mkdir -p /root/local")
        cell.vcsctl(node, "init", must=True)
        doctor = cell.vcsctl(node, "doctor")
        trial.quote(node, "vcsctl doctor", doctor.text)
        trial.expect(doctor.code == 0, "a local directory: doctor passes")
        trial.judge(cell)


def _refused(trial: Trial, cell: Cell, node: Machine, option: str) -> None:
    for command in ("vcsd", "vcsctl doctor"):
        done = node.run(f"timeout 100 {command}", timeout_s=120)
        trial.quote(node, command, f"{done.text}\n(exit {done.code})")
        trial.expect(done.code not in (0, 124, None), f"{option}: {command} refuses (exit {done.code})")
        trial.expect(option in done.output, f"{option}: {command} names the option")
