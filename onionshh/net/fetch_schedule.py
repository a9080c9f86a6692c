"""When to fetch the next consensus (SPEC 8).

The time counts in monotonic seconds from the arrival of the present consensus, so a jump of the wall clock
changes nothing. Clients ask at a random moment between the next consensus and the end of this one. Relays ask
early, so that they know a relay before clients extend to it. A consensus from the future by our clock does
not count: it arrived while our clock and the directory's were ahead, and the next one is due at once.
"""

from __future__ import annotations

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.trust import is_begun
from onionshh.net.clocks import JUMP_SECONDS, Clock
from onionshh.net.signals import Broadcast
from onionshh.wire.consensus import Consensus

AGAIN_MOST_SECONDS = 60.0
AGAIN_PART = 6
NAP_SECONDS = 60.0


class FetchSchedule:
    """The schedule of one node. `early`: the node is a relay."""

    def __init__(self, clock: Clock, chance: Chance, *, early: bool) -> None:
        self._clock = clock
        self._chance = chance
        self._early = early
        self._consensus: Consensus | None = None
        self._interval = AGAIN_MOST_SECONDS
        self._came = 0.0
        """When the present consensus arrived, monotonic seconds."""
        self._came_wall = 0
        """What the wall clock showed then."""
        self._wait = 0.0
        """How many seconds after that to fetch the next one."""
        self._directory_not_before = 0.0
        self._wanted = Broadcast()

    def came(self, consensus: Consensus, interval_seconds: int, *, from_disk: bool) -> None:
        """This is the present consensus from now on."""
        self._consensus = consensus
        self._interval = float(interval_seconds)
        self._came, self._came_wall = self._clock.monotonic(), self._clock.wall()
        self._wait = self._wait_after(consensus, from_disk)

    def soon(self) -> None:
        """Fetch the next one now, even if it is not due."""
        self._wanted.send()

    async def until_due(self) -> None:
        """Wait until the next one is wanted or due. If the wall clock jumped ahead, the machine may have
        slept, so those seconds count too."""
        while self._consensus is not None and self.counts(self._consensus):
            now = self._clock.monotonic()
            asleep = (self._clock.wall() - self._came_wall) - (now - self._came)
            due = self._came + self._wait - (asleep if asleep > JUMP_SECONDS else 0.0)
            if now >= due:
                return
            with trio.move_on_at(min(due, now + NAP_SECONDS)):
                await self._wanted.wait()
                return

    def counts(self, consensus: Consensus) -> bool:
        """Whether the consensus is not from the future. One of the two clocks is enough, so that a short jump
        does not make our consensus worthless."""
        return is_begun(consensus, max(self._clock.wall(), self._clock.steady()))

    @property
    def again_seconds(self) -> float:
        """The longest time between two tries. A list is made only once per interval."""
        return min(AGAIN_MOST_SECONDS, max(1.0, self._interval / AGAIN_PART))

    def directory_may_be_asked(self) -> bool:
        """Whether a node that reaches no guard may ask the directory now. If so, not again for a while."""
        now = self._clock.monotonic()
        if now < self._directory_not_before:
            return False
        self._directory_not_before = now + self.again_seconds
        return True

    def _wait_after(self, consensus: Consensus, from_disk: bool) -> float:
        """How long after its arrival to fetch the next one: never longer than if it was made just now, even
        if our clock is behind. If a consensus from the network seems late by an interval, our clock is ahead.
        Then it also counts as made just now: asking every minute would not bring the next one."""
        low, high = (0.02, 0.1) if self._early else (0.2, 0.9)
        interval = consensus.fresh_until - consensus.valid_after
        fresh = min(consensus.fresh_until - self._clock.steady(), interval)
        if fresh < -self._interval and not from_disk:
            fresh = interval
        return max(0.0, fresh + self._interval * self._chance.between(low, high))
