"""When the next consensus is to be fetched (SPEC 8).

That is counted in monotonic seconds from when the one in hand came, so a wall clock that jumps changes
nothing. Clients ask at a random moment between the next consensus and the end of this one; relays ask early,
so that they know a relay before clients extend to it. A consensus that our clock says is of the future binds
us to nothing: it came while our clock and the directory's were ahead, and the next one is due at once.
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
    """Of one node. `early`: it is a relay."""

    def __init__(self, clock: Clock, chance: Chance, *, early: bool) -> None:
        self._clock = clock
        self._chance = chance
        self._early = early
        self._consensus: Consensus | None = None
        self._interval = AGAIN_MOST_SECONDS
        self._came = 0.0
        """When the consensus in hand came, monotonic seconds."""
        self._came_wall = 0
        """What the wall clock showed then."""
        self._wait = 0.0
        """How many seconds after that the next one is to be fetched."""
        self._directory_not_before = 0.0
        self._wanted = Broadcast()

    def came(self, consensus: Consensus, interval_seconds: int, *, from_disk: bool) -> None:
        """This is the one in hand from now on."""
        self._consensus = consensus
        self._interval = float(interval_seconds)
        self._came, self._came_wall = self._clock.monotonic(), self._clock.wall()
        self._wait = self._wait_after(consensus, from_disk)

    def soon(self) -> None:
        """The next one is wanted now, whether due or not."""
        self._wanted.send()

    async def until_due(self) -> None:
        """Until the next one is wanted or due. If the wall clock went ahead, perhaps the machine was asleep:
        then those seconds count too."""
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
        """Whether it is more than something from the future. Either clock may vouch for it, so that a jump
        that does not last makes nothing of what we hold."""
        return is_begun(consensus, max(self._clock.wall(), self._clock.steady()))

    @property
    def again_seconds(self) -> float:
        """How long between two tries at most: no list is made more often than once an interval."""
        return min(AGAIN_MOST_SECONDS, max(1.0, self._interval / AGAIN_PART))

    def directory_may_be_asked(self) -> bool:
        """Whether a node that reaches no guard may ask the directory now. If so, not again for a while."""
        now = self._clock.monotonic()
        if now < self._directory_not_before:
            return False
        self._directory_not_before = now + self.again_seconds
        return True

    def _wait_after(self, consensus: Consensus, from_disk: bool) -> float:
        """How long after it came the next one is to be fetched: no longer than if it had just been made,
        however far our clock is behind. One that comes from the network and is overdue by an interval was
        made just now, too: it is our clock that is ahead, and asking each minute would not bring the next."""
        low, high = (0.02, 0.1) if self._early else (0.2, 0.9)
        interval = consensus.fresh_until - consensus.valid_after
        fresh = min(consensus.fresh_until - self._clock.steady(), interval)
        if fresh < -self._interval and not from_disk:
            fresh = interval
        return max(0.0, fresh + self._interval * self._chance.between(low, high))
