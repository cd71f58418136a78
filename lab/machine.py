"""One emulated machine: power, cable, clock, commands. Knows nothing of cells and services."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.channel import Agent, Done, Monitor, NoAnswerError
from lab.image import Images
from lab.oracle import Oracle

BOOT_S = 240.0  # generous: 11 to 20 s alone, several times that on a busy machine
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Wire:
    """The network that the machines of one laboratory share: a multicast group on the loopback, private by its port."""

    port: int

    def device(self, address: str) -> list[str]:
        last = int(address.rsplit(".", 1)[1])
        where = f"mcast=230.77.0.1:{self.port},localaddr=127.0.0.1"
        card = f"virtio-net-pci,netdev=wire,id=card,mac=52:54:00:77:00:{last:02x},romfile="
        return ["-netdev", f"socket,id=wire,{where}", "-device", card]


class Machine:
    def __init__(self, name: str, address: str, folder: Path, images: Images, wire: Wire, oracle: Oracle) -> None:
        self.name = name  # of the laboratory; the host name may be another machine's
        self.address = address
        self.host_name = name
        self.clock_offset_s = 0.0
        self.disks: list[Path] = []
        self.folder = folder
        self._images, self._wire, self._oracle = images, wire, oracle
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: Agent | None = None
        self._monitor: Monitor | None = None

    # Power.

    def start(self) -> None:
        """Switches it on; `wait_up` tells when it can be used."""
        self.folder.mkdir(exist_ok=True)
        for socket in self.folder.glob("*.sock"):
            socket.unlink()
        with (self.folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_us
            )
        self._oracle.listen(self.name, self.folder / "oracle.sock")
        self._monitor = Monitor(self.folder / "monitor.sock")
        self._agent = Agent(self.folder / "agent.sock")

    def wait_up(self) -> None:
        assert self._agent is not None
        give_up_s = time.monotonic() + BOOT_S
        while not self._agent.ready.wait(1.0):
            if not self.is_on or time.monotonic() > give_up_s:
                raise NoAnswerError(f"{self.name} has not come up; its console said:\n{self.console[-2000:]}")
        self.set_clock(self.clock_offset_s)

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def power_off(self) -> float:
        """As a cut of the mains: nothing is written, nobody is told. When it was, by this machine's clock."""
        if self._process is None:
            return time.monotonic()
        self._process.kill()
        self._process.wait()
        gone_s = time.monotonic()
        self._process = None
        for channel in (self._agent, self._monitor):
            if channel is not None:
                channel.close()
        self._agent = self._monitor = None
        self._oracle.forget(self.name)
        return gone_s

    # Network and clock.

    def cut(self) -> float:
        """Pulls the network cable."""
        self._ask_qemu("set_link", name="card", up=False)
        return time.monotonic()

    def heal(self) -> float:
        self._ask_qemu("set_link", name="card", up=True)
        return time.monotonic()

    def set_clock(self, offset_s: float) -> None:
        """This many seconds before or after the clock of the machine the laboratory runs on."""
        self.clock_offset_s = offset_s
        asked_s = time.monotonic()
        self.run("true")
        half_s = (time.monotonic() - asked_s) / 2  # the way there takes about so long
        self.must(f"date -s @{time.time() + offset_s + half_s:.3f}")

    # Commands.

    def run(self, command: str, *, timeout_s: float = 60.0, input: str = "") -> Done:  # noqa: A002
        if self._agent is None:
            raise NoAnswerError(f"{self.name} is off")
        return self._agent.run(command, timeout_s=timeout_s, input=input)

    def must(self, command: str, *, timeout_s: float = 60.0, input: str = "") -> str:  # noqa: A002
        done = self.run(command, timeout_s=timeout_s, input=input)
        if not done.ok:
            raise NoAnswerError(f"{self.name}: {command[:200]}: exit {done.code}\n{done.output[-2000:]}")
        return done.text

    def write(self, path: str, text: str, mode: str = "644") -> None:
        quoted = shlex.quote(path)
        self.must(
            f"mkdir -p {shlex.quote(os.path.dirname(path))} && cat >{quoted} && chmod {mode} {quoted}", input=text
        )

    def until(self, holds: Callable[[], object], what: str, patience_s: float, pause_s: float = 0.5) -> float:
        """Polls; how long it took. Raises NoAnswerError with what was waited for."""
        began_s = time.monotonic()
        while not holds():
            if time.monotonic() - began_s > patience_s:
                raise NoAnswerError(f"{self.name}: waited {patience_s:g} s in vain until {what}")
            time.sleep(pause_s)
        return time.monotonic() - began_s

    @property
    def console(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "console.log").read_text(errors="replace")
        return ""

    def _ask_qemu(self, command: str, **arguments: object) -> None:
        if self._monitor is None:
            raise NoAnswerError(f"{self.name} is off")
        self._monitor.ask(command, **arguments)

    def _command(self) -> list[str]:
        identity = hashlib.md5(f"vcs-lab {self.name}".encode(), usedforsecurity=False).hexdigest()
        words = f"lab.name={self.host_name} lab.address={self.address} lab.id={identity}"
        disks = [
            f"file={path},format=raw,if=virtio,readonly=on" for path in (self._images.system, self._images.project)
        ]
        disks += [f"file={path},format=raw,if=virtio,cache=writethrough" for path in self.disks]
        here = self.folder
        return [
            *("qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-m", "512", "-smp", "1"),
            *("-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-name", self.name),
            *("-kernel", str(self._images.kernel), "-initrd", str(self._images.initrd)),
            *("-append", f"console=ttyS0 loglevel=4 panic=-1 mitigations=off rdinit=/init {words}"),
            *(word for disk in disks for word in ("-drive", disk)),
            *("-serial", f"file:{here}/console.log"),
            *("-chardev", f"socket,id=oracle,path={here}/oracle.sock,server=on,wait=off", "-serial", "chardev:oracle"),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={here}/agent.sock,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=agent"),
            *("-qmp", f"unix:{here}/monitor.sock,server=on,wait=off"),
            *self._wire.device(self.address),
        ]


def _die_with_us() -> None:
    """In the child: no machine survives the laboratory, however that ends; and no Ctrl-C reaches it past us."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
