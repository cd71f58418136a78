"""The process that keeps up the daemons which need no shared directory: the same node and loop, on this machine's own
cell. It never touches the share."""

from __future__ import annotations

import gc
import select
import signal
from dataclasses import dataclass

from vcsctl.catalog.snapshot import Snapshot, read_snapshot
from vcsctl.config import Config
from vcsctl.domain.outcome import StopRequest
from vcsctl.domain.unit import allowed_on, from_plain, needs_no_share
from vcsctl.errors import VcsError
from vcsctl.places import Places
from vcsctl.runners import cgroups
from vcsctl.runners.programs import missing_program
from vcsctl.runners.start import start
from vcsctl.runners.supervise import Runs, nudge
from vcsctl.store import last_runs, local_cell, state
from vcsctl.store.cell import Cell
from vcsctl.store.locks import NodeLock
from vcsctl.store.paths import Paths
from vcsctl.vcsd.clocks import Clocks
from vcsctl.vcsd.log import say
from vcsctl.vcsd.node import Node
from vcsctl.vcsd.permits import AskedPermits
from vcsctl.vcsd.presence import Machine
from vcsctl.vcsd.shutdown import stop_all
from vcsctl.vcsd.turns import Troubles, Turns, Wakeup

RELOAD, LOOK, GO_DOWN = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2  # what vcsd may want of this process
WISHES = (RELOAD, LOOK, GO_DOWN)


@dataclass(frozen=True, slots=True)
class Local:
    """What that process works with."""

    where: Places
    config: Config
    machine: Machine
    cell: Cell

    @property
    def paths(self) -> Paths:
        return Paths(self.where.local_cell)


def local_part(snapshot: Snapshot, config: Config) -> Snapshot:
    """The units that this node may run and that need no shared directory."""
    units = {}
    for name, compiled in snapshot.units.items():
        plain = compiled.plain
        if plain is not None and not compiled.masked and plain["schedule"] == "daemon":
            unit = from_plain(plain)
            if needs_no_share(unit) and allowed_on(unit, config.node, config.labels):
                units[name] = compiled._replace(problems=())  # vcsd itself says them
    return Snapshot(units, (), snapshot.made_by)


def look_after(local: Local) -> None:
    """Until the machine goes down, or vcsd is gone: that ends this process by a signal."""
    paths, config, clocks, troubles = local.paths, local.config, Clocks(), Troubles()
    poller = select.epoll()
    wakeup = Wakeup(poller, *WISHES)
    lock = NodeLock(paths, config.node)
    lock.take()
    node = Node(
        config=config,
        paths=paths,
        timezone=local.cell.timezone,
        machine=local.machine,
        lock=lock,
        fence_after_s=None,
        cgroup_base=cgroups.find_base(local.cell.id),
        clocks=clocks,
        runs=Runs(poller),
        start_runner=start,
        missing=missing_program,
        daemons=local.where.daemons,
        part="local",
        publishes=False,  # vcsd does, for all that is told on this machine
        permits=AskedPermits(local.where.permits, clocks),
    )
    last_runs.compact(paths, config.node)
    _end_former_names(local)
    node.begin(_begun(local, _snapshot(local)))
    turns = Turns(node, paths, config, clocks, poller, wakeup, troubles)
    gc.collect()
    gc.freeze()  # as in vcsd itself
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
    while not wakeup.take(GO_DOWN):
        if wakeup.take(RELOAD):
            _reload(local, node)
        if wakeup.take(LOOK):
            troubles.guarded(node.loop.observe)
        turns.one()
    stop_all(turns, paths, config.node)


def _end_former_names(local: Local) -> None:
    """What was started while this node had another name is nobody else's: here, too, it is not wanted any more."""
    for claim, started in local_cell.living(local.paths):
        if started.boot_id == local.machine.boot_id and not claim.key.endswith(f"@{local.config.node}"):
            wish = StopRequest("vcsd", local.config.node, f"its node is {local.config.node} now", "unwanted")
            state.write_stop(local.paths, claim.key, claim.fence, wish)
            nudge(started.pid, started.pid_started)
            say(f"{claim.run_id}: told to stop: {wish.reason}")


def _reload(local: Local, node: Node) -> None:
    try:
        node.adopt(_begun(local, _snapshot(local)))
    except VcsError as error:
        say(str(error))


def _snapshot(local: Local) -> Snapshot:
    snapshot = read_snapshot(local.where.snapshot)
    if snapshot is None:
        raise VcsError(f"cannot read {local.where.snapshot} back; see to the disk it lies on")
    return local_part(snapshot, local.config)


def _begun(local: Local, snapshot: Snapshot) -> Snapshot:
    for name in snapshot.units:
        local_cell.begin_numbers(local.paths, f"{name}@{local.config.node}", local.config.node)
    return snapshot
