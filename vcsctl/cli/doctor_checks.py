"""What `vcsctl doctor` looks at on one machine, check by check. Prints nothing, changes nothing of the cell."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from vcsctl.catalog.permissions import check_permissions
from vcsctl.catalog.scan import Layers, scan
from vcsctl.cli.doctor_steps import Finding
from vcsctl.config import Config
from vcsctl.domain.nodes import SILENT_AFTER_BEATS, clock_fault
from vcsctl.errors import VcsError
from vcsctl.places import Places
from vcsctl.runners import proc
from vcsctl.runners.orphan import locks_outlive_their_opener
from vcsctl.store import nodes
from vcsctl.store.cell import read_cell
from vcsctl.store.files import named_faults
from vcsctl.store.mounts import Storage, storage_of
from vcsctl.store.nodes import NodeState
from vcsctl.store.paths import FOLDERS, Paths
from vcsctl.store.records import Stored
from vcsctl.store.selftest import PROOFS, describe, scratch_folder
from vcsctl.store.server_clock import ClockOffset, measure_offset
from vcsctl.store.storage_rules import fence_after_s, refusals, warnings

CLOCK_WARNING_S = 1.0
_SHOWN_OPTIONS = ("vers", "hard", "soft", "softerr", "nolock", "local_lock", "nobrl", "flock", "localflock", "noflock")
_CLEANED = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - named to warn of them


@dataclass
class Patient:
    """One installation on one machine, and what is known of its shared directory once it was looked at."""

    where: Places
    config: Config
    host: str = field(default_factory=lambda: os.uname().nodename)
    machine: str = field(default_factory=proc.machine_id)
    is_there: bool = False  # as far as was seen

    @property
    def root(self) -> str:
        return self.config.shared_dir

    @property
    def paths(self) -> Paths:
        return Paths(self.root)

    @cached_property
    def storage(self) -> Storage:
        return storage_of(self.root)

    @cached_property
    def offset(self) -> ClockOffset:
        with scratch_folder(self.paths) as folder:
            return measure_offset(folder)

    def server_time_s(self) -> float:
        """By the file server's clock where that can be had, else by this machine's."""
        return time.time() - (self.offset.offset_s if self.may_write else 0.0)

    @property
    def may_write(self) -> bool:
        return os.access(self.tested, os.W_OK | os.X_OK)

    @property
    def tested(self) -> str:
        """Where the proofs are tried."""
        return self.paths.probe if os.path.isdir(self.paths.probe) else self.root


Check = Callable[[Patient], Iterator[Finding]]


def shared_directory(patient: Patient) -> Iterator[Finding]:
    root = patient.root
    with named_faults("look at", root), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        patient.is_there = stat.S_ISDIR(os.stat(root).st_mode)
    if not patient.is_there:
        yield "failed", f"{root} is not there; mount the share or make the directory (shared_dir in vcs.yaml)"
        return
    if not patient.where.root and root.startswith(tuple(f"{folder}/" for folder in _CLEANED)):
        yield "warning", f"{root} lies where old files are cleaned away; move it, for example to /var/lib/vcs/shared"
    if not patient.may_write:
        tested = patient.tested
        with named_faults("look at", tested):
            owner = os.stat(tested).st_uid
        yield "skipped", f"{tested} cannot be written by uid {os.geteuid()}: {_who_may_test(owner)}"
        return
    yield "ok", root


def _who_may_test(owner: int) -> str:
    if os.geteuid() == 0:
        return f"the server maps root to another user (root_squash); run this as uid {owner}, which vcsd should run as"
    return f"whether locks work only uid {owner} or root can test"


def mount(patient: Patient) -> Iterator[Finding]:
    config, storage = patient.config, patient.storage
    shown = [option for option in storage.mount.options if option.partition("=")[0] in _SHOWN_OPTIONS]
    what = describe(storage) + (f" ({', '.join(shown)})" if shown else "")
    bad = refusals(storage, allow_nfs3=config.allow_nfs3, configured_s=config.fence_after)
    known = warnings(storage, many_nodes=config.cell is not None)
    yield from (("failed", f"{what}: {sentence}") for sentence in bad)
    yield from (("warning", f"{what}: {sentence}") for sentence in known)
    if not bad and not known:
        yield "ok", what


def fence(patient: Patient) -> Iterator[Finding]:
    fence_s, lease_s = fence_after_s(patient.storage, patient.config.fence_after), patient.storage.lease_s
    if fence_s is None:
        yield "ok", "none: a silent node keeps its locks; only a failed proof stops a run"
        return
    source = "configured" if patient.config.fence_after is not None else "the server's lease"
    if patient.config.fence_after is not None and lease_s is not None:
        source = f"configured; the server's lease is {lease_s:g} s"
    stopped = f"a run without a proof for {fence_s / 2:g} s is stopped, for {fence_s * 2 / 3:g} s killed"
    yield "ok", f"{fence_s:g} s ({source}): {stopped}"


def cell(patient: Patient) -> Iterator[Finding]:
    found, expected = read_cell(patient.paths), patient.config.cell
    if found is None and expected is None:
        yield "ok", "there is none yet; vcsctl init or the first vcsd makes it"
    elif found is None:
        yield "failed", f"{patient.root} holds no cell, vcs.yaml expects {expected}; mount the share"
    elif expected not in (None, found.id):
        yield "failed", f"{patient.root} is cell {found.id}, vcs.yaml expects {expected}; mount the right one"
    elif foreign := _foreign(patient):
        remedy = f"run vcsd as one user on every node, and chown -R that user {patient.root}"
        yield "failed", f"{foreign}: {remedy}"
    else:
        yield "ok", f"{found.id}{', as vcs.yaml expects' if expected else ''}, time zone {found.timezone}"


def _foreign(patient: Patient) -> str:
    """What of the cell is another user's than vcsd's: there it cannot write, or that user decides what it runs."""
    paths, owners = patient.paths, dict[str, int]()
    for path in (paths.cell, *map(paths.folder, FOLDERS)):
        with contextlib.suppress(OSError):
            owners[path] = os.stat(path).st_uid
    rightful = owners.get(paths.cell, 0)
    whose = f"{paths.cell} to uid {rightful}"
    if (user := _vcsds_user(patient.where)) is not None and (user or os.geteuid() == 0):
        rightful, whose = user, f"vcsd runs here as uid {user}"
    foreign = [path for path, owner in owners.items() if owner != rightful]
    if foreign and os.geteuid() == user and patient.may_write:
        with scratch_folder(paths) as folder:
            at_the_server = os.stat(folder).st_uid  # where root is mapped to another user
        foreign = [path for path in foreign if owners[path] != at_the_server]
    return f"{foreign[0]} belongs to uid {owners[foreign[0]]}, {whose}" if foreign else ""


def _vcsds_user(where: Places) -> int | None:
    """By what only vcsd makes on this machine; None where it has never run. Who it is for the server is another matter
    where root is mapped: only root can tell."""
    for path in (where.socket, where.snapshot):
        with contextlib.suppress(OSError):
            return os.stat(path).st_uid
    return None


def host_names(patient: Patient) -> Iterator[Finding]:
    """Over NFS a lock's owner is named after its host: two machines of one name take each other's locks."""
    host, machine, own_node = patient.host, patient.machine, patient.config.node
    states = nodes.read_states(patient.paths)
    findings: list[Finding] = []
    for node, stored in sorted(states.items()):
        state = stored.value
        if not state.machine or not machine:
            continue
        if state.machine == machine and state.host != host and node != own_node:
            text = f"node {node} on {state.host} has this machine's id: one is a copy of the other"
            findings.append(("warning", f"{text}; remove /etc/machine-id on one and run systemd-machine-id-setup"))
        elif state.machine != machine and host == state.host:
            findings.append(_double(patient, f"node {node} is on another machine called {host}", stored))
        elif state.machine != machine and node == own_node:
            findings.append(_double(patient, f"another machine, {state.host}, is node {node}", stored))
    known = _counted(len(states), "node")
    yield from findings or [("ok", f"{host} is one machine's name among {known} of this cell")]


def _double(patient: Patient, what: str, stored: Stored[NodeState]) -> Finding:
    silent_s = patient.server_time_s() - stored.at.timestamp()
    if silent_s < SILENT_AFTER_BEATS * stored.value.heartbeat_s:
        return "failed", f"{what}: one gets the other's locks; give each machine its own host name and node name"
    remedy = f"if that machine is no more, vcsctl nodes forget {stored.value.node}"
    return "warning", f"{what}, silent for {silent_s:.0f} s; {remedy}"


def permissions(patient: Patient) -> Iterator[Finding]:
    """Who can write these files decides what vcsd runs."""
    where = patient.where
    found, problems = scan(Layers(where.vendor_units, where.site_units))
    paths = [path for fragments in found.values() for path in fragments.paths]
    own = [path for path in (os.path.dirname(where.config_file), where.config_file) if os.path.exists(path)]
    faults = [problem for problem in problems if not problem.warning]
    faults += [problem for fragments in found.values() for problem in fragments.problems if not problem.warning]
    faults += [problem for path in (*own, *paths) if (problem := check_permissions(path))]
    yield from (("failed", str(problem)) for problem in faults)
    if not faults:
        yield "ok", f"vcs.yaml and what makes up {_counted(len(found), 'unit')} can be written by their owner alone"


def clock(patient: Patient) -> Iterator[Finding]:
    offset = patient.offset
    text = f"{abs(offset.offset_s):.3f} s {'ahead of' if offset.offset_s > 0 else 'behind'} the file server's,"
    text += f" ± {offset.doubt_s:.3f} s"
    if fault := clock_fault(patient.config.node, offset.offset_s, offset.doubt_s):
        yield "failed", fault
    elif offset.at_least_s > CLOCK_WARNING_S:
        yield "warning", f"{text}: slots start that much early or late; have NTP keep the clock"
    else:
        yield "ok", text


def root_user(patient: Patient) -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield "skipped", "whether the server maps root to another user (root_squash) only root can test"
        return
    with scratch_folder(patient.paths) as folder:
        owner = os.stat(folder).st_uid
    if owner == 0:
        yield "ok", "root stays root"
        return
    remedy = "let vcsd run as one and the same user on every node, or export the share with no_root_squash"
    yield "warning", f"the server maps root to uid {owner} (root_squash): {remedy}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _proved(prove: Callable[[str], None]) -> Check:
    def check(patient: Patient) -> Iterator[Finding]:
        with scratch_folder(patient.paths) as folder:
            prove(folder)
        yield "ok", ""

    return check


READING: dict[str, Check] = {
    "permissions": permissions,
    "shared directory": shared_directory,
    "mount": mount,
    "fence_after": fence,
    "cell": cell,
    "host names": host_names,
}
WRITING: dict[str, Check] = {
    **{name: _proved(prove) for name, prove in PROOFS.items()},
    "locks outlive their opener": _proved(locks_outlive_their_opener),
    "clock": clock,
    "root": root_user,
}


def examine(check: Check, patient: Patient) -> list[Finding]:
    try:
        return list(check(patient))
    except VcsError as error:
        return [("failed", str(error))]
