"""A simulated machine: its clocks, its mount, its processes; power, freezes. Knows nothing of what runs on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tests.simulation.client import Client, Server
from tests.simulation.posix import close_all, fork_files
from tests.simulation.scheduler import Process, Scheduler
from vcsctl.vcsd.clocks import Clocks


class Node:
    def __init__(
        self, scheduler: Scheduler, server: Server, name: str, lease_s: float | None, soft_s: float | None
    ) -> None:
        self.scheduler = scheduler
        self.server = server
        self.name = name
        self.lease_s = lease_s
        self.soft_s = soft_s
        self.clock_offset_s = 0.0
        self.on = False
        self.frozen = False
        self.boots = 0
        self.booted_at = 0.0
        self.client: Client = None  # type: ignore[assignment]  # from the first boot on
        self.processes: dict[int, Process] = {}
        self.cgroups: dict[str, set[Process]] = {}
        self.power_is_off: list[Callable[[], None]] = []

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot-{self.boots}"

    def wall(self) -> float:
        return self.scheduler.now + self.clock_offset_s

    def since_boot(self) -> float:
        return self.scheduler.now - self.booted_at + 10.0

    # Power.

    def boot(self) -> None:
        if self.client is not None:
            self.client.discard()
        self.boots += 1
        self.booted_at = self.scheduler.now
        self.client = Client(self.server, self.name, self.lease_s, self.soft_s)
        self.on = True

    def power_off(self) -> None:
        """Whatever runs is gone at once, and so is what the kernel had not written out."""
        self.on = False
        self.client.power_off()
        for process in list(self.processes.values()):
            process.files = {}
            process.end(9)
        self.cgroups.clear()
        if self.frozen:
            self.frozen = False
        for told in self.power_is_off:
            told()

    def freeze(self) -> None:
        """The whole machine stands still, its kernel too."""
        if not self.frozen:
            self.frozen = True
            self.client.stand_still()
            for process in self.processes.values():
                process.stop()

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self.client.move_again()
            for process in self.processes.values():
                process.go_on()

    # Processes.

    def process(self, name: str, parent: Process | None = None, descriptors: tuple[int, ...] = ()) -> Process:
        made = Process(self.scheduler, name, self, parent)
        if parent is not None:
            fork_files(parent, made, list(descriptors))
        else:
            made.files = {}
        self.processes[made.pid] = made
        made.at_end.append(self._ended)
        return made

    def _ended(self, process: Process) -> None:
        close_all(process)
        self.processes.pop(process.pid, None)
        for members in self.cgroups.values():
            members.discard(process)


class NodeClocks(Clocks):
    """vcsd's clocks on a simulated node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        super().__init__()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._node.wall(), UTC)

    def monotonic(self) -> float:
        return self._node.since_boot()

    def boottime(self) -> float:
        return self._node.since_boot()

    def sleep(self, seconds: float) -> None:
        self._node.scheduler.sleep(seconds)
