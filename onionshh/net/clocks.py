"""The one place that asks what time it is.

`monotonic` is trio's clock, so deadlines follow MockClock in tests without a word. `wall` is what this
machine says; given a start it follows trio's clock too, so that thirty hours pass in a test in seconds.

The wall clock may be wrong, and may jump. What a consensus has confirmed is `earliest`: the network's own
time when it was made, and the monotonic seconds since it came. It lags, by an interval or two, and never
leads by more than the 600 s that a consensus may be early. So whatever is forgotten or refused because its
time is over is judged by `earliest`, and dates that we write are `best`.

`steady` is the wall clock without jumps that do not last: somebody's NTP server that is wrong for some
seconds, a hand that sets the clock and sets it back. It is what an authority goes by, and how a node tells
a consensus from the future.
"""

from __future__ import annotations

import time

import trio

JUMP_SECONDS = 600
"""Clocks differ by as much anyway (SPEC 8): a change of less is followed at once."""
LASTS_SECONDS = 15.0
FORGOTTEN_SECONDS = 120.0
"""Two looks that far apart, between which nobody looked, may have seen two jumps that did not last."""


class Clock:
    """Both times of a node. `wall_start` (Unix seconds) fixes the wall clock to trio's for tests."""

    def __init__(self, wall_start: int | None = None) -> None:
        self._wall_start = wall_start
        self._trio_start = trio.current_time() if wall_start is not None else 0.0
        self._trio_clock: trio.abc.Clock | None = None
        self._confirmed: tuple[int, float] | None = None
        """Valid after of a consensus, and monotonic seconds when it came."""
        self._last = 0
        """Valid after of the consensus taken up last."""
        self._ahead: float | None = None
        """How far the wall clock is ahead of the monotonic one, as far as we believe it."""
        self._jumped: tuple[float, float] | None = None
        """Where it jumped to, which we do not believe yet, and monotonic seconds since when."""
        self._looked = 0.0
        self._rests_since = 0.0

    def monotonic(self) -> float:
        """Seconds, for deadlines and buckets."""
        clock = self._trio_clock
        if clock is None:  # looked up once: each pass of a relay begins here
            clock = self._trio_clock = trio.lowlevel.current_clock()
        return clock.current_time()

    def wall(self) -> int:
        """Unix seconds, for documents' dates."""
        if self._wall_start is None:
            return int(time.time())
        return self._wall_start + int(trio.current_time() - self._trio_start)

    def steady(self) -> int:
        """Unix seconds by the wall clock; a jump of more than 600 s counts once it has lasted 15 s."""
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
        """How many seconds `steady` has gone on without a jump that it followed."""
        self.steady()
        return self.monotonic() - self._rests_since

    def confirm(self, valid_after: int) -> None:
        """A consensus was taken up: it is no earlier than this (Unix seconds).

        One older than the last was taken because that one was from the future: then so was all it said.
        """
        if self._confirmed is None or valid_after < self._last or valid_after > self.earliest():
            self._confirmed = (valid_after, self.monotonic())
        self._last = valid_after

    def earliest(self) -> int:
        """Unix seconds that it is at least, as a consensus confirmed; 0 before the first one."""
        if self._confirmed is None:
            return 0
        valid_after, came = self._confirmed
        return valid_after + int(self.monotonic() - came)

    def best(self) -> int:
        """Unix seconds for the dates that we write: the steady ones, unless they are behind what is sure."""
        return max(self.steady(), self.earliest())
