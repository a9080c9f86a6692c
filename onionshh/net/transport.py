"""What a link needs of the network below it: a byte stream that never waits, and who has bytes to read.

TCP (`net/tcp.py`) and a network in memory (`net/memory.py`) both offer this; links do not know which of them
they have. All streams of a node hang on one `Reader`: a wake costs as much as fifty cells, so whatever came
is worked off in one wake, and what it leaves for a neighbour goes out in one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

READ_BYTES = 96 * 1024
"""A full frame and what is behind it: the largest whisper is one frame and a few cells more."""


class StreamBroken(Exception):
    """The stream is gone, or could not be had. Carries a reason in words for our own side."""


class NoRoom(Exception):
    """A stream was offered, and cannot be taken until others end."""


class Stream(Protocol):
    """Bytes both ways. One task reads; anyone may call `send_some`, which never waits."""

    @property
    def host(self) -> str:
        """Address of the other end, as text without a port."""

    def send_some(self, data: bytes) -> int:
        """How many bytes the network took now, perhaps 0. StreamBroken once it will never take more."""

    def receive_now(self) -> bytes | None:
        """From 1 to READ_BYTES bytes, b"" at the end, None while nothing is there. StreamBroken."""

    async def wait_sendable(self) -> None:
        """Until `send_some` may take bytes again. StreamBroken."""

    async def receive_some(self) -> bytes:
        """`receive_now`, once something is there. Not for a stream that a `Reader` watches."""

    def close(self) -> None:
        """Give it back; a waiting reader wakes with StreamBroken."""


class Watched(Protocol):
    """Whoever drives a stream; `Reader` hands it back as it was given."""

    @property
    def stream(self) -> Stream:
        """Its stream, which is what is watched."""


Work = Callable[[Sequence[Watched]], bool]
"""Works off what is ready; True to be called again soon, even if nothing more comes."""


class Reader(Protocol):
    """Watches streams: for bytes to read, and for room to write where somebody waits for it."""

    def watch(self, watched: Watched, *, for_room: bool = False) -> None:
        """Watch from now on, until `forget`. Called again, it changes what is waited for."""

    def forget(self, watched: Watched) -> None:
        """Watch no longer; at the latest before the stream is closed. May be called any number of times."""

    async def run(self, work: Work) -> None:
        """Call `work` with everything that is ready, whenever something is, until cancelled."""


class Dialer(Protocol):
    """Opens streams."""

    @property
    def places(self) -> int:
        """How many streams there may be at a time, dialled and taken."""

    async def dial(self, host: str, port: int) -> Stream:
        """A stream to that address. StreamBroken with the reason."""

    def reader(self) -> Reader:
        """A new reader for streams of this kind."""


class Listener(Protocol):
    """Takes streams that others open."""

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) it listens on."""

    async def accept(self) -> Stream:
        """The next stream. StreamBroken once closed, NoRoom while it cannot be taken."""

    def close(self) -> None:
        """Take no more."""
