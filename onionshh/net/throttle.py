"""A ceiling on the bytes that a relay reads.

A link that has spent more than its share of a second is not read for a while; TCP makes its sender wait.
"""

from __future__ import annotations

BURST_SECONDS = 1.0


class Throttle:
    """So many bytes a second over all links together, after a burst of as many as a second allows."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = float(bytes_per_second)
        self._free_at = 0.0

    def spend(self, count: int, now: float) -> float:
        """These bytes were read; returns for how many seconds their link must not be read."""
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._rate
        return max(0.0, self._free_at - now)
