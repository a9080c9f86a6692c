"""Whether an endpoint believes that strangers can reach it, and when it tests that again (SPEC 11).

This is a pure machine. A test gives None if it arrived, or why it did not. A failed test may be bad luck. So
a reachable endpoint says that it is unreachable only after two failed tests in a row. A certain loss counts
at once.

    state           a test arrived    a test failed                         lost (for certain)
    not reachable   reachable         not reachable, for this reason now    the same
    reachable       reachable         reachable; the second time not        not reachable

The next test comes soon while there is a problem, otherwise from time to time, and at once after a certain
loss.
"""

from __future__ import annotations

import math

from onionshh.core.base.chance import Chance
from onionshh.core.endpoint.publication import ANOTHER

SETTLED_SECONDS = 300.0
UNSETTLED_SECONDS = 3.0
DISPUTED_SECONDS = 30.0
LOST_AFTER = 2
"""Tests that must fail in a row before the endpoint says it is unreachable."""

NO_INTRODUCER = "it has no introducer"
NO_GUARD = "no guard answers"


class ReachabilityState:
    """The state of one endpoint. Inputs return whether `reachable` has changed."""

    def __init__(self, chance: Chance, now: float) -> None:
        self._chance = chance
        self._reachable = False
        self._why = "it has just started"
        self._since = now
        """When the endpoint started or was last reachable."""
        self._took = 0.0
        self._tested_at = 0
        self._failures = 0
        self._next_test = now

    @property
    def reachable(self) -> bool:
        """Whether a stranger's introduction would arrive, as far as we know."""
        return self._reachable

    @property
    def why(self) -> str:
        """Why it is not reachable, in words. Empty while it is reachable."""
        return self._why

    @property
    def tested_at(self) -> int:
        """When the last test ended, Unix seconds; 0 before the first."""
        return self._tested_at

    def seconds(self, now: float) -> float:
        """How long it has been unreachable. While it is reachable, how long that took."""
        return self._took if self._reachable else now - self._since

    def next_deadline(self) -> float:
        """When the next test is due, monotonic seconds."""
        return self._next_test

    def testing(self) -> None:
        """A test begins."""
        self._next_test = math.inf

    def tested(self, why: str | None, now: float, wall: int, *, settled: bool, disputed: bool) -> bool:
        """A test ended. `settled`: there are as many introducers as there should be. `disputed`: another
        program has our identity."""
        self._tested_at = wall
        if disputed:
            pause = DISPUTED_SECONDS
        else:
            pause = SETTLED_SECONDS if why is None and settled else UNSETTLED_SECONDS
        # If reachability was lost during the test, the next test is still at once.
        self._next_test = min(self._next_test, now + pause * self._chance.between(0.7, 1.3))
        if why is None:
            self._failures = 0
            return self._gain(now)
        self._failures += 1
        # One failed test may be bad luck; these reasons are certain.
        if self._failures >= LOST_AFTER or not self._reachable or why in (NO_GUARD, ANOTHER):
            return self._lose(why, now)
        return False

    def lost(self, why: str, now: float) -> bool:
        """It is certain that nobody reaches us, or that another program took our place."""
        self._next_test = now
        return self._lose(why, now)

    def _gain(self, now: float) -> bool:
        if self._reachable:
            return False
        self._took = now - self._since
        self._reachable, self._why = True, ""
        return True

    def _lose(self, why: str, now: float) -> bool:
        was, self._reachable, self._why = self._reachable, False, why
        if was:
            self._since = now
        return was
