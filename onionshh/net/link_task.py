"""The driver of one link: owns its stream, feeds its machine, flushes its outbox.

After the frames of one read are worked off, whatever they touched is sealed and handed to the kernel at
once; no send is ever awaited, so none can be cut in half by a cancellation. Only a stream that took less
than all gets a writer task, for as long as that lasts.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from onionshh.core.drops import Drops
from onionshh.core.link import Frame, Link, LinkClosed, LinkOpen
from onionshh.core.sink import FrameSink, LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import FRAME_CELLS
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.throttle import Throttle
from onionshh.net.transport import Stream, StreamBroken


class LinkTask:
    """One link from handshake to end. `make_port` and `opened` tie it to its `LinkSet`."""

    def __init__(
        self,
        *,
        stream: Stream,
        machine: Link,
        sink: FrameSink,
        clock: Clock,
        drops: Drops,
        make_port: Callable[[LinkTask, RelayId | None], LinkPort],
        after_read: Callable[[], None],
        throttle: Throttle | None = None,
    ) -> None:
        self.stream = stream
        self.machine = machine
        self.port: LinkPort | None = None
        self.reason = ""
        self.cells_sent = 0
        self.frames_sent = 0
        self.opened = trio.Event()
        """Set when the link is open, or has ended without."""
        self._sink = sink
        self._clock = clock
        self._drops = drops
        self._make_port = make_port
        self._after_read = after_read
        self._throttle = throttle
        self._unsent = b""
        self._blocked = False
        self._nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Until the link ends; never raises for what a peer does."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.flush()
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.close("link-cancelled")
            self.stream.close()

    def close(self, reason: str) -> None:
        """End the link. What still fits goes out first, so that DESTROYs reach the neighbour."""
        if self.machine.is_closed and self.reason:
            return
        self.flush()
        self.machine.close(reason)
        self._events()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def flush(self) -> None:
        """Seal and send what waits, as much as the kernel takes."""
        if self._blocked:
            return
        machine = self.machine
        try:
            if not self._unsent:
                self._unsent = machine.data_to_send()
            while True:
                if self._unsent:
                    took = self.stream.send_some(self._unsent)
                    if took < len(self._unsent):
                        self._unsent = self._unsent[took:]
                        self._wait_sendable()
                        return
                    self._unsent = b""
                    machine.sent(self._clock.monotonic(), blocked=False)
                if self.port is None or not machine.is_open:
                    return
                cells = self.port.outbox.take(FRAME_CELLS)
                if not cells:
                    return
                self.cells_sent += len(cells)
                self.frames_sent += 1
                self._unsent = machine.seal(b"".join(cells))
        except StreamBroken:
            machine.send_failed()
            self._events()

    def tick(self, now: float) -> None:
        """Let the machine act on its deadlines."""
        if self.port is not None:
            self.machine.circuits(len(self.port.legs) + len(self.port.creating), now)
        padding = self.machine.tick(now)
        if padding is not None and self.port is not None and not self.port.outbox.waiting:
            self.port.outbox.push(self.port.control, padding)
        if self.machine.is_closed:
            self._events()

    async def _read(self) -> None:
        while not self.machine.is_closed:
            try:
                data = await self.stream.receive_some()
            except StreamBroken:
                data = b""
            self.machine.receive_data(data, self._clock.monotonic())
            self._events()
            self._after_read()
            if self._throttle is not None:
                await self._throttle.spend(len(data))

    def _events(self) -> None:
        machine, now = self.machine, self._clock.monotonic()
        while (event := machine.next_event()) is not None:
            match event:
                case Frame(cells=cells):
                    if self.port is not None:
                        try:
                            self._sink.receive_frame(self.port, cells, now)
                        except ProtocolError as error:
                            machine.close(error.reason)
                case LinkOpen(peer=peer):
                    self.flush()
                    if machine.is_closed:
                        continue  # the flush failed, and has already said so
                    self.port = self._make_port(self, peer)
                    self._sink.link_opened(self.port, now)
                    self.opened.set()
                case LinkClosed(reason=reason):
                    self.reason = reason
                    self._drops.count(reason)
                    self.opened.set()
                    if self.port is not None:
                        self._sink.link_closed(self.port, now)
                    if self._nursery is not None:
                        self._nursery.cancel_scope.cancel()
        if machine.is_open is False and not machine.is_closed:
            self.flush()  # a responder's handshake flight

    def _wait_sendable(self) -> None:
        self._blocked = True
        self.machine.sent(self._clock.monotonic(), blocked=True)
        if self._nursery is not None:
            self._nursery.start_soon(self._write_later)

    async def _write_later(self) -> None:
        try:
            await self.stream.wait_sendable()
        except StreamBroken:
            self.machine.send_failed()
            self._events()
            return
        self._blocked = False
        self.flush()
