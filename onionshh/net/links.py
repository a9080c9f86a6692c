"""All links of one node. Each is opened once, shared by all circuits, and woken together with the others.

A dial belongs to the node, not to its first caller, so a cancelled caller does not take the link away from
others. `net/link_loop.py` has the work of open links, and `net/timers.py` has their deadlines.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.certificate import RelaySigner
from onionshh.core.link.link import LinkInitiator, LinkResponder
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.net.background import background
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.dialling import dial_any
from onionshh.net.link_driver import LinkDriver, Sent
from onionshh.net.link_loop import LinkLoop
from onionshh.net.open_links import LinkStatistics, OpenLinks
from onionshh.net.throttle import Throttle
from onionshh.net.timers import TimerHeap
from onionshh.net.transport import Dialer, Listener, NoRoom, Reader, Stream, StreamBroken
from onionshh.reasons import Reason
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.net")

NO_ROOM_SECONDS = 0.2
ROOM_AGAIN_SECONDS = 60.0
"""Without a refusal by the system for so long, there is room again."""


class LinkFailed(Exception):
    """No link to the relay could be opened. `words`: a text that says more than the reason's name."""

    def __init__(self, reason: Reason, words: str = "") -> None:
        super().__init__(words or reason)
        self.reason = reason


class LinkSet:
    """Links by relay. `identity`: what a relay proves its links with now; None for other nodes. `reader`
    watches the streams; the default is the dialer's kind. `after_read` is called after each pass and returns
    whether it wants to be called again soon. `on_tick` is called once per second.
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
        identity: Callable[[], RelaySigner] | None = None,
        reader: Reader | None = None,
        after_read: Callable[[], bool] = lambda: False,
        on_tick: Callable[[float], None] = lambda now: None,
        throttle: Throttle | None = None,
    ) -> None:
        self._dialer = dialer
        self._clock = clock
        self._params = params
        self._chance = chance
        self._drops = drops
        self._identity = identity
        self._links = OpenLinks(
            sink=sink,
            reader=reader or dialer.reader(),
            timers=TimerHeap(clock),
            params=params,
            memory=memory,
            drops=drops,
        )
        self._loop = LinkLoop(
            links=self._links,
            clock=clock,
            memory=memory,
            after_read=after_read,
            on_tick=on_tick,
            throttle=throttle,
        )
        self._dials: dict[RelayId, _Dial] = {}
        self._nursery: trio.Nursery | None = None
        self._full = Condition(logger.warning)
        self._resting: Reason | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Links live as long as this block."""
        async with background() as nursery:
            self._nursery = nursery
            self._loop.start(nursery)
            try:
                yield
            finally:
                self._nursery = None
                self._links.end_all(Reason.NODE_CLOSED, self._clock.monotonic())

    def limit(self, rate_bytes: int) -> None:
        """From now on read at most so many bytes per second; 0: no limit. No link ends for it."""
        self._loop.throttle_by(Throttle(rate_bytes) if rate_bytes else None)

    async def to(self, relay: RelayRow) -> LinkPort:
        """An open link to the relay, dialled if there is none. Raises LinkFailed."""
        port = self.open_to(relay.identity)
        if port is not None:
            await trio.lowlevel.checkpoint()
            return port
        dial = self._dials.get(relay.identity)
        if dial is None:
            if self._resting is not None:
                raise LinkFailed(self._resting)
            if self._nursery is None:
                raise LinkFailed(Reason.NODE_CLOSED, "the node is not running")
            dial = self._dials[relay.identity] = _Dial()
            self._nursery.start_soon(self._dial, relay, dial)
        await dial.done.wait()
        port = self.open_to(relay.identity)
        if port is None:  # it failed, or was open only for a moment
            raise LinkFailed(dial.reason, dial.words)
        return port

    def rest(self, why: Reason) -> None:
        """End all links, and have none until `resume`: whoever dials us is turned away."""
        self._resting = why
        self._links.end_all(why, self._clock.monotonic())

    def resume(self) -> None:
        """Have links again."""
        self._resting = None

    def open_to(self, relay: RelayId) -> LinkPort | None:
        """The link to the relay, if one is open."""
        return self._links.to(relay)

    async def serve(
        self,
        listener: Listener,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        is_relay: Callable[[RelayId], bool],
    ) -> None:
        """Answer everyone who dials us, until cancelled."""
        last_full = self._clock.monotonic()
        while True:
            try:
                stream = await listener.accept()
            except StreamBroken:
                return
            except NoRoom as error:
                await self._no_room(str(error))
                last_full = self._clock.monotonic()
                continue
            now = self._clock.monotonic()
            if now >= last_full + ROOM_AGAIN_SECONDS:
                self._full.over("there is room for new links again")
            refusal = self._resting or self._links.strangers.refusal(stream.host, now)
            if refusal is not None:
                self._drops.count(refusal)
                stream.close()
                continue
            machine = LinkResponder(
                identity=identity,
                onion_keys=onion_keys(),
                is_relay=is_relay,
                earliest=self._clock.earliest(),
                params=self._params(),
                chance=self._chance,
                now=now,
            )
            self._start(stream, machine, now)

    def end(self, port: LinkPort, reason: Reason) -> None:
        """End one link without sending anything more."""
        self._links.end(port, reason, self._clock.monotonic())

    def flush(self) -> None:
        """Send what waits on all links that got cells."""
        if self._links.touched:
            self._links.flush(self._clock.monotonic())

    def ports(self) -> list[LinkPort]:
        """The open links, oldest first."""
        return self._links.ports()

    def peers(self) -> list[RelayId]:
        """The relays that open links lead to."""
        return self._links.peers()

    def statistics(self) -> LinkStatistics:
        """How many links of each kind there are, and how much has left over them."""
        return self._links.statistics(len(self._dials))

    @property
    def open_links(self) -> int:
        """How many links are open, whoever opened them."""
        return len(self._links.ports())

    @property
    def cells_sent(self) -> int:
        """Cells that have left over all links, with padding counted."""
        return self._links.sent.cells

    @property
    def moved(self) -> Sent:
        """How much has left and come over all links."""
        return self._links.sent

    @property
    def frames_sent(self) -> int:
        """Frames that have left over all links."""
        return self._links.sent.frames

    @property
    def trouble(self) -> str:
        """Why no link can be opened at all, as of the dialer."""
        return self._dialer.trouble

    # Inside.

    def _start(self, stream: Stream, machine: LinkInitiator | LinkResponder, now: float) -> LinkDriver:
        if self._links.count >= self._dialer.places:
            self._links.make_room(now)
        return self._links.start(stream, machine, now)

    async def _no_room(self, why: str) -> None:
        """No more links can be accepted: end one, and wait a moment before the next try."""
        now = self._clock.monotonic()
        self._links.make_room(now)
        self._full.holds(f"no room for new links ({why}): the idlest ones end; raise the limit of open files")
        await trio.sleep(NO_ROOM_SECONDS)

    async def _dial(self, relay: RelayRow, dial: _Dial) -> None:
        stream: Stream | None = None
        driver: LinkDriver | None = None
        try:
            seconds = self._params().handshake_seconds + self._dialer.slower_seconds
            with trio.move_on_after(seconds):
                stream = await dial_any(self._dialer, relay.addresses, seconds)
                if self._resting is not None:
                    raise ProtocolError(self._resting)
                now = self._clock.monotonic()
                machine = LinkInitiator(
                    responder=relay.identity,
                    onion_key=relay.onion_key,
                    identity=self._identity() if self._identity is not None else None,
                    params=self._params(),
                    chance=self._chance,
                    now=now,
                )
                driver = self._start(stream, machine, now)
                await driver.opened.wait()
                if driver.port is not None and machine.is_open:
                    dial.port = driver.port
                    dial.reason = Reason.LINK_ENDED  # in case it ends before anyone gets it
                elif driver.reason is not None:
                    dial.reason = driver.reason
        except StreamBroken as error:
            dial.reason, dial.words = Reason.CONNECTION_FAILED, str(error)
        except ProtocolError as error:  # the relay's published onion key is not valid
            dial.reason = error.reason
            self._drops.count(error.reason)
        finally:
            if driver is None:
                if stream is not None:
                    stream.close()
            elif dial.port is None:
                driver.close(Reason.LINK_SETUP_TIMEOUT, self._clock.monotonic())
                self.flush()  # circuits that ended with the link may have queued cells on other links
            self._dials.pop(relay.identity, None)
            dial.done.set()


class _Dial:
    """A dial in progress. Several tasks may wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.port: LinkPort | None = None
        self.reason = Reason.LINK_SETUP_TIMEOUT
        self.words = ""
