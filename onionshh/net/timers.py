"""All deadlines of a node: one heap, and one task that sleeps until the first.

A machine's entry in the heap has the time when its table (`core/base/timers.py`) was due at the last look.
The entry does not move when a deadline becomes later, as every frame does with SILENT and PADDING. The
machine comes up at the old time, has nothing to do, and gets a new entry. So a frame costs nothing here, and
an idle link costs one look per padding. It is rare that a deadline becomes earlier. The machine is then added
again, and its old entry is dropped when it comes up.

Each link sends at its own time, not together with all others. Otherwise the common moment would show which
links belong to one node. Only deadlines within `STEP_SECONDS` share a wake, so that thousands of links cause
at most a hundred wakes per second.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from onionshh.core.base.timers import NEVER, Timers
from onionshh.net.clocks import Clock
from onionshh.net.signals import Poke

STEP_SECONDS = 0.01


class Timed(Protocol):
    """A machine with deadlines."""

    @property
    def timers(self) -> Timers[Any]:
        """Its table, the same object as long as the machine lives."""

    def tick(self, now: float) -> None:
        """Do what is due, if anything."""


class TimerHeap:
    """Which machine is due when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timed]] = []
        self._number = itertools.count()
        self._sooner = Poke()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, machine: Timed) -> None:
        """Wait for this machine's first deadline. Call this again when a deadline has become earlier."""
        self._push(machine)
        if self._heap and self._heap[0][2] is machine:
            self._sooner.send()

    @property
    def first(self) -> float:
        """The earliest time at which a machine may be due."""
        return self._heap[0][0] if self._heap else NEVER

    async def run(self, act: Callable[[Sequence[Timed], float], None]) -> None:
        """Run until cancelled. `act` ticks the machines that are due. An error from `act` ends the node."""
        woke = -NEVER
        while True:
            with trio.move_on_at(max(self.first, woke + STEP_SECONDS)):
                await self._sooner.wait()
                continue
            woke = self._clock.monotonic()
            due = self._take(woke)
            act(due, woke)
            for machine in due:
                if machine.timers.awaited == NEVER:  # otherwise it was added during `act`
                    self._push(machine)  # and not `add`: this task is awake

    def _push(self, machine: Timed) -> None:
        at = machine.timers.wait()
        if at < NEVER:
            heapq.heappush(self._heap, (at, next(self._number), machine))

    def _take(self, now: float) -> list[Timed]:
        """Take the due machines, in order of time. Nobody waits for them until they are added again."""
        due: list[Timed] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, machine = heapq.heappop(self._heap)
            if machine.timers.awaited == at:
                machine.timers.awaited = NEVER
                due.append(machine)
        return due
