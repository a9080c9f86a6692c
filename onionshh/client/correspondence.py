"""An endpoint's side of its joined circuits: whispers into the inbox, receipts and replies out (SPEC 13)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import inf

import trio

from onionshh.client.context import Context
from onionshh.client.exchange import Exchange
from onionshh.client.inbox import REPLIES_MOST, Inbox
from onionshh.client.receipt import Outcome
from onionshh.core.whisper import (
    EXPIRED,
    RECEIPTS_WAIT_SECONDS,
    REFUSED,
    WHISPER,
    Record,
    receipt_for,
    refusal_of,
)
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.circuits import CircuitFailed

logger = logging.getLogger("onionshh.client")

EXCHANGES_MOST = 1024
IDLE_SECONDS = 600.0
TIDY_SECONDS = 60.0
FULL_WAIT_SECONDS = 60.0
LEAVING_MOST = 4
"""Replies that may wait for one visitor's window before nothing more is taken from him."""
RECEIPTS_TOGETHER = 8
"""So many receipts may wait for the whisper that is on its way."""


@dataclass(slots=True)
class _Answer:
    """A receipt that is due. `again`: for a whisper that was here before, so its reply is repeated too.
    `shown`: the program has just been given that whisper, and may reply."""

    receipt: Record
    again: bool
    shown: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that its visitor has not acknowledged. `deadline`: monotonic seconds."""

    record: Record
    deadline: float
    outcome: Outcome


class _Visit:
    """A joined circuit, and the receipts that wait to leave on it, by their whispers."""

    __slots__ = ("exchange", "leaving", "left", "patience", "since", "waiting")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.patience = trio.CancelScope()
        """What its task is in while it waits for the next record."""
        self.waiting: dict[WhisperId, _Answer] = {}
        self.since = inf
        """When the first of them began to wait, in trio's time."""
        self.leaving = 0
        """Replies that wait for the window, each in a task of its own."""
        self.left = trio.lowlevel.ParkingLot()

    @property
    def may_wait(self) -> bool:
        return len(self.waiting) < RECEIPTS_TOGETHER and (
            self.exchange.more_is_coming or any(answer.shown for answer in self.waiting.values())
        )


CLOSED = "the endpoint was closed; the reply goes out when it runs again"


