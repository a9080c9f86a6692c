"""The trio side of a relay's switch: handshakes between reads, links for EXTENDs, the memory quota."""

from __future__ import annotations

from collections.abc import Callable

import trio

from onionshh.core.outbox import Memory
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.links import LinkFailed, LinkSet
from onionshh.wire.consensus import RelayRow
from relay.setup import WantedLink
from relay.switch import Switch

LINKS_WANTED_MOST = 1024


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
        self._handshake_waits = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._dialling = 0
        self.links: LinkSet | None = None
        """Set once the links, which need the switch, are made."""

    def after_read(self) -> None:
        """Called after the frames of one read, and after each tick."""
        switch = self._switch
        if switch.setup.handshakes_waiting:
            self._handshake_waits.set()
        while switch.setup.wanted_links:
            wanted = switch.setup.wanted_links.popleft()
            if self._nursery is None or self._dialling >= LINKS_WANTED_MOST:
                switch.extend_failed(wanted, self._clock.monotonic())
                continue
            self._dialling += 1
            self._nursery.start_soon(self._extend, wanted)
        if self._memory.used_bytes > self._memory.most_bytes:
            switch.relieve()

    async def run(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            while True:
                await self._handshake_waits.wait()
                self._handshake_waits = trio.Event()
                while self._switch.serve_handshake(self._clock.monotonic()):
                    self._flush()
                    # Whoever waits to read comes first: a handshake is worth fifty forwarded cells.
                    await trio.lowlevel.checkpoint()

    async def _extend(self, wanted: WantedLink) -> None:
        try:
            row = self._find(wanted.relay)
            if row is None or self.links is None:
                raise LinkFailed("not in the consensus")
            port = await self.links.to(row)
        except LinkFailed:
            self._switch.extend_failed(wanted, self._clock.monotonic())
        else:
            self._switch.extend_over(wanted, port, self._clock.monotonic())
        finally:
            self._dialling -= 1
        self._flush()

    def _flush(self) -> None:
        if self.links is not None:
            self.links.flush()
