"""A carrier whose other end is the test: what comes over it, and what was sent."""

from __future__ import annotations

import math

import trio

from onionshh.core.delivery.record import Record
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason


class Pipe:
    """Takes every record at once. `refuse`: what it says of the dates of all records."""

    def __init__(self, refuse: int | None = None) -> None:
        self._refuse = refuse
        self._in, self._out = trio.open_memory_channel[Record](math.inf)
        self._over = trio.Event()
        self.sent: list[Record] = []
        self.ended: Reason | None = None

    def come(self, record: Record) -> None:
        """The other end sends this."""
        self._in.send_nowait(record)

    @property
    def open(self) -> bool:
        return self.ended is None

    async def closed(self) -> None:
        await self._over.wait()

    @property
    def more_is_coming(self) -> bool:
        return self._out.statistics().current_buffer_used > 0

    def send_at_once(self, *records: Record) -> bool:
        self.sent += records
        return True

    async def send(self, *records: Record) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += records

    async def receive(self) -> Record:
        try:
            return await self._out.receive()
        except trio.EndOfChannel:
            raise CircuitFailed(Reason.CLOSED) from None

    def why_refused(self, record: Record) -> int | None:
        return self._refuse

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """From either side."""
        if self.ended is None:
            self.ended = reason
            self._over.set()
            self._in.close()
