"""Reads lanes, and takes each record where it belongs: to a Receiver, to a Sender, or to the session (SPEC
13).

| record                         | goes to                                               |
|--------------------------------|-------------------------------------------------------|
| whisper, question for answer   | the Receiver                                          |
| whisper in reply to another    | the Sender of that peer; or, if nobody waits for it,  |
|                                | the Receiver, which shows it                          |
| receipt, refusal               | both: either may have sent what it is about           |
| part of a transfer             | what collects transfers                               |
| refresh, way back, proof       | the lane's session                                    |

What nobody here takes is dropped and counted. The lane goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.delivery.receiving import Receiving
from onionshh.client.delivery.sending import Sending
from onionshh.core.base.drops import Drops
from onionshh.core.delivery.record import ASK, NO_ID, PART, RECEIPT, REFUSED, SESSION_KINDS, Record
from onionshh.errors import BadData, Closed, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

Takes = Callable[[Lane, Record], Awaitable[None]]


async def nobody_listens(lane: Lane, record: Record) -> None:
    """For an end that needs no word of receipts and answers."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where records go. None: nobody here takes such records. `sending`: the Sender that a receipt or an
    answer is for. `heard`: told first of each receipt and each answer. `shows_replies`: whether the program
    sees answers that nobody waits for."""

    sending: Callable[[Lane, Record], Sending | None]
    receiving: Callable[[], Receiving | None]
    of_session: Takes
    parts: Takes | None = None
    heard: Takes = nobody_listens
    shows_replies: Callable[[Lane], bool] = lambda lane: False


class Reader:
    """Reads the lanes of one endpoint or contact."""

    def __init__(self, lanes: LaneSet, destinations: Destinations, drops: Drops) -> None:
        self.lanes = lanes
        self._destinations = destinations
        self._drops = drops

    def start(self, lane: Lane, first: Record | None = None) -> None:
        """Read this lane until it ends. `first` came with its opening."""
        self.lanes.soon(self._read, lane, first)

    async def _read(self, lane: Lane, first: Record | None) -> None:
        try:
            if first is not None:
                await self.take(lane, first)
            while True:
                await lane.readable()
                await self.take(lane, await lane.carrier.receive())
        except (CircuitFailed, Closed):
            pass
        except ProtocolError as error:
            self._drops.count(error.reason)
        except BadData as error:
            logger.error("a whisper could not be looked up: %s", error)
        self.lanes.lost(lane)

    async def take(self, lane: Lane, record: Record) -> bool:
        """Take a record that came over this lane where it belongs. Returns whether there is such a place.
        Raises ProtocolError if its place refuses it: then the lane ends. BadData, Closed."""
        destinations = self._destinations
        receiving, sending = destinations.receiving(), destinations.sending(lane, record)
        if record.kind in SESSION_KINDS:
            if lane.session is None:
                return self._nobody_takes_it(Reason.RECORD_WITHOUT_SESSION)
            await destinations.of_session(lane, record)
        elif record.kind == PART and destinations.parts is not None:
            await destinations.parts(lane, record)
        elif record.kind in (RECEIPT, REFUSED):
            if record.kind == RECEIPT:
                await destinations.heard(lane, record)
            if sending is not None:
                sending.bring(lane, record)
            if receiving is not None:
                await receiving.bring(lane, record)
        elif record.kind == ASK or (record.kind != PART and record.in_reply_to == NO_ID):
            if receiving is None:
                return self._nobody_takes_it(Reason.RECORD_UNREAD)
            await receiving.bring(lane, record)
        elif record.kind != PART and (sending is not None or destinations.shows_replies(lane)):
            await destinations.heard(lane, record)
            await self._answer(lane, record, sending, receiving)
        else:
            return self._nobody_takes_it(Reason.RECORD_UNREAD)
        return True

    def _nobody_takes_it(self, why: Reason) -> bool:
        self._drops.count(why)
        return False

    async def _answer(
        self, lane: Lane, answer: Record, sending: Sending | None, receiving: Receiving | None
    ) -> None:
        """If nobody waits for it, the Receiver keeps it, shows it and acknowledges it. The Sender hears of it
        in any case, once it is kept."""
        awaited = sending is not None and sending.is_awaited(answer.in_reply_to)
        if receiving is None or awaited or not self._destinations.shows_replies(lane):
            if sending is not None:
                sending.bring(lane, answer)
        elif await receiving.bring(lane, answer) and sending is not None:
            sending.bring(lane, answer, owes=False)
