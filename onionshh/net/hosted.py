"""A program whose main loop is the links' own selector, with trio as a guest on it.

A relay's work is frames that come and frames that go; trio is needed for deadlines, dials and documents.
Where trio waits, each frame costs a round of trio's loop: wake a task, run it down its chain of awaits,
register anew, some 100 µs with cold caches. Here the program waits for the selector itself, and a frame
meets no task at all. Trio does its own work meanwhile as a guest (`trio.lowlevel.start_guest_run`), with a
thread that waits in its place.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from onionshh.net.tcp import TcpReader
from onionshh.net.transport import Watched, Work

if TYPE_CHECKING:
    import outcome

T = TypeVar("T")


class HostedReader(TcpReader):
    """A `Reader` that a whole program runs on: `run_program` in place of `trio.run`."""

    def __init__(self) -> None:
        super().__init__()
        self._todo: deque[Callable[[], object]] = deque()
        self._work: Work | None = None
        self._fault: BaseException | None = None
        self._faulted = trio.Event()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    def run_program(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run an async function as `trio.run` would, and its links beside it. May be called once."""
        ended: list[outcome.Outcome[T]] = []
        trio.lowlevel.start_guest_run(
            main,
            run_sync_soon_threadsafe=self._call_soon,
            run_sync_soon_not_threadsafe=self._todo.append,
            done_callback=ended.append,
        )
        more = False
        while not ended:
            ready = self._ready(0 if self._todo or more else None)
            if ready or more:
                more = self._worked(ready)
            for _ in range(len(self._todo)):
                self._todo.popleft()()
        self._selector.close()
        self._bell.close()
        self._ringer.close()
        return ended[0].unwrap()

    async def run(self, work: Work) -> None:
        if self._work is not None:
            raise RuntimeError("one set of links hangs on a hosted reader")
        self._work = work
        try:
            await self._faulted.wait()
            if self._fault is not None:
                raise self._fault
        finally:
            self._work = None

    def _ready(self, timeout: float | None) -> list[Watched]:
        ready = super()._ready(timeout)
        if None in ready:
            with contextlib.suppress(BlockingIOError):
                self._bell.recv(4096)
            ready = [watched for watched in ready if watched is not None]
        return ready

    def _worked(self, ready: list[Watched]) -> bool:
        if self._work is None:
            return False
        try:
            return self._work(ready)
        except Exception as fault:  # a fault of ours: it comes out where the links run, not in the loop
            self._fault = fault
            self._faulted.set()
            return False

    def _call_soon(self, call: Callable[[], object]) -> None:
        """From any thread."""
        self._todo.append(call)
        with contextlib.suppress(BlockingIOError):  # it rings already
            self._ringer.send(b"\0")
