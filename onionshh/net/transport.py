"""What a link needs from the network below: byte streams that never wait, and to know which can be read.

TCP (`net/tcp.py`) and a network in memory (`net/memory.py`) both offer this, and links do not know which one
they have. One `Reader` watches all streams of a node. A wake costs as much as fifty cells, so one wake
handles everything that arrived, and all cells for a neighbour go out in one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

READ_BYTES = 96 * 1024
"""A full frame and some bytes after it: the largest whisper is one frame and a few more cells."""


class StreamBroken(Exception):
    """The stream has ended or could not be opened. The text has the reason, for our side only."""


class NothingThere(StreamBroken):
    """The host was reached, and refuses connections to this port."""


class NoRoom(Exception):
    """A new stream cannot be accepted until others end."""


class Stream(Protocol):
    """Bytes in both directions. One task reads. Anyone may call `send_some`, which never waits."""

    @property
    def host(self) -> str:
        """The address of the other end, as text without a port."""

    def send_some(self, data: bytes) -> int:
        """How many bytes the network took now, perhaps 0. StreamBroken if it will never take more."""

    def receive_now(self) -> bytes | None:
        """1 to READ_BYTES bytes, b"" at the end, None if nothing is there now. Raises StreamBroken."""

    async def wait_sendable(self) -> None:
        """Wait until `send_some` may take bytes again. Raises StreamBroken."""

    async def receive_some(self) -> bytes:
        """Wait for bytes and return them. Not for a stream that a `Reader` watches."""

    def close(self) -> None:
        """Close the stream. A waiting reader wakes with StreamBroken."""


class Watched(Protocol):
    """The driver of a stream. `Reader` passes this same object to `Work`."""

    @property
    def stream(self) -> Stream:
        """The stream to watch."""


Work = Callable[[Sequence[Watched]], bool]
"""Handles everything that is ready. Returns True to be called again soon, even if nothing more arrives."""


class Reader(Protocol):
    """Watches streams for bytes to read, and on request for room to write."""

    def watch(self, watched: Watched, *, for_room: bool = False) -> None:
        """Watch until `forget`. A second call can change `for_room`."""

    def forget(self, watched: Watched) -> None:
        """Stop watching. Call this before the stream is closed. More calls do no harm."""

    async def run(self, work: Work) -> None:
        """Call `work` with everything that is ready, whenever something is ready, until cancelled."""


class Dialer(Protocol):
    """Opens streams."""

    @property
    def places(self) -> int:
        """How many streams there may be at one time, dialled and accepted."""

    @property
    def slower_seconds(self) -> float:
        """How much longer than a direct connection one may take: 0 where there is no proxy."""

    @property
    def reaches_onions(self) -> bool:
        """Whether `dial` takes the host of an onion service."""

    @property
    def trouble(self) -> str:
        """Why nothing can be dialled at all, in words without an address; empty if nothing is known of it."""

    async def dial(self, host: str, port: int) -> Stream:
        """A stream to this address. Raises StreamBroken with the reason."""

    def reader(self) -> Reader:
        """A new reader for streams of this kind."""


class Listener(Protocol):
    """Accepts streams that others open."""

    @property
    def address(self) -> tuple[str, int]:
        """The (host, port) that it listens on."""

    async def accept(self) -> Stream:
        """The next stream. StreamBroken after closing, NoRoom while no stream can be accepted."""

    def close(self) -> None:
        """Accept no more streams."""
