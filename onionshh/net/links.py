"""Every link of one node: dialled once, shared by all circuits, ticked together.

A dial belongs to the node, not to whoever asked first, so a cancelled caller takes no link from others.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from onionshh.core.buckets import Buckets
from onionshh.core.chance import Chance
from onionshh.core.drops import Drops
from onionshh.core.link import LinkInitiator, LinkResponder
from onionshh.core.outbox import Memory, Outbox
from onionshh.core.params import Params
from onionshh.core.sink import FrameSink, LinkPort
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.ids import RelayId
from onionshh.net.background import background
from onionshh.net.clocks import Clock
from onionshh.net.link_task import LinkTask
from onionshh.net.throttle import Throttle
from onionshh.net.transport import Dialer, Listener, Stream, StreamBroken
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.net")

TICK_LEAST_SECONDS = 1.0
TICK_MOST_SECONDS = 5.0
ADDRESSES_MOST = 4096


class LinkFailed(Exception):
    """No link to that relay could be had; the reason is for our side."""


class LinkSet:
    """Links by relay. `identity`: a relay's own key, by which its links are proved; None for others."""

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
        after_read: Callable[[], None] = lambda: None,
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
        self._touched: list[Outbox] = []
        self._tasks: set[LinkTask] = set()
        self._by_outbox: dict[Outbox, LinkTask] = {}
        self._by_peer: dict[RelayId, LinkTask] = {}
        self._dials: dict[RelayId, _Dial] = {}
        self._per_host: dict[str, int] = {}
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
            try:
                yield
            finally:
                self._nursery = None
                for task in list(self._tasks):
                    task.close("node-closed")

    async def to(self, relay: RelayRow) -> LinkPort:
        """An open link to that relay, dialled if there is none. LinkFailed."""
        task = self._by_peer.get(relay.identity)
        if task is not None and task.port is not None and task.machine.is_open:
            await trio.lowlevel.checkpoint()
            return task.port
        dial = self._dials.get(relay.identity)
        if dial is None:
            if self._nursery is None:
                raise LinkFailed("the node is not running")
            dial = self._dials[relay.identity] = _Dial()
            self._nursery.start_soon(self._dial, relay, dial)
        await dial.done.wait()
        if dial.port is None:
            raise LinkFailed(dial.reason)
        return dial.port

    async def serve(
        self,
        listener: Listener,
        *,
        identity: RelayId,
        onion_keys: Callable[[], Sequence[KeyPair]],
        is_relay: Callable[[RelayId], bool],
    ) -> None:
        """Answer whoever dials us, until cancelled."""
        nursery = self._nursery
        if nursery is None:
            raise RuntimeError("LinkSet.running() must be entered first")
        while True:
            try:
                stream = await listener.accept()
            except StreamBroken:
                return
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
            task = self._task(stream, machine)
            self._per_host[stream.host] = self._per_host.get(stream.host, 0) + 1
            nursery.start_soon(self._run_inbound, task)

    def flush(self) -> None:
        """Send what waits on every link that was touched."""
        while self._touched:
            touched, self._touched[:] = self._touched[:], []
            for outbox in touched:
                outbox.untouch()
                task = self._by_outbox.get(outbox)
                if task is not None:
                    task.flush()

    def peers(self) -> list[RelayId]:
        """The relays that open links lead to."""
        return [peer for peer, task in self._by_peer.items() if task.machine.is_open]

    @property
    def open_links(self) -> int:
        """How many links are open, both ways."""
        return sum(task.machine.is_open for task in self._tasks)

    @property
    def cells_sent(self) -> int:
        """Cells that left over all links so far, padding included."""
        return self._ended_cells_sent + sum(task.cells_sent for task in self._tasks)

    @property
    def frames_sent(self) -> int:
        """Frames in which they left."""
        return self._ended_frames_sent + sum(task.frames_sent for task in self._tasks)

    # Inside.

    def _task(self, stream: Stream, machine: LinkInitiator | LinkResponder) -> LinkTask:
        return LinkTask(
            stream=stream,
            machine=machine,
            sink=self._sink,
            clock=self._clock,
            drops=self._drops,
            make_port=self._make_port,
            after_read=self._after,
            throttle=self._throttle,
        )

    def _make_port(self, task: LinkTask, peer: RelayId | None) -> LinkPort:
        port = LinkPort(
            self._memory,
            self._touched,
            peer=peer,
            initiated=isinstance(task.machine, LinkInitiator),
            host=task.stream.host,
            now=self._clock.monotonic(),
        )
        self._by_outbox[port.outbox] = task
        if peer is not None:
            self._by_peer[peer] = task
        return port

    def _after(self) -> None:
        self._after_read()
        self.flush()

    def _admit(self, stream: Stream, now: float) -> bool:
        params = self._params()
        if self._link_rates is None:
            self._link_rates = Buckets(params.link_rate, params.link_burst, ADDRESSES_MOST)
        self._link_rates.rate, self._link_rates.burst = params.link_rate, params.link_burst
        if params.links_per_ip and self._per_host.get(stream.host, 0) >= params.links_per_ip:
            self._drops.count("links-per-address")
            return False
        if not self._link_rates.take(stream.host, now):
            self._drops.count("link-rate")
            return False
        return True

    async def _run(self, task: LinkTask) -> None:
        self._tasks.add(task)
        try:
            await task.run()
        except Exception:
            # A fault of ours that one link's bytes brought out must not take the other links along.
            logger.exception("a link ended by a fault of this program")
            self._drops.count("internal-fault")
        finally:
            self._tasks.discard(task)
            self._ended_cells_sent += task.cells_sent
            self._ended_frames_sent += task.frames_sent
            if task.port is not None:
                self._by_outbox.pop(task.port.outbox, None)
                if task.port.peer is not None and self._by_peer.get(task.port.peer) is task:
                    del self._by_peer[task.port.peer]
            # What ended with this link may have left cells on others.
            self._after()

    async def _run_inbound(self, task: LinkTask) -> None:
        try:
            await self._run(task)
        finally:
            left = self._per_host[task.stream.host] - 1
            if left:
                self._per_host[task.stream.host] = left
            else:
                del self._per_host[task.stream.host]

    async def _dial(self, relay: RelayRow, dial: _Dial) -> None:
        task: LinkTask | None = None
        try:
            with trio.move_on_after(self._params().handshake_seconds):
                stream = await self._dialer.dial(relay.host, relay.port)
                machine = LinkInitiator(
                    responder=relay.identity,
                    onion_key=relay.onion_key,
                    identity=self._identity,
                    params=self._params(),
                    chance=self._chance,
                    now=self._clock.monotonic(),
                )
                task = self._task(stream, machine)
                if self._nursery is not None:
                    self._nursery.start_soon(self._run, task)
                await task.opened.wait()
                if task.port is not None and task.machine.is_open:
                    dial.port = task.port
                else:
                    dial.reason = task.reason
        except StreamBroken as error:
            dial.reason = str(error)
        finally:
            if dial.port is None and task is not None:
                task.close("link-setup-timeout")
            self._dials.pop(relay.identity, None)
            dial.done.set()

    async def _tick(self) -> None:
        while True:
            now = self._clock.monotonic()
            due = min((task.machine.next_deadline() for task in self._tasks), default=now + TICK_MOST_SECONDS)
            await trio.sleep_until(max(now + TICK_LEAST_SECONDS, min(due, now + TICK_MOST_SECONDS)))
            now = self._memory.now = self._clock.monotonic()
            for task in list(self._tasks):
                task.tick(now)
            self._on_tick(now)
            self._after()


class _Dial:
    """A dial under way; several may wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.port: LinkPort | None = None
        self.reason = "timeout"
