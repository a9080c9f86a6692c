"""When the rounds of a circuit's set-up leave, so that their times do not show its length (SPEC 6).

A round that no EXTEND needs is an echo by the last relay, and comes back sooner than the EXTENDED of a
further relay would. So the round after it waits for as long as a longer path would have taken. How long
that is comes from this node's own EXTENDs: by how much a round took longer than the one before it on the
same circuit, since that fits whichever guard is at hand, near or far. Nothing waits after the last round,
and nothing where every round is an EXTEND.

When an echo comes back is not ours to hide: who sees both directions of the first link sees a pause.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.circuit.circuit import SETUP_ROUNDS

KEPT: Final = 64
MOST_SECONDS: Final = 2.0
"""The longest pause: relays that answer slowly shall not make every short circuit as slow."""
SPREAD: Final = 0.1
"""A step is drawn with so much to either side, or the very same one would be seen twice."""


class RoundTimes:
    """By how much each round lately took longer than the one before it, seconds; of one node."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        # Round 1 is the first after CREATE; nothing waits after the last.
        self._steps: tuple[deque[float], ...] = tuple(deque(maxlen=KEPT) for _ in range(1, SETUP_ROUNDS))

    @property
    def known(self) -> tuple[int, ...]:
        """How many steps are known of each round."""
        return tuple(len(steps) for steps in self._steps)

    def took(self, number: int, step: float) -> None:
        """The EXTEND of this round took so much longer than the round before it."""
        if number < SETUP_ROUNDS:
            self._steps[number - 1].append(step)

    def draw(self, number: int, before: float) -> float:
        """How long an EXTEND would take as this round, when the round before it took `before` seconds."""
        if number >= SETUP_ROUNDS:
            return 0.0
        steps = self._steps[number - 1]
        if steps:
            step = self._chance.choice(steps) * self._chance.between(1 - SPREAD, 1 + SPREAD)
        else:  # one link more than `number` links, each about as long
            step = before / number * self._chance.between(0.5, 1.5)
        return min(max(before + step, 0.0), MOST_SECONDS)


class Pace:
    """The rounds of one circuit. It is told when one leaves and when it was answered; wait until `due`."""

    __slots__ = ("_before", "_left_at", "_number", "_padded", "_times", "due")

    def __init__(self, times: RoundTimes) -> None:
        self._times = times
        self._number = 0
        """The round under way or next; CREATE is number 0."""
        self._left_at = 0.0
        self._before = 0.0
        self._padded = False
        self.due = 0.0
        """Monotonic seconds before which the next round shall not leave."""

    @property
    def rounds(self) -> int:
        """Rounds answered since CREATE was."""
        return max(0, self._number - 1)

    def left(self, now: float) -> None:
        """A round's cells leave."""
        self._left_at = now

    def answered(self, now: float, *, padding: bool) -> None:
        """Its answer is there. `padding`: an echo, not what CREATE or EXTEND asked for."""
        took = now - self._left_at
        if padding:
            self._padded = True
            took = max(took, self._times.draw(self._number, self._before))
            self.due = self._left_at + took
        elif self._number and not self._padded:  # after a padding round, `before` says nothing of a relay
            self._times.took(self._number, took - self._before)
        self._before = took
        self._number += 1
