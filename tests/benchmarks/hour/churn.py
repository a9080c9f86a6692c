"""What happens meanwhile: relays leave, are killed and come back, hosts and the directory too."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.benchmarks.hour.programs import Program, World

EACH_SECONDS: Final = 25.0
"""On average, between two of these."""
STARTED_SECONDS: Final = 3.0
AWAY_SECONDS: Final = 20.0
"""On average; it may be none, as at an update."""


class Churn:
    """Draws what happens next. `happened` counts it."""

    def __init__(self, world: World, seed: int) -> None:
        self.happened: Counter[str] = Counter()
        self._world = world
        self._random = random.Random(seed)
        self._next = time.monotonic() + EACH_SECONDS
        self._back: list[tuple[float, Program]] = []

    def look(self) -> None:
        """Whatever is due now. It waits while a program ends."""
        now = time.monotonic()
        for due, program in [pair for pair in self._back if pair[0] <= now]:
            program.start()
            self._back.remove((due, program))
        if now >= self._next:
            self._next = now + self._random.expovariate(1 / EACH_SECONDS)
            self._draw()

    def all_back(self) -> None:
        """Nobody stays away."""
        for _, program in self._back:
            program.start()
        self._back.clear()

    @property
    def away(self) -> int:
        """How many are not there now."""
        return len(self._back)

    def _draw(self) -> None:
        chances: list[tuple[Callable[[], None], float]] = [
            (lambda: self._relay("leaves", signal.SIGTERM), 0.45),
            (lambda: self._relay("is killed", signal.SIGKILL), 0.2),
            (lambda: self._end("a host leaves", self._world.hosts, signal.SIGTERM), 0.1),
            (lambda: self._end("a host is killed", self._world.hosts, signal.SIGKILL), 0.05),
            (lambda: self._end("the directory restarts", [self._world.directory], signal.SIGTERM), 0.05),
            (self._ask, 0.15),
        ]
        what = self._random.choices([one for one, _ in chances], [weight for _, weight in chances])[0]
        what()

    def _relay(self, what: str, number: signal.Signals) -> None:
        if self.away <= len(self._world.relays) // 4:
            self._end(f"a relay {what}", self._world.relays, number)

    def _end(self, what: str, programs: list[Program], number: signal.Signals) -> None:
        there = [program for program in programs if program.runs]
        if there:
            program = self._random.choice(there)
            program.end(number)
            self._back.append((time.monotonic() + self._random.expovariate(1 / AWAY_SECONDS), program))
            self.happened[what] += 1

    def _ask(self) -> None:
        for program in self._world.served:
            # Before its first line of ours runs, a process has no handler of its own.
            if program.runs and time.monotonic() > program.started_at + STARTED_SECONDS:
                program.notify(signal.SIGUSR1)
        self.happened["all are asked for statistics"] += 1
