"""The socket of vcsd with real clients: short and long answers, those who do not read, those who say nothing."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from vcsctl.vcsd.control import Control, Reply, ask

LONG = {"ok": True, "texts": ["services.d/nightly.yaml:4: period: cannot be negative"] * 20_000}
PATIENCE_S = 10.0


class Served:
    """A Control that answers every request with LONG, turned by `until`."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "vcsd.sock")
        self.poller = select.epoll()
        self.control = Control(self.path, self.poller, self._answer)
        self.beside = ThreadPoolExecutor(2)

    def _answer(self, request: dict[str, Any], reply: Reply) -> None:
        reply(LONG)

    def until_told(self, asked: Future[Any]) -> Any:
        give_up_s = time.monotonic() + PATIENCE_S
        while not asked.done():
            assert time.monotonic() < give_up_s, f"no answer within {PATIENCE_S:g} s"
            self.turn()
        return asked.result()

    def turn(self) -> None:
        self.control.take([descriptor for descriptor, _ in self.poller.poll(0.05)])

    def ask(self) -> Any:
        return self.until_told(self.beside.submit(ask, self.path, {"do": "reload"}))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.beside.shutdown()


def test_an_answer_longer_than_the_socket_takes_at_once_comes_whole(served: Served) -> None:
    assert served.ask() == LONG


def test_who_does_not_read_an_answer_keeps_nobody_waiting(served: Served) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(served.path)
        client.sendall(b'{"do": "reload"}')
        served.turn()
        served.turn()
        assert served.ask() == LONG
    served.turn()
    assert served.ask() == LONG


def test_who_says_nothing_gives_way(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(64):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(served.path)
            served.turn()
        assert_there_is_room_soon(served)


def test_who_never_reads_an_answer_gives_way(served: Served) -> None:
    with ExitStack() as stack:
        for _ in range(64):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(served.path)
            client.sendall(b'{"do": "reload"}')
            served.turn()
            served.turn()
        assert_there_is_room_soon(served)


def assert_there_is_room_soon(served: Served) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while (answer := served.ask()) is None:
        assert time.monotonic() < give_up_s, f"no room within {PATIENCE_S:g} s"
    assert answer == LONG
