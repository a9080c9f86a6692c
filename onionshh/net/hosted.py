"""A program whose main loop is the links' own selector, with trio as a guest on it.

A relay's work is frames that come and go. It needs trio for deadlines, new connections and documents. If trio
waited for frames, each frame would cost a round of trio's loop: wake a task, run its chain of awaits,
register again. This takes about 100 µs with cold caches. Here the program itself waits for the selector, and
a frame needs no task. Trio runs as a guest (`trio.lowlevel.start_guest_run`), with a thread that waits for
it.
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
    """A `Reader` that runs a whole program: use `run_program` instead of `trio.run`."""

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
        """Run an async function like `trio.run`, together with its links. May be called once."""
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
            raise RuntimeError("a hosted reader can serve only one set of links")
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
        except Exception as fault:  # our own fault: `run` raises it, not the loop
            self._fault = fault
            self._faulted.set()
            return False

    def _call_soon(self, call: Callable[[], object]) -> None:
        """Call this from any thread."""
        self._todo.append(call)
        with contextlib.suppress(BlockingIOError):  # the bell is already ringing
            self._ringer.send(b"\0")
