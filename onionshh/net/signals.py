"""Two ways in which one task wakes others.

`Broadcast` wakes everyone who waits at that moment, as often as it is sent. `Poke` remembers: whoever waits
next, or waits already, goes on once. Neither carries anything; whoever wakes looks for itself.
"""

from __future__ import annotations

import trio


class Broadcast:
    """Everyone who waits now."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def send(self) -> None:
        """Wake all who wait."""
        event, self._event = self._event, trio.Event()
        event.set()

    async def wait(self) -> None:
        """Until the next `send`."""
        await self._event.wait()


class Poke:
    """One waiter, and nothing is missed."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def send(self) -> None:
        """There is something to look at."""
        self._event.set()

    async def wait(self) -> None:
        """Until `send`, at once if it came since the last wait."""
        await self._event.wait()
        self._event = trio.Event()
