"""The driver of one link: owns its stream, feeds its machine, flushes its outbox.

Nothing here waits. What came is read when the node's `Reader` says so; what is to go is sealed and handed to
the kernel at once, so no send can be cut in half by a cancellation. Only a stream that took less than all
is watched for room, for as long as that lasts.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from onionshh.core.base.reasons import Drops
from onionshh.core.link.link import Link, LinkClosed, LinkOpen
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import FRAME_CELLS
from onionshh.ids import RelayId
from onionshh.net.transport import Reader, Stream, StreamBroken


class LinkDriver:
    """One link from handshake to end. `make_port` and `ended` tie it to its `LinkSet`."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_drops",
        "_ended",
        "_make_port",
        "_over",
        "_paused",
        "_reader",
        "_sink",
        "_unsent",
        "cells_sent",
        "frames_sent",
        "machine",
        "opened",
        "port",
        "reason",
        "stream",
    )

    def __init__(
        self,
        *,
        stream: Stream,
        machine: Link,
        sink: FrameSink,
        reader: Reader,
        drops: Drops,
        make_port: Callable[[LinkDriver, RelayId | None], LinkPort],
        ended: Callable[[LinkDriver], None],
    ) -> None:
        self.stream = stream
        self.machine = machine
        self.port: LinkPort | None = None
        self.reason: Reason | None = None
        """Why it is over; None while it lives."""
        self.cells_sent = 0
        self.frames_sent = 0
        self.opened = trio.Event()
        """Set when the link is open, or has ended without."""
        self._sink = sink
        self._reader = reader
        self._drops = drops
        self._make_port = make_port
        self._ended = ended
        self._unsent = b""
        self._blocked = False
        self._paused = False
        self._over = False

    def in_use(self) -> tuple[int, float]:
        """How much, to be compared: circuits, and since when there have been none, or nothing came."""
        port = self.port
        circuits = len(port.legs) + len(port.creating) if port is not None else 0
        if port is None or circuits:
            return circuits, self.machine.received_at
        return 0, port.empty_since

    def start(self, now: float) -> None:
        """Send what the handshake begins with, and listen."""
        self._reader.watch(self)
        self.flush(now)

    def ready(self, now: float) -> int:
        """There are bytes to read, or room to write; returns how many bytes were read."""
        if self._over:
            return 0
        if self._blocked:
            self.flush(now, try_again=True)
        try:
            data = self.stream.receive_now()
        except StreamBroken:
            data = b""
        if data is None:
            return 0
        self.machine.receive_data(data, now)
        self._events(now)
        return len(data)

    def pause(self) -> None:
        """Read nothing for now."""
        self._paused = True
        self._reader.forget(self)

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if not self._over:
            self._reader.watch(self, for_room=self._blocked)

    def close(self, reason: str, now: float) -> None:
        """End the link. What still fits goes out first, so that DESTROYs reach the neighbour."""
        if not self._over:
            self.flush(now)
            self.abandon(reason, now)

    def abandon(self, reason: str, now: float) -> None:
        """End the link and send nothing more."""
        if not self._over:
            self.machine.close(reason)
            self._events(now)

    def flush(self, now: float, *, try_again: bool = False) -> None:
        """Seal and send what waits, as much as the kernel takes. `try_again`: it may have room now."""
        if self._over or (self._blocked and not try_again):
            return
        machine = self.machine
        try:
            port = self.port
            if port is None and not self._unsent:
                self._unsent = machine.data_to_send()
            while True:
                if self._unsent and not self._send(now):
                    return
                if port is None or not port.outbox.waiting or not machine.is_open:
                    return
                cells = port.outbox.take(FRAME_CELLS)
                self.cells_sent += len(cells)
                self.frames_sent += 1
                self._unsent = machine.seal(b"".join(cells))
        except StreamBroken:
            machine.send_failed()
            self._events(now)

    def tick(self, now: float) -> None:
        """Let the machine act on its deadlines; what the peer owes is not due while we do not read."""
        if self._paused:
            self.machine.not_read(now)
        if self.port is not None:
            self.machine.circuits(len(self.port.legs) + len(self.port.creating), now)
        padding = self.machine.tick(now)
        if padding is not None and self.port is not None and not self.port.outbox.waiting:
            self.port.outbox.push(self.port.control, padding)
        if self.machine.is_closed:
            self._events(now)

    def _send(self, now: float) -> bool:
        """Whether the kernel took all that was unsent."""
        took = self.stream.send_some(self._unsent)
        all_of_it = took == len(self._unsent)
        if took or not self._blocked:
            self.machine.sent(now, blocked=not all_of_it)
        self._unsent = b"" if all_of_it else self._unsent[took:]
        if all_of_it is self._blocked:
            self._blocked = not all_of_it
            if not self._paused:
                self._reader.watch(self, for_room=self._blocked)
        return all_of_it

    def _events(self, now: float) -> None:
        machine = self.machine
        while (event := machine.next_event()) is not None:
            match event:
                case bytes():
                    if self.port is not None:
                        try:
                            self._sink.receive_frame(self.port, event, now)
                        except ProtocolError as error:
                            machine.close(error.reason)
                case LinkOpen(peer=peer):
                    self.flush(now)
                    if machine.is_closed:
                        continue  # the flush failed, and has already said so
                    self.port = self._make_port(self, peer)
                    self._sink.link_opened(self.port, now)
                    self.opened.set()
                case LinkClosed(reason=reason):
                    self._close(reason, now)
        if not machine.is_open and not machine.is_closed:
            self.flush(now)  # a responder's handshake flight

    def _close(self, reason: str, now: float) -> None:
        self._over = True
        self._unsent = b""
        self.reason = reason
        self._drops.count(reason)
        self._reader.forget(self)
        self.stream.close()
        try:
            if self.port is not None:
                self._sink.link_closed(self.port, now)
        finally:
            self._ended(self)
            self.opened.set()
