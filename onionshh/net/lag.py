"""How late the event loop is: the delay with which a task runs that was due."""

from __future__ import annotations

import trio

LOOK_SECONDS = 1.0


class LoopLag:
    """Looks once a second, while it runs."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = trio.current_time() + LOOK_SECONDS
            await trio.sleep_until(due)
            self.was_late(trio.current_time() - due)

    def was_late(self, seconds: float) -> None:
        """A task was late by so much."""
        self._longest = max(self._longest, seconds)

    def take(self) -> float:
        """The longest delay since the last call, in seconds."""
        longest, self._longest = self._longest, 0.0
        return longest
