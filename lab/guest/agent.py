#!/usr/bin/python3 -SE
"""Does on a machine what the laboratory asks for over a virtio port: one JSON line a request, one a reply.

Each request has a thread of its own: a command that hangs on dead storage must not keep the next from being asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from typing import Any

PATH = "/opt/vcs/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_port() -> str:
    while True:
        for name in os.listdir("/sys/class/virtio-ports") if os.path.isdir("/sys/class/virtio-ports") else ():
            with open(f"/sys/class/virtio-ports/{name}/name") as file:
                if file.read().strip() == "agent":
                    return f"/dev/{name}"
        time.sleep(0.2)  # the driver is still finding its ports


def run(request: dict[str, Any]) -> dict[str, Any]:
    began_s = time.monotonic()
    child = subprocess.Popen(
        ["/bin/sh", "-c", request["command"]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"}, cwd="/", text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = child.communicate(request.get("input", ""), timeout=request["timeout_s"])
        code = child.returncode
    except subprocess.TimeoutExpired as error:
        os.killpg(child.pid, 9)
        output, code = (error.stdout or b"").decode(errors="replace"), None
    return {"id": request["id"], "code": code, "output": output, "took_s": time.monotonic() - began_s}


def main() -> None:
    port = os.open(find_port(), os.O_RDWR)
    turn = threading.Lock()

    def answer(request: dict[str, Any]) -> None:
        try:
            reply = run(request)
        except OSError as error:
            reply = {"id": request["id"], "code": None, "output": str(error), "took_s": 0.0}
        line = (json.dumps(reply) + "\n").encode()
        with turn:
            while line:
                line = line[os.write(port, line) :]

    with turn:
        os.write(port, b'{"id": 0}\n')
    pending = b""
    while True:
        chunk = os.read(port, 65536)
        if not chunk:
            time.sleep(0.1)  # nobody is connected on the other side
            continue
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()


main()
