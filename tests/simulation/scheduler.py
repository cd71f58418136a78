"""Virtual time and the processes that live in it. Knows no file, no lock and no fault.

Each task is a greenlet. It runs until it asks for time; then whoever is due first runs. What is killed never does
anything again: its pending call raises `Killed`, and so does every later one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

import greenlet


class Killed(BaseException):
    """The process is no more. Not an Exception: nothing may catch it and go on."""


class Task:
    """One thread of a process."""

    __slots__ = ("due", "epoch", "green", "process")

    def __init__(self, process: Process, work: Callable[[], None], hub: greenlet.greenlet) -> None:
        self.process = process
        self.green = greenlet.greenlet(work, hub)
        self.epoch = 0  # grows with each wake-up: what was arranged for an earlier wait is void
        self.due = False  # was to run while its process was stopped


class Process:
    """A process of one node: its tasks, whether it is stopped, and what happens when it ends."""

    def __init__(self, scheduler: Scheduler, name: str, node: Any, parent: Process | None = None) -> None:
        self.scheduler = scheduler
        self.name = name
        self.node = node
        self.parent = parent
        self.pid = scheduler.next_pid()
        self.started_ticks = int(scheduler.now * 100)
        self.tasks: list[Task] = []
        self.alive = True
        self.stopped = 0  # how many reasons there are for it to stand still
        self.status = 0  # as waitpid tells it
        self.at_end: list[Callable[[Process], None]] = []
        self.locked_at: float | None = None  # when it last took a lock: whatever it reads after that is newer
        self.files: Any = None  # the table of descriptors, kept by the file system

    def run(self, work: Callable[[], None]) -> None:
        """Starts the main task; the process ends with it."""

        def main() -> None:
            try:
                work()
            except Killed:
                return
            self.scheduler.at(self.scheduler.now, lambda: self.end(self.status))

        self.beside(main)

    def beside(self, work: Callable[[], None]) -> None:
        """Starts a further task, which ends with the process."""

        def guarded() -> None:
            try:
                work()
            except Killed:
                return
            except Exception as error:  # noqa: BLE001 - told by the scheduler, outside of any task
                self.scheduler.broken = self.scheduler.broken or error

        task = Task(self, guarded, self.scheduler.hub)
        self.tasks.append(task)
        self.scheduler.wake(task)

    def end(self, status: int) -> None:
        """Only from outside of any task: the scheduler's own events."""
        if not self.alive:
            return
        self.alive = False
        self.status = status
        for task in self.tasks:
            task.epoch += 1
            if task.green and not task.green.dead:
                current, self.scheduler.current = self.scheduler.current, task
                task.green.throw(Killed)
                self.scheduler.current = current
        self.tasks.clear()
        for ended in self.at_end:
            ended(self)

    def kill(self, status: int = 9) -> None:
        """As soon as nobody runs: a process may kill itself or its neighbour."""
        self.scheduler.at(self.scheduler.now, lambda: self.end(status))

    def stop(self) -> None:
        self.stopped += 1

    def go_on(self) -> None:
        self.stopped -= 1
        if not self.stopped:
            for task in self.tasks:
                if task.due:
                    self.scheduler.wake(task)


class Scheduler:
    def __init__(self, seed: int, began_at: float = 0.0) -> None:
        self.random = Random(seed)
        self.now = began_at
        self.current: Task | None = None
        self.hub = greenlet.getcurrent()
        self.broken: BaseException | None = None
        self._heap: list[tuple[float, int, Task | Callable[[], None], int]] = []
        self._count = 0
        self._horizon = began_at
        self._pid = 100

    def next_pid(self) -> int:
        self._pid += 1
        return self._pid

    def at(self, moment: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, event, 0))

    def wake(self, task: Task, after_s: float = 0.0) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + after_s, self._count, task, task.epoch))

    def sleep(self, seconds: float) -> None:
        """The current task lets time pass."""
        task = self.current
        assert task is not None
        if not task.process.alive:
            raise Killed
        until = self.now + seconds
        if until > self._horizon or (self._heap and self._heap[0][0] <= until):
            self._count += 1
            heapq.heappush(self._heap, (until, self._count, task, task.epoch))
            self.hub.switch()
        else:
            self.now = until  # nobody else is due before

    def wait(self, seconds: float | None = None) -> None:
        """The current task waits until somebody wakes it, at most so long."""
        task = self.current
        assert task is not None
        if not task.process.alive:
            raise Killed
        if seconds is not None:
            self.wake(task, max(0.0, seconds))
        self.hub.switch()

    def run(self, until: float) -> None:
        """Lets everything happen up to that moment. Raises what a task did not catch."""
        heap = self._heap
        self._horizon = until
        while heap and heap[0][0] <= until:
            moment, _, what, epoch = heapq.heappop(heap)
            if moment > self.now:
                self.now = moment
            if not isinstance(what, Task):
                what()
            elif what.epoch == epoch and what.process.alive:
                if what.process.stopped:
                    what.due = True
                    continue
                what.due = False
                what.epoch += 1
                self.current = what
                what.green.switch()
                self.current = None
            if self.broken is not None:
                raise self.broken
        self.now = max(self.now, until)
