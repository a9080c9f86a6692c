"""The one place that asks what time it is.

`monotonic` is trio's clock, so deadlines follow MockClock in tests without a word. `wall` is what this
machine says; given a start it follows trio's clock too, so that thirty hours pass in a test in seconds.

The wall clock may be wrong, and may jump. What a consensus has confirmed is `earliest`: the network's own
time when it was made, and the monotonic seconds since it came. It lags, by an interval or two, and never
leads by more than the 600 s that a consensus may be early. So whatever is forgotten or refused because its
time is over is judged by `earliest`, and dates that we write are `best`.
"""

from __future__ import annotations

import time

import trio


class Clock:
    """Both times of a node. `wall_start` (Unix seconds) fixes the wall clock to trio's for tests."""

    def __init__(self, wall_start: int | None = None) -> None:
        self._wall_start = wall_start
        self._trio_start = trio.current_time() if wall_start is not None else 0.0
        self._trio_clock: trio.abc.Clock | None = None
        self._confirmed: tuple[int, float] | None = None
        """Valid after of a consensus, and monotonic seconds when it came."""

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

    def confirm(self, valid_after: int) -> None:
        """A consensus was taken up: it is no earlier than this (Unix seconds)."""
        if self._confirmed is None or valid_after > self.earliest():
            self._confirmed = (valid_after, self.monotonic())

    def earliest(self) -> int:
        """Unix seconds that it is at least, as a consensus confirmed; 0 before the first one."""
        if self._confirmed is None:
            return 0
        valid_after, came = self._confirmed
        return valid_after + int(self.monotonic() - came)

    def best(self) -> int:
        """Unix seconds for the dates that we write: the wall clock's, unless it is behind what is sure."""
        return max(self.wall(), self.earliest())
