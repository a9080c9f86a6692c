"""Gives each whisper of `host` to whoever handles whispers at that moment, which SIGHUP may change.

No whisper is lost and none is handled twice when that changes:

- A way of handling gets a whisper only when it has room for it. The whisper then stays with it until it is
  finished or let go, whatever comes later.
- A change ends only the wait for the next whisper. What came in just that moment goes back to the endpoint.
- What the old way could not handle and keeps for another try, it lets go. The endpoint shows it again, and
  the new way gets it.
"""

from __future__ import annotations

from typing import Protocol

import trio

from onionshh.cli.handling import Patience, Tally
from onionshh.client.endpoint import Endpoint
from onionshh.client.whisper import Whisper


class Way(Protocol):
    """One way of handling whispers."""

    async def room(self) -> None:
        """Wait until one more whisper has a place, and take the place."""

    def no_whisper(self) -> None:
        """The place that `room` took is not needed."""

    async def handle(self, whisper: Whisper, left: trio.Event) -> None:
        """Handle a whisper, and free its place. `left` is set when another way has come: what would be tried
        again is let go then."""


class Taking:
    """Takes the whispers of one endpoint. `way`: who handles them at first."""

    def __init__(self, way: Way, patience: Patience, tally: Tally) -> None:
        self._way = way
        self._patience = patience
        self._tally = tally
        self._left = trio.Event()
        """Set when another way comes."""
        self._waiting = trio.CancelScope()
        """The wait for the next whisper."""

    def use(self, way: Way) -> None:
        """From the next whisper on this way handles them."""
        if way is not self._way:
            self._way = way
            left, self._left = self._left, trio.Event()
            left.set()
            self._waiting.cancel()

    async def run(self, endpoint: Endpoint) -> None:
        """Take whispers until the endpoint is closed."""
        async with trio.open_nursery() as nursery:
            while await self._take(endpoint, nursery):
                pass
            nursery.cancel_scope.cancel()

    async def _take(self, endpoint: Endpoint, nursery: trio.Nursery) -> bool:
        """Take the next whisper, if it comes before the way changes. False once the endpoint is closed."""
        way = self._way
        with trio.CancelScope() as self._waiting:
            await way.room()
            whisper: Whisper | None = None
            try:
                whisper = await self._patience.next(endpoint)
            finally:
                if whisper is None:
                    way.no_whisper()
            if whisper is None:
                return False
            self._tally.taken += 1
            nursery.start_soon(way.handle, whisper, self._left)
        return True
