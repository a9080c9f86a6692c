"""The links that a node has, from the first byte of their handshake: started, found, flushed, ended.

Every link whose outbox got cells since the last flush is flushed once. So all cells for one neighbour leave
in one frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from onionshh.core.base.addresses import host_group
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.link.link import Link, LinkInitiator, LinkResponder
from onionshh.core.link.outbox import Memory, Outbox
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.core.link.strangers import Strangers
from onionshh.ids import RelayId
from onionshh.net.link_driver import LinkDriver, Sent
from onionshh.net.timers import TimerHeap
from onionshh.net.transport import Reader, Stream
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.net")


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Numbers of one node's links."""

    relays: int
    """Open links that lead to relays."""
    clients: int
    """Open links to anyone who is not a relay."""
    opening: int
    """Handshakes in progress, whoever began them."""
    dialling: int
    """Relays that we are dialling now."""
    addresses: int
    """Addresses from which others opened links, with handshakes counted."""
    cells_sent: int
    """Cells that have left, with padding counted."""
    frames_sent: int
    """Frames that have left."""
    bytes_sent: int
    """Bytes that the kernel has taken, with handshakes counted."""
    bytes_received: int
    """Bytes that have come, with handshakes counted."""
    unsent_bytes: int
    """Sealed bytes that the kernel has not taken yet."""
    deadlines: int
    """Entries in the heap of deadlines."""

    @property
    def open(self) -> int:
        """Open links of both kinds."""
        return self.relays + self.clients


class OpenLinks:
    """The `Home` of all links of a node. Each link is added to `timers`."""

    def __init__(
        self,
        *,
        sink: FrameSink,
        reader: Reader,
        timers: TimerHeap,
        params: Callable[[], Params],
        memory: Memory,
        drops: Drops,
    ) -> None:
        self.sink = sink
        self.reader = reader
        self.timers = timers
        self.sent = Sent()
        self.strangers: Strangers[LinkDriver] = Strangers(params)
        self.touched: list[Outbox] = []
        """Outboxes into which something was pushed since the last `flush`."""
        self._memory = memory
        self._drops = drops
        self._drivers: dict[LinkDriver, None] = {}  # in order, so that a seed decides all draws
        self._by_outbox: dict[Outbox, LinkDriver] = {}
        self._by_peer: dict[RelayId, LinkDriver] = {}

    @property
    def count(self) -> int:
        """How many links there are, with unfinished handshakes counted."""
        return len(self._drivers)

    def start(self, stream: Stream, machine: Link, now: float) -> LinkDriver:
        """Start a link on this stream."""
        driver = LinkDriver(stream=stream, machine=machine, home=self)
        self._drivers[driver] = None
        if isinstance(machine, LinkResponder):
            self.strangers.add(stream.host, driver)
        driver.start(now)
        return driver

    def to(self, relay: RelayId) -> LinkPort | None:
        """The link to the relay, if one is open."""
        driver = self._by_peer.get(relay)
        return driver.port if driver is not None and driver.machine.is_open else None

    def peers(self) -> list[RelayId]:
        """The relays that open links lead to."""
        return [peer for peer, driver in self._by_peer.items() if driver.machine.is_open]

    def ports(self) -> list[LinkPort]:
        """The open links, oldest first."""
        return [driver.port for driver in self._drivers if driver.port is not None and driver.machine.is_open]

    def statistics(self, dialling: int) -> LinkStatistics:
        """How many links of each kind there are, and how much has left over them."""
        ports = self.ports()
        relays = sum(port.peer is not None for port in ports)
        return LinkStatistics(
            relays=relays,
            clients=len(ports) - relays,
            opening=len(self._drivers) - len(ports),
            dialling=dialling,
            addresses=self.strangers.addresses,
            cells_sent=self.sent.cells,
            frames_sent=self.sent.frames,
            bytes_sent=self.sent.bytes,
            bytes_received=self.sent.bytes_received,
            unsent_bytes=sum(driver.unsent_bytes for driver in self._drivers),
            deadlines=len(self.timers),
        )

    def flush(self, now: float) -> None:
        """Send what waits on all links that got cells."""
        while self.touched:
            touched, self.touched[:] = self.touched[:], []
            for outbox in touched:
                outbox.untouch()
                driver = self._by_outbox.get(outbox)
                try:
                    if driver is not None:
                        driver.flush(now)
                except Exception:
                    self.fault(driver, now)

    def end(self, port: LinkPort, reason: Reason, now: float) -> None:
        """End one link without sending anything more."""
        driver = self._by_outbox.get(port.outbox)
        if driver is not None:
            driver.abandon(reason, now)

    def end_all(self, reason: Reason, now: float) -> None:
        """End all links, because the node closes."""
        for driver in list(self._drivers):
            driver.close(reason, now)

    def make_room(self, now: float) -> None:
        """End the idlest link of the address that has most: the one with fewest circuits, idle longest."""
        idlest = min(self.strangers.of_the_largest(), key=LinkDriver.in_use, default=None)
        if idlest is not None:
            idlest.close(Reason.NO_ROOM, now)
            self.flush(now)  # circuits that ended with it may have queued cells on other links

    def fault(self, driver: LinkDriver | None, now: float) -> None:
        """Our own code failed because of somebody's bytes. End only that link, not the others."""
        what = "what links left to do" if driver is None else "a link"
        logger.exception("ended by a fault of this program: %s", what)
        self._drops.count(Reason.INTERNAL_FAULT)
        if driver is not None:
            try:
                driver.abandon(Reason.LINK_FAULTY, now)
            except Exception:
                logger.exception("a link that ended by a fault could not be cleared away whole")

    # Home.

    def opened(self, driver: LinkDriver, peer: RelayId | None, now: float) -> LinkPort:
        """A port for the new link. From now on `to` returns a relay's link."""
        port = LinkPort(
            self._memory,
            self.touched,
            peer=peer,
            initiated=isinstance(driver.machine, LinkInitiator),
            host=host_group(driver.stream.host),
            now=now,
        )
        self._by_outbox[port.outbox] = driver
        if peer is not None:
            self._by_peer[peer] = driver
        return port

    def ended(self, driver: LinkDriver, reason: Reason) -> None:
        """Forget the link and count the reason."""
        self._drops.count(reason)
        self._drivers.pop(driver, None)
        port = driver.port
        if port is not None:
            self._by_outbox.pop(port.outbox, None)
            if port.peer is not None and self._by_peer.get(port.peer) is driver:
                del self._by_peer[port.peer]
        if isinstance(driver.machine, LinkResponder):
            self.strangers.remove(driver.stream.host, driver)
