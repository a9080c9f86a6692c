"""A ceiling on the bytes a relay reads: who has spent more waits, and TCP makes the senders wait."""

from __future__ import annotations

BURST_SECONDS = 1.0


class Throttle:
    """So many bytes a second over all links, with a second's worth of burst."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = float(bytes_per_second)
        self._free_at = 0.0

    def spend(self, count: int, now: float) -> float:
        """Account for bytes read; how many seconds whoever read them must wait for more."""
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._rate
        return max(0.0, self._free_at - now)
