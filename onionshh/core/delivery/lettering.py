"""When a whisper is left in the other end's mailbox, because it does not arrive live (SPEC 14). Pure.

A whisper goes out live first. If two tries or 30 seconds bring no receipt, or nobody is there, it is left as
a letter, which the other end finds when it returns. Live tries go on. A whisper with little time left makes
no letter: the other end looks only every 10 to 20 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

LIVE_SECONDS: Final = 30.0
LIVE_TRIES: Final = 2
LEAST_SECONDS: Final = 600.0
"""A whisper with no more time than this makes no letter."""
_ROUNDING_SECONDS: Final = 0.001
"""Deadlines are sums: what has exactly that time may seem to have a little more."""


@dataclass(slots=True)
class Lettering:
    """The plan for one whisper. `until`: its deadline. Times are monotonic seconds."""

    until: float
    at: float = inf
    """When to leave it, if it has not arrived by then."""
    left: bool = False
    """Whether the driver was asked to leave it, or has left it in an earlier run."""
    _in_vain: int = 0
    _not_before: float = -inf

    def begin(self, now: float) -> None:
        """It was accepted: the live tries begin."""
        self._leave_at(now + LIVE_SECONDS)

    def in_vain(self, now: float) -> None:
        """One live try brought no receipt."""
        self._in_vain += 1
        if self._in_vain >= LIVE_TRIES:
            self._leave_at(now)

    def nobody(self, now: float) -> None:
        """Nobody is there, so live tries are in vain."""
        self._leave_at(now)

    def again(self, when: float) -> None:
        """It could not be left. It is tried again then, and not before."""
        self.left, self.at, self._not_before = False, inf, when
        self._leave_at(when)

    def was_left(self) -> None:
        """An earlier run has left it."""
        self.left, self.at = True, inf

    def due(self, now: float) -> bool:
        """Whether it is to be left now. It is the caller's turn then; later calls say no."""
        if now < self.at:
            return False
        self.at = inf
        if self.left or not self._is_worth_it(now):
            return False
        self.left = True
        return True

    def _leave_at(self, when: float) -> None:
        when = max(when, self._not_before)
        if not self.left and self._is_worth_it(when):
            self.at = min(self.at, when)

    def _is_worth_it(self, when: float) -> bool:
        """Whether there is time enough then."""
        return self.until - when > LEAST_SECONDS + _ROUNDING_SECONDS
