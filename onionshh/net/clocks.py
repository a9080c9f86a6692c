"""The only place that reads a clock.

`monotonic` is trio's clock, so deadlines follow MockClock in tests without extra code. `wall` is this
machine's clock. With a given start it also follows trio's clock, so that thirty hours in a test pass in
seconds.

The wall clock may be wrong and may jump. `earliest` is the time that a consensus has confirmed: the network's
time when the consensus was made, plus the monotonic seconds since it arrived. It is late by an interval or
two. It is never early by more than the 600 s that a consensus may be early. So `earliest` decides when
something is forgotten or refused because its time is over. The dates that we write are `best`.

`steady` is the wall clock without short jumps, for example from an NTP server that is wrong for some seconds,
or a person who sets the clock and sets it back. An authority uses it, and a node uses it to recognise a
consensus from the future.
"""

from __future__ import annotations

import time

import trio

JUMP_SECONDS = 600
"""Clocks may differ by this much anyway (SPEC 8), so a smaller change is followed at once."""
LASTS_SECONDS = 15.0
FORGOTTEN_SECONDS = 120.0
"""If nobody looked for this long, a jump seen before and a jump seen now may be two short jumps."""


class Clock:
    """Both clocks of a node. `wall_start` (Unix seconds) ties the wall clock to trio's clock for tests."""

    def __init__(self, wall_start: int | None = None) -> None:
        self._wall_start = wall_start
        self._trio_start = trio.current_time() if wall_start is not None else 0.0
        self._trio_clock: trio.abc.Clock | None = None
        self._confirmed: tuple[int, float] | None = None
        """Valid-after of a consensus, and when it arrived in monotonic seconds."""
        self._last = 0
        """Valid-after of the consensus that was accepted last."""
        self._ahead: float | None = None
        """How far the wall clock is ahead of the monotonic clock, if we believe the wall clock."""
        self._jumped: tuple[float, float] | None = None
        """A jump that we do not believe yet: the new offset, and since when in monotonic seconds."""
        self._looked = 0.0
        self._rests_since = 0.0

    def monotonic(self) -> float:
        """Seconds, for deadlines and buckets."""
        clock = self._trio_clock
        if clock is None:  # looked up once, because each pass of a relay begins here
            clock = self._trio_clock = trio.lowlevel.current_clock()
        return clock.current_time()

    def wall(self) -> int:
        """Unix seconds, for documents' dates."""
        if self._wall_start is None:
            return int(time.time())
        return self._wall_start + int(trio.current_time() - self._trio_start)

    def steady(self) -> int:
        """Unix seconds by the wall clock. A jump of more than 600 s counts after it has lasted 15 s."""
        now, wall = self.monotonic(), self.wall()
        ahead = wall - now
        if self._ahead is not None and abs(ahead - self._ahead) > JUMP_SECONDS:
            seen = self._jumped if now <= self._looked + FORGOTTEN_SECONDS else None
            if seen is None or abs(ahead - seen[0]) > JUMP_SECONDS:
                seen = (ahead, now)
            self._jumped = seen
            self._looked = now
            if now < seen[1] + LASTS_SECONDS:
                return int(now + self._ahead)
            self._rests_since = now
        elif self._ahead is None:
            self._rests_since = now
        self._ahead, self._jumped = ahead, None
        return wall

    def rested(self) -> float:
        """How many seconds have passed since `steady` last followed a jump."""
        self.steady()
        return self.monotonic() - self._rests_since

    def confirm(self, valid_after: int) -> None:
        """A consensus was accepted, so the time is at least `valid_after` (Unix seconds).

        An older consensus than the last is accepted only if the last was from the future. Then the time that
        the last one confirmed was wrong too.
        """
        if self._confirmed is None or valid_after < self._last or valid_after > self.earliest():
            self._confirmed = (valid_after, self.monotonic())
        self._last = valid_after

    def earliest(self) -> int:
        """The time in Unix seconds that a consensus has confirmed as passed; 0 before the first consensus."""
        if self._confirmed is None:
            return 0
        valid_after, came = self._confirmed
        return valid_after + int(self.monotonic() - came)

    def best(self) -> int:
        """Unix seconds for the dates that we write: the later of `steady` and `earliest`."""
        return max(self.steady(), self.earliest())