class Correspondence:
    """Every visitor of one endpoint."""

    def __init__(self, context: Context, inbox: Inbox) -> None:
        self._context = context
        self._inbox = inbox
        self._exchanges: set[Exchange] = set()
        self._paths: dict[WhisperId, _Visit] = {}
        self._replies: dict[WhisperId, Reply] = {}
        self._finished = 0
        self._room = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self._closed = False
        self._arrived = trio.Event()
        self._listening = 0

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
            self._exchanges.discard(oldest)  # its task may take a moment to end
            oldest.close("exchanges-most")
            self._context.drops.count("exchanges-most")
        self._exchanges.add(exchange)
        self._nursery.start_soon(self._serve, _Visit(exchange), first)

    async def arrival(self) -> None:
        """Until `announce`: a whisper is new in the inbox, or the endpoint closed."""
        arrived = self._arrived
        self._listening += 1
        try:
            await arrived.wait()
        finally:
            if arrived is self._arrived:
                self._listening -= 1

    def announce(self) -> bool:
        """Wake whoever waits for an arrival; whether anybody did."""
        arrived, self._arrived = self._arrived, trio.Event()
        listened, self._listening = self._listening > 0, 0
        arrived.set()
        return listened

    async def _tidy(self) -> None:
        """Close what idles and forget what is past its time, for ever."""
        while True:
            await trio.sleep(TIDY_SECONDS)
            clock = self._context.clock
            for exchange in list(self._exchanges):
                if clock.monotonic() - exchange.used_at > IDLE_SECONDS:
                    exchange.close("idle")
            for whisper_id in [one for one, path in self._paths.items() if not path.exchange.open]:
                del self._paths[whisper_id]
            now = clock.monotonic()
            for reply_id in [one for one, reply in self._replies.items() if reply.deadline < now]:
                self._replies.pop(reply_id).outcome.conclude(
                    "expired", "the visitor did not come back for it in time"
                )
            try:
                await self._inbox.tidy(clock.earliest())
            except BadData as error:
                logger.error("%s", error)

    def finished(self, whisper_id: WhisperId) -> None:
        """The program has finished with a whisper: there is room for one more, and its receipt may go."""
        self._finished += 1
        self._room.unpark()
        visit = self._paths.get(whisper_id)
        answer = None if visit is None else visit.waiting.get(whisper_id)
        if visit is not None and answer is not None:
            answer.shown = False
            self._acknowledge_soon(visit)
        self._paths.pop(whisper_id, None)

    def reply(self, reply: Reply) -> None:
        """Send a reply that is on disk already, if its visitor is there; else it waits for the visitor."""
        record, whisper_id = reply.record, reply.record.in_reply_to
        if self._closed:
            reply.outcome.conclude("failed", CLOSED)
            return
        self._replies[record.whisper_id] = reply
        if len(self._replies) > REPLIES_MOST:
            oldest = self._replies.pop(next(iter(self._replies)))
            oldest.outcome.conclude("failed", "too many other replies wait for their visitors")
        visit = self._paths.get(whisper_id)
        if visit is None or not visit.exchange.open:
            return
        due = visit.waiting.pop(whisper_id, None)
        if due is None or record.size == due.receipt.size:
            self._send_soon(visit, record)
        else:
            self._send_soon(visit, due.receipt, record)  # the reply takes longer
        self._acknowledge_soon(visit)

    def _close(self) -> None:
        self._nursery = None
        self._closed = True
        for exchange in list(self._exchanges):
            exchange.close("endpoint-closed")
        for reply in self._replies.values():
            reply.outcome.conclude("failed", CLOSED)

    # Inside.

    async def _serve(self, visit: _Visit, first: Record | None) -> None:
        exchange = visit.exchange
        try:
            if first is not None:
                await self._record(visit, first)
            while True:
                if visit.waiting and not visit.may_wait:
                    await self._acknowledge(visit)
                while visit.leaving >= LEAVING_MOST:
                    await visit.left.park()
                record: Record | None = None
                until = visit.since + RECEIPTS_WAIT_SECONDS if visit.waiting else inf
                with trio.CancelScope(deadline=until) as visit.patience:
                    record = await exchange.receive()
                if record is not None:
                    await self._record(visit, record)
                else:
                    await self._acknowledge(visit)
        except CircuitFailed:
            pass
        except BadData as error:
            # Not on disk, so not acknowledged: the visitor keeps it and comes again.
            logger.error("a whisper could not be kept: %s", error)
        finally:
            exchange.close("exchange-over")
            self._exchanges.discard(exchange)

    async def _record(self, visit: _Visit, record: Record) -> None:
        """Take one record on, and add what is to be answered to what waits."""
        exchange = visit.exchange
        if record.kind != WHISPER:
            self._inbox.reply_acknowledged(record.in_reply_to)
            reply = self._replies.pop(record.in_reply_to, None)
            if reply is not None and record.kind == REFUSED:
                reply.outcome.conclude("expired", "the visitor refused it: its time was over")
            elif reply is not None:
                reply.outcome.conclude("delivered")
            return
        why = exchange.why_refused(record)
        if why is not None:
            await exchange.send(refusal_of(record, why, self._context.chance.bytes))
            return
        waits = self._context.clock.best() < record.expires
        while True:
            finished = self._finished
            accepted = await self._inbox.accept(record, self._received_at())
            if accepted != "full":
                break
            # It is not acknowledged meanwhile: the circuit's inbox fills and the visitor's window closes.
            await self._acknowledge(visit)
            if finished == self._finished:
                await self._room_or_end(exchange)
            if not exchange.open:
                self._room.unpark()  # the room that woke us is for another
                return
            if waits and self._context.clock.best() >= record.expires:
                # Its sender has given it up meanwhile: it would take the room of one that is waited for.
                self._room.unpark()
                self._context.drops.count("record-expired-waiting")
                await exchange.send(refusal_of(record, EXPIRED, self._context.chance.bytes))
                return
        if self._inbox.is_unfinished(record.whisper_id):
            self._paths[record.whisper_id] = visit
        if not visit.waiting:
            visit.since = trio.current_time()
        new = accepted == "new"
        due = receipt_for(record, self._context.chance.bytes)
        visit.waiting[record.whisper_id] = _Answer(due, again=not new, shown=new and self.announce())

    async def _acknowledge(self, visit: _Visit) -> None:
        """Send the receipts that wait, and the replies to what came again; none wait then."""
        answers, visit.waiting = visit.waiting, {}
        await self._inbox.keep(answers)
        if answers:
            receipts = [answer.receipt for answer in answers.values()]
            if not visit.exchange.send_at_once(*receipts):
                await visit.exchange.send(*receipts)
        for whisper_id, answer in answers.items():
            if answer.again:
                reply = await self._inbox.reply_to(whisper_id)
                if reply is not None:
                    await self._send_reply(visit.exchange, reply)

    def _acknowledge_soon(self, visit: _Visit) -> None:
        """Wake the visit's own task, if its receipts need not wait any more."""
        if visit.waiting and not visit.may_wait:
            visit.patience.cancel()

    async def _room_or_end(self, exchange: Exchange) -> None:
        """Until there may be room in the inbox, or nobody is there to take from."""
        with trio.move_on_after(FULL_WAIT_SECONDS):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def until_closed() -> None:
                    await exchange.closed()
                    nursery.cancel_scope.cancel()

                await self._room.park()
                nursery.cancel_scope.cancel()

    def _send_soon(self, visit: _Visit, *records: Record) -> None:
        try:
            if visit.exchange.send_at_once(*records):
                self._reply_left(records[-1])
            elif self._nursery is not None:
                visit.leaving += 1
                self._nursery.start_soon(self._send_late, visit, *records)
        except CircuitFailed:
            pass  # it stays on disk; the visitor asks again

    async def _send_late(self, visit: _Visit, *records: Record) -> None:
        try:
            await self._send_reply(visit.exchange, *records)
        finally:
            visit.leaving -= 1
            visit.left.unpark_all()

    async def _send_reply(self, exchange: Exchange, *records: Record) -> None:
        try:
            await exchange.send(*records)
        except CircuitFailed:
            return  # it stays on disk; the visitor asks again
        self._reply_left(records[-1])

    def _reply_left(self, reply: Record) -> None:
        waiting = self._replies.get(reply.whisper_id)
        if waiting is not None:
            waiting.outcome.status = "sent"

    def _received_at(self) -> float:
        return float(self._context.clock.wall())
