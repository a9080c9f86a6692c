"""The driver of one link: owns its stream, feeds its machine, flushes its outbox.

Nothing here waits. Bytes are read when the node's `Reader` says so. Outgoing cells are sealed and given to
the kernel at once, so a cancellation cannot cut a send in half. A stream that did not take everything is
watched for room until it does.
"""

from __future__ import annotations

from typing import Protocol

import trio

from onionshh.core.base.timers import Timers
from onionshh.core.link.link import Link, LinkClosed, LinkOpen, Timer
from onionshh.core.link.port import FrameSink, LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import FRAME_CELLS
from onionshh.ids import RelayId
from onionshh.net.timers import TimerHeap
from onionshh.net.transport import Reader, Stream, StreamBroken
from onionshh.reasons import Reason


class Sent:
    """How much has left over all links of a node, and how many bytes have come."""

    __slots__ = ("bytes", "bytes_received", "cells", "frames")

    def __init__(self) -> None:
        self.cells = 0
        self.frames = 0
        self.bytes = 0
        self.bytes_received = 0


class Home(Protocol):
    """The node that a link belongs to, as its driver sees it."""

    @property
    def sink(self) -> FrameSink:
        """Takes the frames."""

    @property
    def reader(self) -> Reader:
        """Watches the streams."""

    @property
    def timers(self) -> TimerHeap:
        """Wakes the link when something is due."""

    @property
    def sent(self) -> Sent:
        """Counts what leaves."""

    def opened(self, driver: LinkDriver, peer: RelayId | None, now: float) -> LinkPort:
        """The link is open: returns a port for its cells."""

    def ended(self, driver: LinkDriver, reason: Reason) -> None:
        """The link has ended."""


class LinkDriver:
    """One link from handshake to end."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_home",
        "_paused",
        "_sent",
        "_sink",
        "_unsent",
        "machine",
        "opened",
        "port",
        "reason",
        "stream",
    )

    def __init__(self, *, stream: Stream, machine: Link, home: Home) -> None:
        self.stream = stream
        self.machine = machine
        self.port: LinkPort | None = None
        self.reason: Reason | None = None
        """Why the link ended; None while it lives."""
        self.opened = trio.Event()
        """Set when the link is open, or has ended before that."""
        self._home = home
        self._sink = home.sink
        self._sent = home.sent
        self._unsent = b""
        self._blocked = False
        self._paused = False

    @property
    def timers(self) -> Timers[Timer]:
        """The link's deadlines."""
        return self.machine.timers

    @property
    def unsent_bytes(self) -> int:
        """Sealed bytes that the kernel has not taken yet: less than a frame."""
        return len(self._unsent)

    def in_use(self) -> tuple[int, float]:
        """How much the link is used, for comparing links: the number of circuits, then since when there are
        none, or since when nothing arrived."""
        port = self.port
        circuits = port.circuits if port is not None else 0
        if port is None or circuits:
            return circuits, self.machine.quiet_since()
        return 0, port.empty_since

    def start(self, now: float) -> None:
        """Send the first bytes of the handshake, and listen."""
        self._home.timers.add(self)
        self._home.reader.watch(self)
        self.flush(now)

    def ready(self, now: float) -> int:
        """There are bytes to read or there is room to write. Returns how many bytes were read."""
        if self.reason is not None:
            return 0
        if self._blocked:
            self.flush(now, try_again=True)
        try:
            data = self.stream.receive_now()
        except StreamBroken:
            data = b""
        if data is None:
            return 0
        self._sent.bytes_received += len(data)
        machine = self.machine
        machine.receive_data(data, now)
        if machine.timers.nearer:
            self._home.timers.add(self)
        self._events(now)
        return len(data)

    def pause(self) -> None:
        """Read nothing for now."""
        self._paused = True
        self._home.reader.forget(self)

    def resume(self, now: float) -> None:
        """Read again."""
        self._paused = False
        if self.reason is None:
            self.machine.not_read(now)
            self._home.reader.watch(self, for_room=self._blocked)

    def close(self, reason: Reason, now: float) -> None:
        """End the link. It first sends what the kernel takes, so that DESTROYs reach the neighbour."""
        if self.reason is None:
            self.flush(now)
            self.abandon(reason, now)

    def abandon(self, reason: Reason, now: float) -> None:
        """End the link and send nothing more."""
        if self.reason is None:
            self.machine.close(reason)
            self._events(now)

    def flush(self, now: float, *, try_again: bool = False) -> None:
        """Seal and send what waits, as much as the kernel takes. `try_again`: the kernel may have room."""
        if self.reason is not None or (self._blocked and not try_again):
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
                self._sent.cells += len(cells)
                self._sent.frames += 1
                self._unsent = machine.seal(b"".join(cells))
        except StreamBroken:
            machine.send_failed()
            self._events(now)

    def tick(self, now: float) -> None:
        """Let the machine act on its deadlines. The peer's deadlines do not count while we do not read."""
        machine, port = self.machine, self.port
        if self._paused:
            machine.not_read(now)
        if port is not None:
            if port.circuits:
                port.empty_since = now
                machine.in_use()
            else:
                machine.unused(port.empty_since)
        padding = machine.tick(now)
        if padding is not None and port is not None and not port.outbox.waiting:
            port.outbox.push(port.control, padding)
        if machine.is_closed:
            self._events(now)

    def _send(self, now: float) -> bool:
        """Send unsent bytes; returns whether the kernel took all of them."""
        took = self.stream.send_some(self._unsent)
        self._sent.bytes += took
        all_of_it = took == len(self._unsent)
        if took or not self._blocked:
            self.machine.sent(now, blocked=not all_of_it)
        self._unsent = b"" if all_of_it else self._unsent[took:]
        if all_of_it is self._blocked:
            self._blocked = not all_of_it
            if not self._paused:
                self._home.reader.watch(self, for_room=self._blocked)
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
                        continue  # the flush failed, and that event is already queued
                    self.port = self._home.opened(self, peer, now)
                    self._sink.link_opened(self.port, now)
                    self.opened.set()
                case LinkClosed(reason=reason):
                    self._close(reason, now)
        if not machine.is_open and not machine.is_closed:
            self.flush(now)  # a responder's handshake flight

    def _close(self, reason: Reason, now: float) -> None:
        self._unsent = b""
        self.reason = reason
        self._home.reader.forget(self)
        self.stream.close()
        try:
            if self.port is not None:
                self._sink.link_closed(self.port, now)
        finally:
            self._home.ended(self, reason)
            self.opened.set()
