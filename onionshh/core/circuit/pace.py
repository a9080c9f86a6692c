"""When the rounds of a circuit's set-up leave, so that their times do not show its length (SPEC 6).

A round that no EXTEND needs is an echo by the last relay. It comes back sooner than the EXTENDED of a further
relay. So the next round waits as long as a longer path would have taken. This time comes from the node's own
EXTENDs: how much longer a round took than the previous round on the same circuit. This difference fits a near
guard and a far guard. Nothing waits after the last round, or if every round is an EXTEND.

We cannot hide when an echo comes back: an observer of both directions of the first link sees a pause.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.circuit.circuit import SETUP_ROUNDS

KEPT: Final = 64
MOST_SECONDS: Final = 2.0
"""The longest pause, so that slow relays do not make every short circuit slow."""
SPREAD: Final = 0.1
"""A step varies by this part in both directions. Otherwise an observer would see the same value twice."""


class RoundTimes:
    """How much longer each recent round took than the round before it, in seconds, on one node."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        # Round 1 is the first after CREATE. Nothing waits after the last round.
        self._steps: tuple[deque[float], ...] = tuple(deque(maxlen=KEPT) for _ in range(1, SETUP_ROUNDS))

    @property
    def known(self) -> tuple[int, ...]:
        """How many steps are known for each round."""
        return tuple(len(steps) for steps in self._steps)

    def took(self, number: int, step: float) -> None:
        """The EXTEND of this round took `step` seconds longer than the round before it."""
        if number < SETUP_ROUNDS:
            self._steps[number - 1].append(step)

    def draw(self, number: int, before: float) -> float:
        """How long an EXTEND would take in this round, if the round before it took `before` seconds."""
        if number >= SETUP_ROUNDS:
            return 0.0
        steps = self._steps[number - 1]
        if steps:
            step = self._chance.choice(steps) * self._chance.between(1 - SPREAD, 1 + SPREAD)
        else:  # one more link than `number` links, all about equally long
            step = before / number * self._chance.between(0.5, 1.5)
        return min(max(before + step, 0.0), MOST_SECONDS)


class Pace:
    """The rounds of one circuit. Call it when a round leaves and when it is answered; wait until `due`."""

    __slots__ = ("_before", "_left_at", "_number", "_padded", "_times", "due")

    def __init__(self, times: RoundTimes) -> None:
        self._times = times
        self._number = 0
        """The current or next round; CREATE is number 0."""
        self._left_at = 0.0
        self._before = 0.0
        self._padded = False
        self.due = 0.0
        """The next round must not leave before this time, monotonic seconds."""

    @property
    def rounds(self) -> int:
        """How many rounds were answered after CREATE."""
        return max(0, self._number - 1)

    def left(self, now: float) -> None:
        """A round's cells leave."""
        self._left_at = now

    def answered(self, now: float, *, padding: bool) -> None:
        """The round's answer arrived. `padding`: it is an echo, not the answer to a CREATE or EXTEND."""
        took = now - self._left_at
        if padding:
            self._padded = True
            took = max(took, self._times.draw(self._number, self._before))
            self.due = self._left_at + took
        elif self._number and not self._padded:  # after a padding round, `before` is not a relay's time
            self._times.took(self._number, took - self._before)
        self._before = took
        self._number += 1
