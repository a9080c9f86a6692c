"""Every deadline of a node: one heap, and one task that sleeps until the first.

A machine stands in the heap at the time when its table (`core/base/timers.py`) was due when it was last
looked at. Nothing is moved when a deadline is put off, as each frame puts off silence and padding: the
machine comes up at the old time, has nothing to do, and stands at the new one. So a frame costs nothing
here, and an idle link one look for each of its paddings. A deadline that comes nearer is the rare case; the
machine is then added once more, and its old entry is dropped when it comes up.

What is due leaves at its own time and not with everybody else's: else one instant would show which links
hang on one node. Only what falls within `STEP_SECONDS` shares a wake, so that thousands of links make no more
than a hundred wakes a second.
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
    """Whatever has deadlines."""

    @property
    def timers(self) -> Timers[Any]:
        """Its table, the same for as long as it lives."""

    def tick(self, now: float) -> None:
        """Act on what is due, if anything is."""


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
        """Wait for this machine's first deadline. To be called again whenever one has come nearer."""
        at = machine.timers.wait()
        if at < NEVER:
            heapq.heappush(self._heap, (at, next(self._number), machine))
            if self._heap[0][2] is machine:
                self._sooner.send()

    @property
    def first(self) -> float:
        """Nobody is due before this."""
        return self._heap[0][0] if self._heap else NEVER

    async def run(self, act: Callable[[Sequence[Timed], float], None]) -> None:
        """Until cancelled. `act` ticks those whose time has come; an error that leaves it ends the node."""
        woke = -NEVER
        while True:
            with trio.move_on_at(max(self.first, woke + STEP_SECONDS)):
                await self._sooner.wait()
                continue
            woke = self._clock.monotonic()
            due = self._take(woke)
            act(due, woke)
            for machine in due:
                if machine.timers.awaited == NEVER:  # or it was added while it acted
                    self.add(machine)

    def _take(self, now: float) -> list[Timed]:
        """The machines that come up, in order of time. Nobody waits for them until they are added again."""
        due: list[Timed] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, machine = heapq.heappop(self._heap)
            if machine.timers.awaited == at:
                machine.timers.awaited = NEVER
                due.append(machine)
        return due
