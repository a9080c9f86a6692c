"""The end of a relay, when there is time for it: no new links and circuits, then a wait for the old ones.

`relay/draining.py` has what is decided. Links over which no circuit is left end as well: a client whose guard
leaves shall see that its guard is gone, and go on with another. It would otherwise try again over a link that
is open, and be refused again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from onionshh.net.clocks import Clock
from onionshh.net.links import LinkSet
from onionshh.net.transport import Listener
from onionshh.reasons import Reason
from onionshh.relay.forward import Switch

LOOK_SECONDS = 0.1
"""How often a relay that leaves looks whether a circuit is left."""


class Leaving:
    """Waits for a relay's circuits to end."""

    def __init__(self, switch: Switch, links: LinkSet, listeners: Sequence[Listener], clock: Clock) -> None:
        self._switch = switch
        self._links = links
        self.listeners = listeners
        self._clock = clock
        self._begun = trio.Event()

    @property
    def begun(self) -> bool:
        """Whether it leaves."""
        return self._begun.is_set()

    async def until_then(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what a relay that leaves does no more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await self._begun.wait()
            nursery.cancel_scope.cancel()

    async def drain(self, seconds: float) -> int:
        """Take nothing new, and return once no circuit is left or the time is over. Returns how many are
        left. They end with their links."""
        self._begun.set()
        for listener in self.listeners:
            listener.close()
        self._switch.drain(self._clock.monotonic())
        with trio.move_on_after(seconds):
            while self._switch.busy:
                self._end_links()
                await trio.sleep(LOOK_SECONDS)
        return len(self._switch.circuits)

    def _end_links(self) -> None:
        for port in self._links.ports():
            if not port.legs and not port.creating and not port.outbox.waiting:
                self._links.end(port, Reason.NODE_CLOSED)
        self._links.flush()
