"""The one place that asks what time it is.

`monotonic` is trio's clock, so deadlines follow MockClock in tests without a word. `wall` judges the dates
of documents; given a start it follows trio's clock too, so that thirty hours pass in a test in seconds.
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
