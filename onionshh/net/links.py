"""Every link of one node: dialled once, shared by all circuits, ticked together.

Whatever came over all links is worked off in one pass, and then every link that was touched is flushed, so
that what leaves for one neighbour leaves in one frame. A dial belongs to the node, not to whoever asked
first, so a cancelled caller takes no link from others.

Deadlines are looked at for all links together, once in a second or more; but each link's padding leaves at
its own time, or one instant would show which links hang on one node.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from onionshh.core.base.addresses import host_group
from onionshh.core.base.buckets import Buckets
from onionshh.core.base.chance import Chance
from onionshh.core.base.holders import Holders
from onionshh.core.base.params import Params
from onionshh.core.base.reasons import Drops
from onionshh.core.base.timers import Timetable
from onionshh.core.link.link import LinkInitiator, LinkResponder
from onionshh.core.link.outbox import Memory, Outbox
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.net.background import background
from onionshh.net.clocks import Clock
from onionshh.net.link_driver import LinkDriver
from onionshh.net.throttle import Throttle
from onionshh.net.transport import Dialer, Listener, NoRoom, Reader, Stream, StreamBroken, Watched
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.net")

TICK_LEAST_SECONDS = 1.0
TICK_MOST_SECONDS = 5.0
PADDING_STEP_SECONDS = 0.01
"""Padding that is due within it leaves in one wake, so thousands of links make a hundred wakes a second."""
ADDRESSES_MOST = 4096
NO_ROOM_SECONDS = 0.2
NO_ROOM_SAID_SECONDS = 600.0
LOOKED_AT_MOST = 128
"""Links among which the idlest is sought when room is made for another."""


class LinkFailed(Exception):
    """No link to that relay could be had. `words`: where something says more than the reason's name."""

    def __init__(self, reason: Reason, words: str = "") -> None:
        super().__init__(words or reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Numbers of one node's links."""

    relays: int
    """Open links that lead to relays."""
    clients: int
    """Open links of those who are nobody in particular."""
    opening: int
    """Handshakes under way, at either end."""
    cells_sent: int
    """Cells that left so far, padding included."""
    frames_sent: int
    """Frames in which they left."""


class LinkSet:
    """Links by relay. `identity`: a relay's own key, by which its links are proved; None for others.
    `reader`: whoever watches the streams, by default the dialer's kind. `after_read` says whether it wants
    to be called again soon.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        clock: Clock,
        sink: FrameSink,
        params: Callable[[], Params],
        chance: Chance,
        memory: Memory,
        drops: Drops,
        identity: SigningKey | None = None,
        reader: Reader | None = None,
        after_read: Callable[[], bool] = lambda: False,
        on_tick: Callable[[float], None] = lambda now: None,
        throttle: Throttle | None = None,
    ) -> None:
        self._dialer = dialer
        self._clock = clock
        self._sink = sink
        self._params = params
        self._chance = chance
        self._memory = memory
        self._drops = drops
        self._identity = identity
        self._after_read = after_read
        self._on_tick = on_tick
        self._throttle = throttle
        self._reader = reader or dialer.reader()
        self._touched: list[Outbox] = []
        self._drivers: dict[LinkDriver, None] = {}  # in order, so that a seed governs all draws
        self._by_outbox: dict[Outbox, LinkDriver] = {}
        self._by_peer: dict[RelayId, LinkDriver] = {}
        self._dials: dict[RelayId, _Dial] = {}
        self._pads: Timetable[LinkDriver] = Timetable(_padding_due)
        self._sooner = trio.Event()
        self._by_host: Holders[LinkDriver] = Holders()
        self._no_room_said = float("-inf")
        self._ended_cells_sent = 0
        self._ended_frames_sent = 0
        self._link_rates: Buckets[str] | None = None
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Links live while this block does."""
        async with background() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._tick)
            nursery.start_soon(self._reader.run, self._work)
            try:
                yield
            finally:
                self._nursery = None
                now = self._clock.monotonic()
                for driver in list(self._drivers):
                    driver.close("node-closed", now)

    async def to(self, relay: RelayRow) -> LinkPort:
        """An open link to that relay, dialled if there is none. LinkFailed."""
        port = self.open_to(relay.identity)
        if port is not None:
            await trio.lowlevel.checkpoint()
            return port
        dial = self._dials.get(relay.identity)
        if dial is None:
            if self._nursery is None:
                raise LinkFailed(Reason.NODE_CLOSED, "the node is not running")
            dial = self._dials[relay.identity] = _Dial()
            self._nursery.start_soon(self._dial, relay, dial)
        await dial.done.wait()
        port = self.open_to(relay.identity)
        if port is None:  # or it was open for a moment
            raise LinkFailed(dial.reason, dial.words)
        return port

    def open_to(self, relay: RelayId) -> LinkPort | None:
        """The link to that relay if one is open."""
        driver = self._by_peer.get(relay)
        return driver.port if driver is not None and driver.machine.is_open else None

    async def serve(
        self,
        listener: Listener,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        is_relay: Callable[[RelayId], bool],
    ) -> None:
        """Answer whoever dials us, until cancelled."""
        while True:
            try:
                stream = await listener.accept()
            except StreamBroken:
                return
            except NoRoom as error:
                await self._no_room(str(error))
                continue
            now = self._clock.monotonic()
            if not self._admit(stream, now):
                stream.close()
                continue
            machine = LinkResponder(
                identity=identity,
                onion_keys=onion_keys(),
                is_relay=is_relay,
                params=self._params(),
                chance=self._chance,
                now=now,
            )
            self._start(stream, machine, now)

    def end(self, port: LinkPort, reason: str) -> None:
        """End one link, and send nothing more on it."""
        driver = self._by_outbox.get(port.outbox)
        if driver is not None:
            driver.abandon(reason, self._clock.monotonic())

    def flush(self) -> None:
        """Send what waits on every link that was touched."""
        if self._touched:
            self._flush(self._clock.monotonic())

    def peers(self) -> list[RelayId]:
        """The relays that open links lead to."""
        return [peer for peer, driver in self._by_peer.items() if driver.machine.is_open]

    @property
    def open_links(self) -> int:
        """How many links are open, both ways."""
        return sum(driver.machine.is_open for driver in self._drivers)

    def statistics(self) -> LinkStatistics:
        """How many of each kind there are, and what left over them."""
        ports = [one.port for one in self._drivers if one.port is not None and one.machine.is_open]
        relays = sum(port.peer is not None for port in ports)
        return LinkStatistics(
            relays=relays,
            clients=len(ports) - relays,
            opening=len(self._drivers) - len(ports),
            cells_sent=self._ended_cells_sent + sum(driver.cells_sent for driver in self._drivers),
            frames_sent=self._ended_frames_sent + sum(driver.frames_sent for driver in self._drivers),
        )

    # Inside.

    def _work(self, ready: Sequence[Watched]) -> bool:
        """Read what came over these links, then send what that left on any."""
        now = self._clock.monotonic()
        for driver in ready:
            if isinstance(driver, LinkDriver):
                try:
                    count = driver.ready(now)
                except Exception:
                    self._fault(driver, now)
                    continue
                if self._throttle is not None and count:
                    self._slow_down(driver, self._throttle.spend(count, now))
        try:
            more = self._after_read()
        except Exception:
            self._fault(None, now)
            more = False
        if self._touched:
            self._flush(now)
        return more

    def _fault(self, driver: LinkDriver | None, now: float) -> None:
        """A fault of ours that somebody's bytes brought out must not take the other links along."""
        what = "what links left to do" if driver is None else "a link"
        logger.exception("ended by a fault of this program: %s", what)
        self._drops.count("internal-fault")
        if driver is not None:
            try:
                driver.abandon("link-faulty", now)
            except Exception:
                logger.exception("a link that ended by a fault could not be cleared away whole")

    def _slow_down(self, driver: LinkDriver, seconds: float) -> None:
        if seconds and self._nursery is not None:
            driver.pause()
            self._nursery.start_soon(_resume_later, driver, seconds)

    def _flush(self, now: float) -> None:
        while self._touched:
            touched, self._touched[:] = self._touched[:], []
            for outbox in touched:
                outbox.untouch()
                driver = self._by_outbox.get(outbox)
                try:
                    if driver is not None:
                        driver.flush(now)
                except Exception:
                    self._fault(driver, now)

    def _start(self, stream: Stream, machine: LinkInitiator | LinkResponder, now: float) -> LinkDriver:
        if len(self._drivers) >= self._dialer.places:
            self._make_room(now)
        driver = LinkDriver(
            stream=stream,
            machine=machine,
            sink=self._sink,
            reader=self._reader,
            drops=self._drops,
            make_port=self._make_port,
            ended=self._ended,
        )
        self._drivers[driver] = None
        if isinstance(machine, LinkResponder):
            self._by_host.add(host_group(stream.host), driver)
        driver.start(now)
        return driver

    def _make_port(self, driver: LinkDriver, peer: RelayId | None) -> LinkPort:
        port = LinkPort(
            self._memory,
            self._touched,
            peer=peer,
            initiated=isinstance(driver.machine, LinkInitiator),
            host=host_group(driver.stream.host),
            now=self._clock.monotonic(),
        )
        self._by_outbox[port.outbox] = driver
        if peer is not None:
            self._by_peer[peer] = driver
        if self._pads.add(driver):
            self._sooner.set()
        return port

    def _ended(self, driver: LinkDriver) -> None:
        self._drivers.pop(driver, None)
        self._ended_cells_sent += driver.cells_sent
        self._ended_frames_sent += driver.frames_sent
        port = driver.port
        if port is not None:
            self._by_outbox.pop(port.outbox, None)
            if port.peer is not None and self._by_peer.get(port.peer) is driver:
                del self._by_peer[port.peer]
        if isinstance(driver.machine, LinkResponder):
            self._by_host.remove(host_group(driver.stream.host), driver)

    def _admit(self, stream: Stream, now: float) -> bool:
        params = self._params()
        if self._link_rates is None:
            self._link_rates = Buckets(params.link_rate, params.link_burst, ADDRESSES_MOST)
        self._link_rates.rate, self._link_rates.burst = params.link_rate, params.link_burst
        host = host_group(stream.host)
        if params.links_per_ip and self._by_host.count(host) >= params.links_per_ip:
            self._drops.count("links-per-address")
            return False
        if not self._link_rates.take(host, now):
            self._drops.count("link-rate")
            return False
        return True

    def _make_room(self, now: float) -> None:
        """End the idlest link of whichever address holds most: no circuits, or fewest, and that for long."""
        held = itertools.islice(self._by_host.of_the_largest(), LOOKED_AT_MOST)
        idlest = min(held, key=LinkDriver.in_use, default=None)
        if idlest is not None:
            idlest.close("no-room", now)
            self.flush()  # what ended with it may have left cells on others

    async def _no_room(self, why: str) -> None:
        """Nothing more can be taken: end a link, and try again in a moment."""
        now = self._clock.monotonic()
        self._make_room(now)
        if now >= self._no_room_said + NO_ROOM_SAID_SECONDS:
            self._no_room_said = now
            logger.warning(
                "no room for new links (%s): the idlest ones end; raise the limit of open files", why
            )
        await trio.sleep(NO_ROOM_SECONDS)

    async def _dial(self, relay: RelayRow, dial: _Dial) -> None:
        stream: Stream | None = None
        driver: LinkDriver | None = None
        try:
            with trio.move_on_after(self._params().handshake_seconds):
                stream = await self._dialer.dial(relay.host, relay.port)
                now = self._clock.monotonic()
                machine = LinkInitiator(
                    responder=relay.identity,
                    onion_key=relay.onion_key,
                    identity=self._identity,
                    params=self._params(),
                    chance=self._chance,
                    now=now,
                )
                driver = self._start(stream, machine, now)
                await driver.opened.wait()
                if driver.port is not None and machine.is_open:
                    dial.port = driver.port
                    dial.reason = Reason.LINK_ENDED  # should it end before anyone has it
                elif driver.reason is not None:
                    dial.reason = driver.reason
        except StreamBroken as error:
            dial.reason, dial.words = Reason.CONNECTION_FAILED, str(error)
        except ProtocolError as error:  # the onion key it published is no key
            dial.reason = error.reason
            self._drops.count(error.reason)
        finally:
            if driver is None:
                if stream is not None:
                    stream.close()
            elif dial.port is None:
                driver.close("link-setup-timeout", self._clock.monotonic())
                self.flush()  # what ended with the link may have left cells on others
            self._dials.pop(relay.identity, None)
            dial.done.set()

    async def _tick(self) -> None:
        look_at = self._next_look()
        while True:
            due = min(look_at, self._pads.first)
            self._sooner = trio.Event()
            with trio.move_on_at(max(due, self._clock.monotonic() + PADDING_STEP_SECONDS)):
                await self._sooner.wait()
                continue
            now = self._memory.now = self._clock.monotonic()
            for driver in self._pads.take(now):
                driver.tick(now)
            if now >= look_at:
                for driver in list(self._drivers):
                    driver.tick(now)
                self._on_tick(now)
                look_at = self._next_look()
            self._work(())

    def _next_look(self) -> float:
        now = self._clock.monotonic()
        due = min((driver.machine.next_deadline() for driver in self._drivers), default=float("inf"))
        return max(now + TICK_LEAST_SECONDS, min(due, now + TICK_MOST_SECONDS))


def _padding_due(driver: LinkDriver) -> float | None:
    return None if driver.machine.is_closed else driver.machine.pad_at


async def _resume_later(driver: LinkDriver, seconds: float) -> None:
    await trio.sleep(seconds)
    driver.resume()


class _Dial:
    """A dial under way; several may wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.port: LinkPort | None = None
        self.reason = Reason.LINK_SETUP_TIMEOUT
        self.words = ""
