"""An endpoint's side of its joined circuits: whispers into the inbox, receipts and replies out (SPEC 13)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import inf

import trio

from onionshh.client.context import Context
from onionshh.client.exchange import Exchange
from onionshh.client.inbox import REPLIES_MOST, Inbox
from onionshh.client.receipt import Receipt
from onionshh.core.whisper import RECEIPT, Record, receipt_for
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.circuits import CircuitFailed

logger = logging.getLogger("onionshh.client")

EXCHANGES_MOST = 1024
IDLE_SECONDS = 600.0
TIDY_SECONDS = 60.0
FULL_WAIT_SECONDS = 60.0
PATHS_MOST = 4096
RECEIPTS_TOGETHER = 8
RECEIPTS_WAIT_SECONDS = 0.02
"""So many receipts may wait for the whisper that is on its way, so long, to leave in one frame: each frame
is a wake of seven relays."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A receipt that is due. `again`: for a whisper that was here before, so its reply is repeated too."""

    receipt: Record
    again: bool


class Correspondence:
    """Every visitor of one endpoint."""

    def __init__(self, context: Context, inbox: Inbox) -> None:
        self._context = context
        self._inbox = inbox
        self._exchanges: set[Exchange] = set()
        self._paths: dict[WhisperId, Exchange] = {}
        self._replies: dict[WhisperId, Receipt] = {}
        self._finished = 0
        self._room = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self.arrived = trio.Event()
        """Set, and replaced, whenever a whisper is new in the inbox."""

    async def run(self) -> None:
        """Everything below happens while this runs: for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self._tidy()
            finally:
                self._close()

    def start(self, exchange: Exchange, first: Record | None) -> None:
        """Serve a joined circuit from now on; `first` rode along with the introduction."""
        if self._nursery is None:
            exchange.close("endpoint-closed")
            return
        if len(self._exchanges) >= EXCHANGES_MOST:
            oldest = min(self._exchanges, key=lambda one: one.used_at)
            oldest.close("exchanges-most")
            self._context.drops.count("exchanges-most")
        self._exchanges.add(exchange)
        self._nursery.start_soon(self._serve, exchange, first)

    async def _tidy(self) -> None:
        """Close what idles and forget what is past its time, for ever."""
        while True:
            await trio.sleep(TIDY_SECONDS)
            clock = self._context.clock
            for exchange in list(self._exchanges):
                if clock.monotonic() - exchange.used_at > IDLE_SECONDS:
                    exchange.close("idle")
            for whisper_id in [one for one, path in self._paths.items() if not path.open]:
                del self._paths[whisper_id]
            wall = clock.wall()
            for reply_id in [one for one, receipt in self._replies.items() if receipt.record.expires < wall]:
                self._replies.pop(reply_id).conclude(
                    "expired", "the visitor did not come back for it in time"
                )
            try:
                await self._inbox.tidy(wall)
            except BadData as error:
                logger.error("%s", error)

    def finished(self) -> None:
        """The program has finished with a whisper: there is room for one more."""
        self._finished += 1
        self._room.unpark()

    def reply(self, whisper_id: WhisperId, receipt: Receipt) -> None:
        """Send a reply that is on disk already, if its visitor is there; else it waits for the visitor."""
        self._replies[receipt.record.whisper_id] = receipt
        if len(self._replies) > REPLIES_MOST:
            oldest = self._replies.pop(next(iter(self._replies)))
            oldest.conclude("failed", "too many other replies wait for their visitors")
        exchange = self._paths.get(whisper_id)
        if exchange is not None and exchange.open and self._nursery is not None:
            self._nursery.start_soon(self._send_reply, exchange, receipt.record)

    def _close(self) -> None:
        self._nursery = None
        for exchange in list(self._exchanges):
            exchange.close("endpoint-closed")
        for receipt in self._replies.values():
            receipt.conclude("failed", "the endpoint was closed; the reply goes out when it runs again")

    # Inside.

    async def _serve(self, exchange: Exchange, first: Record | None) -> None:
        try:
            waiting: list[_Answer] = []
            if first is not None:
                await self._record(exchange, first, waiting)
            while True:
                if len(waiting) >= RECEIPTS_TOGETHER or not exchange.more_is_coming:
                    await self._acknowledge(exchange, waiting)
                record: Record | None = None
                with trio.move_on_after(RECEIPTS_WAIT_SECONDS if waiting else inf):
                    record = await exchange.receive()
                if record is not None:
                    await self._record(exchange, record, waiting)
                else:
                    await self._acknowledge(exchange, waiting)
        except CircuitFailed:
            pass
        except BadData as error:
            # Not on disk, so not acknowledged: the visitor keeps it and comes again.
            logger.error("a whisper could not be kept: %s", error)
        finally:
            exchange.close("exchange-over")
            self._exchanges.discard(exchange)

    async def _record(self, exchange: Exchange, record: Record, waiting: list[_Answer]) -> None:
        """Keep one record, and add what is to be answered to those that wait."""
        if record.kind == RECEIPT:
            await self._inbox.reply_acknowledged(record.in_reply_to)
            receipt = self._replies.pop(record.in_reply_to, None)
            if receipt is not None:
                receipt.conclude("delivered")
            return
        while True:
            finished = self._finished
            accepted = await self._inbox.accept(record, self._received_at())
            if accepted != "full":
                break
            # It is not acknowledged meanwhile: the circuit's inbox fills and the visitor's window closes.
            await self._acknowledge(exchange, waiting)
            if finished == self._finished:
                with trio.move_on_after(FULL_WAIT_SECONDS):
                    await self._room.park()
            if not exchange.open:
                self._room.unpark()  # the room that woke us is for another
                return
        self._note_path(record.whisper_id, exchange)
        if accepted == "new":
            arrived, self.arrived = self.arrived, trio.Event()
            arrived.set()
        receipt_due = receipt_for(record, self._context.chance.bytes)
        waiting.append(_Answer(receipt_due, again=accepted == "known"))

    async def _acknowledge(self, exchange: Exchange, waiting: list[_Answer]) -> None:
        """Send the receipts that wait, and the replies to what came again; none wait then."""
        answers, waiting[:] = waiting[:], []
        if answers:
            await exchange.send(*(answer.receipt for answer in answers))
        for answer in answers:
            if answer.again:
                reply = await self._inbox.reply_to(answer.receipt.in_reply_to)
                if reply is not None:
                    await self._send_reply(exchange, reply)

    async def _send_reply(self, exchange: Exchange, reply: Record) -> None:
        try:
            await exchange.send(reply)
        except CircuitFailed:
            return  # it stays on disk; the visitor asks again
        receipt = self._replies.get(reply.whisper_id)
        if receipt is not None and not receipt.is_final:
            receipt.status = "sent"

    def _note_path(self, whisper_id: WhisperId, exchange: Exchange) -> None:
        self._paths.pop(whisper_id, None)
        self._paths[whisper_id] = exchange
        if len(self._paths) > PATHS_MOST:
            del self._paths[next(iter(self._paths))]

    def _received_at(self) -> float:
        return float(self._context.clock.wall())
