"""What a link needs of the network below it: a byte stream that never waits to send.

TCP (`net/tcp.py`) and a network in memory (`net/memory.py`) both are one; links do not know which.
"""

from __future__ import annotations

from typing import Protocol

READ_BYTES = 64 * 1024


class StreamBroken(Exception):
    """The stream is gone, or could not be had. Carries a reason in words for our own side."""


class Stream(Protocol):
    """Two-way bytes. One task reads; anyone may call `send_some`, which never waits."""

    @property
    def host(self) -> str:
        """Address of the other end, as text without a port."""

    def send_some(self, data: bytes) -> int:
        """How many bytes the network took now, perhaps 0. StreamBroken when it takes no more ever."""

    async def wait_sendable(self) -> None:
        """Until `send_some` may take bytes again. StreamBroken."""

    async def receive_some(self) -> bytes:
        """From 1 to READ_BYTES bytes, or b"" at the end. StreamBroken."""

    def close(self) -> None:
        """Give it back; a waiting reader wakes with StreamBroken."""


class Dialer(Protocol):
    """Opens streams."""

    async def dial(self, host: str, port: int) -> Stream:
        """A stream to that address. StreamBroken with the reason."""


class Listener(Protocol):
    """Takes streams that others open."""

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) it listens on."""

    async def accept(self) -> Stream:
        """The next stream. StreamBroken once closed."""

    def close(self) -> None:
        """Take no more."""
