"""A network in memory: streams with bounded buffers, and hosts that can be cut off or held.

It is for tests, simulations and a DApp's own tests. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

import trio

from onionshh.net.transport import READ_BYTES, NothingThere, StreamBroken, Watched, Work

BUFFER_BYTES = 256 * 1024


class _Pipe:
    """Bytes in one direction."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.changed = trio.lowlevel.ParkingLot()
        self.on_change: list[Callable[[], None]] = []

    def wake(self) -> None:
        self.changed.unpark_all()
        for call in self.on_change:
            call()


class MemoryStream:
    """One end of a pair of pipes, as a `Stream`."""

    def __init__(self, network: MemoryNetwork, host: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._network = network
        self.host = host
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    @property
    def pipes(self) -> tuple[_Pipe, _Pipe]:
        """The incoming and the outgoing pipe, for a reader."""
        return self._incoming, self._outgoing

    @property
    def room(self) -> int:
        """How many bytes the stream would take now."""
        return 0 if self._network.is_held(self) else BUFFER_BYTES - len(self._outgoing.data)

    def send_some(self, data: bytes) -> int:
        if self._closed or self._outgoing.ended:
            raise StreamBroken("closed")
        part = data[: self.room]
        if part:
            self._outgoing.data += part
            self._outgoing.wake()
        return len(part)

    async def wait_sendable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.room:
            if self._closed or self._outgoing.ended:
                raise StreamBroken("closed")
            await self._outgoing.changed.park()

    def receive_now(self) -> bytes | None:
        pipe = self._incoming
        if not pipe.data:
            if self._closed:
                raise StreamBroken("closed")
            return b"" if pipe.ended else None
        data = bytes(pipe.data[:READ_BYTES])
        del pipe.data[: len(data)]
        pipe.wake()
        return data

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while (data := self.receive_now()) is None:
            await self._incoming.changed.park()
        return data

    def wake(self) -> None:
        """Let tasks that wait for room look again."""
        self._outgoing.wake()

    def close(self) -> None:
        self._closed = True
        for pipe in (self._incoming, self._outgoing):
            pipe.ended = True
            pipe.wake()
        self._network.forget(self)


class MemoryReader:
    """A `Reader` for streams of a `MemoryNetwork`."""

    def __init__(self) -> None:
        self._watched: dict[Watched, tuple[MemoryStream, bool, Callable[[], None]]] = {}
        self._changed: dict[Watched, None] = {}
        self._parked = trio.lowlevel.ParkingLot()

    def watch(self, watched: Watched, *, for_room: bool = False) -> None:
        self.forget(watched)
        stream = watched.stream
        if not isinstance(stream, MemoryStream):
            raise TypeError(f"a MemoryReader cannot watch a {type(stream).__name__}")

        def changed() -> None:
            self._changed[watched] = None
            self._parked.unpark_all()

        self._watched[watched] = (stream, for_room, changed)
        for pipe in stream.pipes:
            pipe.on_change.append(changed)
        changed()

    def forget(self, watched: Watched) -> None:
        stream, _, changed = self._watched.pop(watched, (None, False, None))
        self._changed.pop(watched, None)
        if stream is not None and changed is not None:
            for pipe in stream.pipes:
                pipe.on_change.remove(changed)

    async def run(self, work: Work) -> None:
        more = False
        while True:
            await trio.lowlevel.checkpoint()
            ready = [watched for watched in self._changed if self._is_ready(watched)]
            self._changed = dict.fromkeys(ready)  # streams with unread bytes are ready again
            if ready or more:
                more = work(ready)
            else:
                await self._parked.park()

    def _is_ready(self, watched: Watched) -> bool:
        stream, for_room, _ = self._watched[watched]
        incoming, _ = stream.pipes
        return bool(incoming.data) or incoming.ended or (for_room and stream.room > 0)


class MemoryListener:
    """Accepts the streams that are dialled to one address of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, host: str, port: int) -> None:
        self._network = network
        self.address = (host, port)
        self._waiting: deque[MemoryStream] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False
        network.listeners[self.address] = self

    def offer(self, stream: MemoryStream) -> None:
        """Offer a stream that somebody dialled."""
        self._waiting.append(stream)
        self._changed.unpark_all()

    async def accept(self) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise StreamBroken("closed")
            await self._changed.park()
        return self._waiting.popleft()

    def close(self) -> None:
        self._closed = True
        self._network.listeners.pop(self.address, None)
        self._changed.unpark_all()


class MemoryNetwork:
    """All hosts of one test. A host is any text. `cut` ends its streams and refuses new ones; `hold` stops
    them from taking bytes.
    """

    def __init__(self) -> None:
        self.listeners: dict[tuple[str, int], MemoryListener] = {}
        self.dialled: list[tuple[str, str]] = []
        """(from, to) of every stream that was ever opened, for tests of who connects to whom."""
        self.places: dict[str, int] = {}
        """How many streams a host may have. Hosts that are not here have no limit."""
        self.reaching_onions: set[str] = set()
        """The hosts that reach onion services, as those with C tor do."""
        self._streams: dict[MemoryStream, tuple[str, str]] = {}
        self._cut: set[str] = set()
        self._held: set[str] = set()
        self._next_port = 1

    def listen(self, host: str) -> MemoryListener:
        """Listen on a free port of this host."""
        port = self._next_port
        self._next_port += 1
        return MemoryListener(self, host, port)

    def dialer(self, host: str) -> MemoryDialer:
        """A dialer whose streams come from this host."""
        return MemoryDialer(self, host)

    def connect(self, source: str, host: str, port: int) -> MemoryStream:
        """Open a stream. NothingThere if nobody listens there or one of the hosts is cut off."""
        listener = self.listeners.get((host, port))
        if listener is None or self._cut & {source, host}:
            raise NothingThere("nothing listens there")
        back, forth = _Pipe(), _Pipe()
        ours = MemoryStream(self, host, back, forth)
        theirs = MemoryStream(self, source, forth, back)
        self._streams[ours] = self._streams[theirs] = (source, host)
        self.dialled.append((source, host))
        listener.offer(theirs)
        return ours

    def cut(self, host: str) -> None:
        """Take a host off the network, like pulling a cable, but the other side notices."""
        self._cut.add(host)
        for stream, ends in list(self._streams.items()):
            if host in ends:
                stream.close()

    def heal(self, host: str) -> None:
        """Put the host back on the network."""
        self._cut.discard(host)

    def hold(self, host: str) -> None:
        """From now on a host's streams take no bytes in either direction. Bytes sent before still arrive."""
        self._held.add(host)

    def release(self, host: str) -> None:
        """The host's streams take bytes again."""
        self._held.discard(host)
        for stream, ends in list(self._streams.items()):
            if host in ends:
                stream.wake()

    def is_held(self, stream: MemoryStream) -> bool:
        """Whether a stream takes no bytes now."""
        return bool(self._held) and not self._held.isdisjoint(self._streams.get(stream, ()))

    def forget(self, stream: MemoryStream) -> None:
        """A stream was closed."""
        self._streams.pop(stream, None)


class MemoryDialer:
    """A `Dialer` for one host of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host

    @property
    def places(self) -> int:
        return self._network.places.get(self._host, sys.maxsize)

    @property
    def slower_seconds(self) -> float:
        return 0.0

    @property
    def reaches_onions(self) -> bool:
        return self._host in self._network.reaching_onions

    @property
    def trouble(self) -> str:
        return ""

    async def dial(self, host: str, port: int) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        return self._network.connect(self._host, host, port)

    def reader(self) -> MemoryReader:
        return MemoryReader()
