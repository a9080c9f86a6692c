"""A limit on how many bytes a relay reads per second.

A link that has used more than its share of a second is not read for a while. TCP makes its sender wait.
"""

from __future__ import annotations

BURST_SECONDS = 1.0


class Throttle:
    """This many bytes per second over all links together, after a burst of one second's bytes."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = float(bytes_per_second)
        self._free_at = 0.0

    def spend(self, count: int, now: float) -> float:
        """`count` bytes were read. Returns for how many seconds their link must not be read."""
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._rate
        return max(0.0, self._free_at - now)
