"""What a relay's switch leaves to be done: handshakes between reads, links for EXTENDs, the memory quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from onionshh.core.link.outbox import Memory
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.freed_memory import give_back
from onionshh.net.links import LinkFailed, LinkSet
from onionshh.relay.setup import WantedLink
from onionshh.relay.switch import Switch
from onionshh.wire.consensus import RelayRow

LINKS_WANTED_MOST = 1024
LINK_WANTED_MOST = 128
"""EXTENDs that may wait for links, in all and for one: a relay that is silent must not take every place."""
GIVE_BACK_CIRCUITS = 1000
"""So many circuits at rest since the last time are worth some milliseconds of giving back memory."""
HANDSHAKES_A_PASS = 8
"""Under two milliseconds in all, which is how long a forwarded cell may have to wait for them."""


class SwitchDriver:
    """Carries out what the switch leaves to be done. `find(id)` is the relay in either consensus."""

    def __init__(
        self,
        *,
        switch: Switch,
        clock: Clock,
        memory: Memory,
        find: Callable[[RelayId], RelayRow | None],
    ) -> None:
        self._switch = switch
        self._clock = clock
        self._memory = memory
        self._find = find
        self._nursery: trio.Nursery | None = None
        self._dialling: Counter[RelayId] = Counter()
        self._given_back = 0
        self.links: LinkSet | None = None
        """Set once the links, which need the switch, are made."""

    def after_read(self) -> bool:
        """Called after each pass over what the links brought; True while handshakes wait.

        A handshake is worth fifty forwarded cells, so whoever has bytes to read comes before the next few;
        a few at a time, so that their answers share frames.
        """
        switch = self._switch
        setup = switch.setup
        while setup.wanted_links:
            self._extend(setup.wanted_links.popleft())
        if self._memory.used_bytes > self._memory.most_bytes:
            while (port := switch.relieve()) is not None and self.links is not None:
                self.links.end(port, "memory")
        if not setup.handshakes_waiting:
            return False
        now = self._clock.monotonic()
        return all(switch.serve_handshake(now) for _ in range(HANDSHAKES_A_PASS))

    def tick(self, now: float) -> None:
        """About once a second."""
        self._switch.tick(now)
        if self._switch.rested - self._given_back >= GIVE_BACK_CIRCUITS:
            self._given_back = self._switch.rested
            give_back()

    async def run(self) -> None:
        """For ever: dials may be under way meanwhile."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await trio.sleep_forever()

    def _extend(self, wanted: WantedLink) -> None:
        port = self.links.open_to(wanted.relay) if self.links is not None else None
        if port is not None:
            self._switch.extend_over(wanted, port, self._clock.monotonic())
        elif self._nursery is None or not self._may_dial(wanted.relay):
            self._switch.extend_failed(wanted, self._clock.monotonic())
        else:
            self._dialling[wanted.relay] += 1
            self._nursery.start_soon(self._dial, wanted)

    def _may_dial(self, relay: RelayId) -> bool:
        return self._dialling[relay] < LINK_WANTED_MOST and self._dialling.total() < LINKS_WANTED_MOST

    async def _dial(self, wanted: WantedLink) -> None:
        links = self.links
        try:
            row = self._find(wanted.relay)
            if row is None or links is None:
                raise LinkFailed(Reason.EXTEND_UNKNOWN_RELAY)
            port = await links.to(row)
        except LinkFailed:
            self._switch.extend_failed(wanted, self._clock.monotonic())
        else:
            self._switch.extend_over(wanted, port, self._clock.monotonic())
        finally:
            self._dialling -= Counter((wanted.relay,))  # keeps none that are 0
        if links is not None:
            links.flush()
