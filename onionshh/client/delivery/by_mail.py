"""A record that lay in a mailbox, as a lane that is open while it is taken (SPEC 14).

Nobody is at the other end now. What the Receiver and the Sender send at once is collected: the receipts can
be left in a mailbox, and a reply finds its own way. Whatever comes later finds no lane, and another way.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from onionshh.core.delivery.record import WHISPER, Record
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason


class CameByMail:
    """`reply` brings a reply over. `owed`: the receipts and refusals for what came."""

    def __init__(self, reply: Callable[[Record], None], clock: Clock) -> None:
        self._reply = reply
        self._clock = clock
        self._over = trio.Event()
        self.owed: list[Record] = []

    @property
    def open(self) -> bool:
        """Whether it is still being taken."""
        return not self._over.is_set()

    async def closed(self) -> None:
        """Wait until it is over."""
        await self._over.wait()

    @property
    def more_is_coming(self) -> bool:
        """Never: each item is taken by itself."""
        return False

    def send_at_once(self, *records: Record) -> bool:
        """Collect these. CircuitFailed once it is over."""
        if not self.open:
            raise CircuitFailed(Reason.CLOSED)
        for record in records:
            if record.kind == WHISPER:
                self._reply(record)
            else:
                self.owed.append(record)
        return True

    async def send(self, *records: Record) -> None:
        """As `send_at_once`, which never leaves anything to wait."""
        await trio.lowlevel.checkpoint()
        self.send_at_once(*records)

    async def receive(self) -> Record:
        """Nothing comes over it: wait until it is over. CircuitFailed."""
        await self._over.wait()
        raise CircuitFailed(Reason.FINISHED)

    def why_refused(self, record: Record) -> int | None:
        """Why a whisper with these dates is refused. None when it is not."""
        return record.why_refused(earliest=self._clock.earliest(), best=self._clock.best())

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """It is over."""
        self._over.set()
