"""Readiness and health by tcp, http, a command, and time."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rig import Rig

from vcsctl.runners import probes

SLEEPER = "/bin/sleep", "1000"


@contextmanager
def web_server(status: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health?x=1"
    finally:
        server.shutdown()
        server.server_close()


def test_http_is_well_with_2xx_and_3xx_only() -> None:
    for status, answer in ((200, ""), (302, ""), (404, "status 404"), (503, "status 503")):
        with web_server(status) as url:
            assert probes.http(url, 10) == answer


def test_what_does_not_speak_http_or_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert probes.tcp(f"127.0.0.1:{port}", 10) == ""
        assert probes.tcp(str(port), 10) == ""
        assert probes.http(f"http://localhost:{port}", 0.2) == "no answer in time"
    assert probes.tcp(f"127.0.0.1:{port}", 10) == "connection refused"


def test_ready_when_its_port_answers_and_unhealthy_when_it_does_no_more(rig: Rig) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    server.close()
    program = rig.script(f"""
import socket
def until(name):
    while not os.path.exists(name): time.sleep(0.01)
until("listen")
server = socket.create_server(("127.0.0.1", {port}))
until("deaf")
server.close()
os.unlink("deaf")
until("listen again")
server = socket.create_server(("127.0.0.1", {port}))
until("deaf")
server.close()
until("never")
""")
    health = {"tcp": f"127.0.0.1:{port}", "period": 0.2, "threshold": 8}
    rig.start(*program, ready={"tcp": str(port)}, health=health, restart="never")
    assert rig.until_phase("starting").healthy is None
    (rig.root / "listen").touch()
    rig.until_phase("up")
    rig.until(lambda: (told := rig.told()) and told.healthy, "it is healthy")
    (rig.root / "deaf").touch()
    rig.until(lambda: (told := rig.told()) and told.healthy is False, "it is not healthy")
    told = rig.told()
    assert told is not None
    assert told.health_why == f"tcp 127.0.0.1:{port}: connection refused"
    (rig.root / "listen again").touch()
    rig.until(lambda: (told := rig.told()) and told.healthy, "it is healthy again")
    (rig.root / "deaf").touch()
    end = rig.until_over()
    assert end.cause == "unhealthy"
    assert end.why == f"unhealthy: tcp 127.0.0.1:{port}: connection refused, 8 times; restart: never"


def test_ready_by_a_command_and_after_a_time(rig: Rig) -> None:
    rig.start(*SLEEPER, ready={"exec": ("/bin/sh", "-c", f"test -e {rig.root}/good")})
    rig.until_phase("starting")
    (rig.root / "good").touch()
    rig.until_phase("up")
    rig.stop()
    rig.until_over()
    rig.start(*SLEEPER, ready={"after": 0.5})
    rig.until_phase("starting")
    told = rig.until_phase("up")
    assert told.began_at is not None
    assert (told.since - told.began_at).total_seconds() >= 0.5


def test_a_probe_that_hangs_holds_nobody_up_and_leaves_nothing(rig: Rig) -> None:
    hangs = ("/bin/sh", "-c", f"echo $$ >> {rig.root}/probes; sleep 500 & sleep 500")
    rig.start(*SLEEPER, health={"exec": hangs, "period": 0.1, "timeout": 0.5, "threshold": 100})
    rig.until(lambda: len(rig.written("probes")) >= 2, "it was asked twice")
    told = rig.told()
    assert told is not None
    assert told.healthy is False
    assert told.health_why.endswith("no answer in time")
    first = int(rig.written("probes")[0])
    rig.until(lambda: not sessions(first), "nothing of the first one is left")
    rig.stop()
    assert rig.until_over().cause == "stop-requested"


def test_while_a_name_server_hangs_no_second_probe_is_begun() -> None:
    """Nothing ends a thread that waits for a name; each is asked for at its time, and has failed at its timeout."""
    program = """
import socket, threading, time
from vcsctl.domain.unit import Health
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.probes import Question
answers = threading.Event()
def hangs(*_, **__):
    answers.wait()
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    socket.getaddrinfo, machine = hangs, DaemonMachine(None)
    health = Health(tcp=f"name:{port}", period=1, timeout=1, threshold=3)
    def ask(seconds):
        question = Question(machine, health, None, time.monotonic() + seconds)
        while (answer := question.answer()) is None:
            machine.wait(0.01)
        return answer
    print([ask(0.1) for _ in range(4)], threading.active_count() - 1)
    threading.Timer(0.1, answers.set).start()
    print(repr(ask(20)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    hangs = "no answer in time: an older probe hangs still, as when a name server does"
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{['no answer in time', hangs, hangs, hangs]} 1", "''"]


def test_a_probe_for_which_there_is_no_thread_has_failed() -> None:
    program = """
import threading, time
from vcsctl.domain.unit import Health
from vcsctl.runners.daemon_machine import DaemonMachine
from vcsctl.runners.probes import Question
threading.stack_size(1 << 46)
health = Health(tcp="localhost:1", period=1, timeout=1, threshold=3)
print(Question(DaemonMachine(None), health, None, time.monotonic() + 1).answer())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("cannot ask: can't start new thread\n", "")


def sessions(leader: int) -> list[int]:
    from vcsctl.runners import proc

    return [pid for pid in proc.descendants_of(1) if proc.session_of(pid) == leader]
