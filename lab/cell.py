"""A file server and its nodes: machines with the project on them, its units and their vcsd. Judges nothing."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.channel import Done, NoAnswerError
from lab.image import Images, make_disk
from lab.machine import Machine, Wire
from lab.oracle import Oracle

SHARED = "/var/lib/vcs/shared"
SERVED = "/srv/vcs"
SERVER_ADDRESS = "10.77.0.1"
NFS4 = "vers=4.2"
SLOW_S = 120.0  # what a command on an emulated machine may take: an interpreter alone starts in a second or more


@dataclass(frozen=True, slots=True)
class Service:
    """A unit of the laboratory: its job tells the oracle that it lives, for `seconds`."""

    name: str
    groups: tuple[str, ...] = ()
    seconds: int = 10
    period: int | None = None  # minutes; None: only at request
    stubborn: bool = False  # notes TERM and goes on
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        words = ["/opt/lab/job", str(self.seconds), *(["stubborn"] if self.stubborn else [])]
        plan = {"schedule": "periodical", "period": self.period or 60, "enabled": self.period is not None}
        plan = {} if "schedule" in self.keys else plan
        content = {"title": f"Laboratory: {self.name}", **plan, "groups": list(self.groups), "exec": words, **self.keys}
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items())


class Cell:
    """Use it in a `with`: no machine outlives it."""

    def __init__(
        self,
        images: Images,
        services: Sequence[Service],
        *,
        nodes: int = 2,
        lease_s: int = 30,
        grace_s: int | None = None,
        keep: bool = False,
    ) -> None:
        self.services = list(services)
        self.lease_s, self.grace_s = lease_s, grace_s or lease_s
        self.id: str | None = None
        self.keep = keep
        self.folder = Path(tempfile.mkdtemp(prefix="vcs-lab-"))
        self.oracle = Oracle(self.groups_of)
        wire = Wire(random.randint(20000, 60000))
        names = ["share", *(f"bill{number}" for number in range(1, nodes + 1))]
        self.server, *self.nodes = (
            Machine(name, f"10.77.0.{number}", self.folder / name, images, wire, self.oracle)
            for number, name in enumerate(names, 1)
        )
        disk = self.folder / "share.img"
        make_disk(disk, 256)
        self.server.disks.append(disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in (*self.nodes, self.server):
            machine.power_off()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def groups_of(self, unit: str) -> tuple[str, ...]:
        return next((service.groups for service in self.services if service.name == unit), ())

    # Putting it up.

    def boot(self, *machines: Machine) -> None:
        """Switches machines on, all when none is named; the server serves when this returns."""
        chosen = machines or (self.server, *self.nodes)
        for machine in chosen:
            machine.start()
        for machine in chosen:
            machine.wait_up()
        if self.server in chosen:
            self.serve()

    def serve(self) -> None:
        self.server.must(f"/opt/lab/serve {self.lease_s} {self.grace_s}", timeout_s=SLOW_S)

    def mount(self, node: Machine, options: str = NFS4) -> None:
        start_statd = "pidof rpcbind >/dev/null || rpcbind -w; pidof rpc.statd >/dev/null || rpc.statd"
        if "vers=3" in options:
            node.must(start_statd, timeout_s=SLOW_S)
        source = f"{SERVER_ADDRESS}:{SERVED if 'vers=3' in options else '/'}"
        node.must(f"mkdir -p {SHARED} && mount -t nfs -o {options} {source} {SHARED}", timeout_s=SLOW_S)

    def configure(self, node: Machine, **keys: Any) -> None:
        """The node's vcs.yaml and the units, which are the same on all."""
        content = {"node": node.name, **({"cell": self.id} if self.id else {}), **keys}
        node.write("/etc/vcs/vcs.yaml", "".join(f"{key}: {json.dumps(value)}\n" for key, value in content.items()))
        for service in self.services:
            node.write(f"/etc/vcs/services.d/{service.name}.yaml", service.text)

    def make(self, node: Machine, **keys: Any) -> None:
        """`vcsctl init` on the mounted share; from then on every node is told which cell it belongs to."""
        self.configure(node, **keys)
        self.vcsctl(node, "init", must=True)
        self.id = json.loads(self.server.must(f"cat {SERVED}/cell.json"))["id"]

    def put_up(self, options: str = NFS4, **keys: Any) -> None:
        """Everything running: server, mounts, cell, one vcsd on each node."""
        self.boot()
        self.on_all(lambda node: self.mount(node, options))
        self.make(self.nodes[0], **keys)
        self.on_all(lambda node: self._join(node, **keys))

    def _join(self, node: Machine, **keys: Any) -> None:
        self.configure(node, **keys)
        self.start_vcsd(node)

    def on_all(self, act: Callable[[Machine], None]) -> None:
        """On all nodes at once: each waits for its own slow machine."""
        pool = ThreadPoolExecutor(len(self.nodes))
        try:
            list(pool.map(act, self.nodes))
        finally:
            pool.shutdown(wait=False)  # on Ctrl-C nobody waits for an answer: switching the machines off ends them all

    # vcsd and vcsctl on a node.

    def start_vcsd(self, node: Machine, *, wait: bool = True) -> None:
        before = self.log(node).count("services, shared directory")
        node.must("vcsd >>/var/log/vcsd.log 2>&1 </dev/null &")
        if wait:
            node.until(lambda: self.log(node).count("services, shared directory") > before, "vcsd says it runs", SLOW_S)

    def log(self, node: Machine) -> str:
        return node.run("cat /var/log/vcsd.log 2>/dev/null").output

    def kill_vcsd(self, node: Machine, signal: str = "KILL") -> None:
        node.must(f"kill -{signal} $(pgrep -o -f /opt/vcs/bin/vcsd)")

    def vcsctl(self, node: Machine, *words: str, must: bool = False, timeout_s: float = SLOW_S) -> Done:
        command = f"vcsctl {shlex.join(words)}"
        done = node.run(command, timeout_s=timeout_s)
        if must and not done.ok:
            raise NoAnswerError(f"{node.name}: {command}: exit {done.code}\n{done.output}")
        return done

    def machine_of(self, unit: str) -> Machine:
        """The node that its newest execution was seen on."""
        name = self.oracle.seen(unit)[-1].machine
        return next(node for node in self.nodes if node.name == name)

    def runner_of(self, key: str) -> int:
        """The pid of the newest runner on its own machine."""
        _, text = max(self.records(f"state/{key}/*.started"))
        return int(json.loads(text)["pid"])

    # What is on record, read on the server itself.

    def records(self, pattern: str) -> Iterator[tuple[str, str]]:
        """(name under the shared directory, text) of files; an empty one is left out, one just gone has no text."""
        read = '[ -s "$f" ] && echo "== $f" && cat "$f" 2>/dev/null && echo'
        listed = self.server.must(f"cd {SERVED} && for f in {pattern}; do {read}; done; true")
        for part in f"\n{listed}".split("\n== ")[1:]:
            name, _, text = part.partition("\n")
            yield name, text

    def rows(self) -> list[dict[str, Any]]:
        """The history of all services."""
        found = []
        for _, text in self.records("history/*/*.jsonl"):
            for line in text.splitlines():
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def claims(self) -> list[dict[str, Any]]:
        found = []
        for name, text in self.records("state/*/[0-9]*.json"):
            if not name.endswith(".end.json"):
                with contextlib.suppress(ValueError):  # pruned while it was read, since the history has it
                    found.append(json.loads(text))
        return found

    def wait_for(self, unit: str, count: int = 1, patience_s: float = SLOW_S, machine: str | None = None) -> float:
        """Until so many executions of a unit were seen; the beginning of the last of them."""
        give_up_s = time.monotonic() + patience_s
        while len(found := self.oracle.seen(unit, machine)) < count:
            if time.monotonic() > give_up_s:
                raise NoAnswerError(f"waited {patience_s:g} s in vain until {unit} ran {count} times; saw {len(found)}")
            time.sleep(0.05)
        return found[count - 1].began_at
