"""A record that came alone, in one cell, and the way for the answers to it (SPEC 12).

For the Receiver and the Sender it is a lane like others. What is sent over it leaves in cells of their own,
by the way back of the session or through its introducers. It ends by itself after a while.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from onionshh.core.delivery.record import Record
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason

ANSWERED_SECONDS = 20.0
"""How long the answers may take. A reply that comes later finds its own way."""


class CameAlone:
    """`answer` sends one record back. It raises CircuitFailed if that cannot be done."""

    def __init__(self, record: Record, answer: Callable[[Record], Awaitable[None]], clock: Clock) -> None:
        self._record: Record | None = record
        self._answer = answer
        self._clock = clock
        self._over = trio.Event()

    @property
    def open(self) -> bool:
        """Whether answers can still be sent."""
        return not self._over.is_set()

    async def closed(self) -> None:
        """Wait until it is over."""
        await self._over.wait()

    @property
    def more_is_coming(self) -> bool:
        """Never: the record came alone."""
        return False

    def send_at_once(self, *records: Record) -> bool:
        """Never: each record needs a circuit."""
        return False

    async def send(self, *records: Record) -> None:
        """Send each record in a cell of its own. CircuitFailed."""
        for record in records:
            if not self.open:
                raise CircuitFailed(Reason.CLOSED)
            await self._answer(record)

    async def receive(self) -> Record:
        """The record. After that this waits until it is over: CircuitFailed."""
        record, self._record = self._record, None
        if record is not None:
            await trio.lowlevel.checkpoint()
            return record
        with trio.move_on_after(ANSWERED_SECONDS):
            await self._over.wait()
        self.close(Reason.IDLE)
        raise CircuitFailed(Reason.IDLE)

    def why_refused(self, record: Record) -> int | None:
        """Why a whisper with these dates is refused. None when it is not."""
        return record.why_refused(earliest=self._clock.earliest(), best=self._clock.best())

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """It is over."""
        self._over.set()
