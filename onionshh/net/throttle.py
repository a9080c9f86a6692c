"""A ceiling on the bytes a relay reads: who has spent more waits, and TCP makes the senders wait."""

from __future__ import annotations

import trio

from onionshh.net.clocks import Clock

BURST_SECONDS = 1.0


class Throttle:
    """So many bytes a second over all links, with a second's worth of burst."""

    def __init__(self, bytes_per_second: int, clock: Clock) -> None:
        self._rate = float(bytes_per_second)
        self._clock = clock
        self._free_at = 0.0

    async def spend(self, count: int) -> None:
        """Account for bytes read, and wait while the ceiling is passed."""
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + count / self._rate
        if self._free_at > now:
            await trio.sleep(self._free_at - now)
