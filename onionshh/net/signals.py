"""Two ways for one task to wake others.

`Broadcast` wakes all tasks that wait at that moment. `Poke` remembers: a task that waits now, or the next one
that waits, continues once. Neither carries data, so a task that wakes must look for itself.
"""

from __future__ import annotations

import trio


class Broadcast:
    """Wakes all tasks that wait now."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def send(self) -> None:
        """Wake all waiting tasks."""
        event, self._event = self._event, trio.Event()
        event.set()

    def ticket(self) -> trio.Event:
        """An event that the next `send` sets: for who looks at something first, and may await there."""
        return self._event

    async def wait(self) -> None:
        """Wait for the next `send`."""
        await self._event.wait()


class Poke:
    """For one waiting task, which misses nothing."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def send(self) -> None:
        """There is something to look at."""
        self._event.set()

    @property
    def is_sent(self) -> bool:
        """Whether the next `wait` returns at once."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait for `send`. Returns at once if it was called since the last wait."""
        await self._event.wait()
        self._event = trio.Event()
