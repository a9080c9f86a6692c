"""An endpoint's side of delivery: the lanes of all its visitors, and what it says first to those it knows
(SPEC 12, 13).

A visitor that asked for a session is a peer from its first whisper on. What the program says first to a peer,
and a reply for which no lane is open, goes by the peer's way back. If that does not lead anywhere, it is left
at relays for the peer (`post.py`), or waits until the peer comes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.alone import CameAlone
from onionshh.client.delivery.by_mail import CameByMail
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Carrier, Lane, LaneSet
from onionshh.client.delivery.outbox import Stored
from onionshh.client.delivery.reading import Destinations, Reader
from onionshh.client.delivery.receiving import Receiving
from onionshh.client.delivery.sending import Sending
from onionshh.client.hosting.called import Called
from onionshh.client.hosting.key_store import KeyStore
from onionshh.client.hosting.part_store import PartStore
from onionshh.client.hosting.post import LEAST_SECONDS, OVER, Post
from onionshh.client.hosting.senders import Senders
from onionshh.client.hosting.transfers import Transfers
from onionshh.client.hosting.whisper_store import WhisperStore
from onionshh.client.mail.reading import NoRoom
from onionshh.client.outbox_store import OutboxStore
from onionshh.client.receipt import Receipt
from onionshh.client.session.accepting import Accepting
from onionshh.client.session.calling import Calling
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.store import SessionStore
from onionshh.client.session.talking import SessionTalk
from onionshh.core.base.classes import TALK
from onionshh.core.delivery.actions import Send
from onionshh.core.delivery.receiver import VISITOR_IDLE_SECONDS
from onionshh.core.delivery.record import WAY_BACK, WHISPER, Record
from onionshh.core.delivery.sender import TooMany
from onionshh.core.session.session import Session, SessionId
from onionshh.core.session.way_back import RECEIVED_BODY, decode_ways_untrusted
from onionshh.errors import BadData, Closed, ProtocolError
from onionshh.ids import RandomBytes
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.net.database import Database
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

SWEEP_SECONDS = 60.0
CLOSED = "the endpoint was closed before a receipt came"
RUNS_AGAIN = "the endpoint was closed; the whisper goes out when it runs again"
IDLE_SECONDS = (VISITOR_IDLE_SECONDS, VISITOR_IDLE_SECONDS)
"""The visitor ends an idle lane earlier."""


class Peers:
    """`load` it, then `run` it."""

    def __init__(
        self, context: Context, database: Database, *, give_up_after: int | None = None, receipts: bool = True
    ) -> None:
        self._context = context
        self.lanes = LaneSet()
        self.keeper = SessionKeeper(context, SessionStore(database))
        self.receiving = Receiving(
            context,
            self.lanes,
            WhisperStore(database),
            self.keeper,
            give_up_after=give_up_after,
            receipts=receipts,
            call_back=self._call_back,
        )
        self.transfers = Transfers(context, self.lanes, PartStore(database, context.run_long), self.keeper)
        self.accepting = Accepting(context, self.keeper, self.resumed)
        self._calling: dict[SessionId, Called] = {}
        self._outboxes = OutboxStore(database)
        self.post = Post(context, database, self.keeper, live=self._live, stored=self.receiving.stored)
        self._waiting: dict[SessionId, list[Stored]] = {}
        """What an earlier run could not bring over."""
        self._talk = SessionTalk(context, self.keeper, self.lanes, way_back=self._way_back)
        destinations = Destinations(
            self._sending_for,
            lambda: self.receiving,
            self._talk.take,
            parts=self.transfers.bring if receipts else None,
            shows_replies=lambda lane: lane.session is not None,
        )
        self._reader = Reader(self.lanes, destinations, context.drops)

    def check_senders(self, own_key: bytes, key_store: KeyStore) -> None:
        """Check from now on who senders say they are. `own_key`: the endpoint's address key."""
        senders = Senders(self._context, own_key, key_store, self.keeper, self.receiving.hold_back)
        self._talk.check_senders(senders.prove)

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self.receiving.load()
        await self.transfers.load()
        await self.keeper.load()
        await self.post.load()
        for peer in await self._outboxes.peers():
            if self.keeper.get(peer) is None:
                self._outboxes.forget_soon(peer)
            else:
                earliest = self._context.clock.earliest()
                self._waiting[SessionId(peer)] = await self._outboxes.of(peer).load(earliest)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve, until cancelled."""
        self._context.shared.sessions.append(self.keeper)
        async with trio.open_nursery() as nursery:
            self.lanes.nursery = nursery
            self._context.shared.make_room()
            for session_id, rows in self._waiting.items():
                session = self.keeper.get(session_id)
                if session is not None:
                    self._known(session).sending.restore(rows)
            self._waiting.clear()
            task_status.started()
            nursery.start_soon(self._sweep)
            nursery.start_soon(self.transfers.run)
            nursery.start_soon(self.post.run)
            for session in list(self.keeper.table.sessions):
                if self.receiving.receiver.replies.wait_for(session.session_id):
                    nursery.start_soon(self.receiving.bring_replies, session.session_id)
            try:
                await self.receiving.run()
            finally:
                self.lanes.nursery = None
                lasts = self._outboxes.database.lasts
                for known in self._calling.values():
                    known.close(RUNS_AGAIN if lasts else CLOSED, keep=lasts)
                self._context.shared.sessions.remove(self.keeper)

    # Lanes that visitors open.

    def introduced(self, joined: JoinedCircuit, record: Record | None, session: Session | None) -> None:
        """A visitor introduced itself. `session`: if it asked for one. `record` came with the
        introduction."""
        if session is not None:
            self.keeper.begun(session)
        self._serve(joined, session, record)

    def resumed(self, joined: JoinedCircuit | None, session: Session, record: Record | None) -> None:
        """A peer went on with its session."""
        session.silences = 0
        if joined is not None:
            lane = self._serve(joined, session, record)
            known = self._calling.get(session.session_id)
            if lane is not None and known is not None:
                known.adopt(lane)
        elif record is not None:
            self._serve(
                CameAlone(record, lambda answer: self._answer(session, answer), self._context.clock),
                session,
                None,
            )

    def _serve(self, carrier: Carrier, session: Session | None, record: Record | None) -> Lane | None:
        if self.lanes.nursery is None:
            carrier.close(Reason.ENDPOINT_CLOSED)
            return None
        lane = self.lanes.add(carrier, writers=1, session=session)
        self.receiving.lane_opened(lane)
        self._reader.start(lane, record)
        return lane

    # What lay in mailboxes.

    def session_of(self, session_id: bytes) -> Session | None:
        """The session with this id."""
        return self.keeper.find(session_id)

    async def mailed(self, record: Record, session: Session | None) -> None:
        """A letter was read. What it says is on disk when this returns, and so is the receipt that is owed.
        `session`: its sender's. NoRoom, BadData, Closed, ProtocolError for a record of no use."""
        if self.lanes.nursery is None:
            raise Closed("This endpoint is not open.")
        if session is not None and self.keeper.is_over(session.session_id):
            session = None
        if session is not None and self.keeper.find(session.session_id) is None:
            self.keeper.begun(session)
        elif session is not None:
            self.keeper.used(session)
        session_id = None if session is None else session.session_id
        carrier = CameByMail(lambda reply: self._call_back(session_id, reply), self._context.clock)
        lane = self.lanes.add(carrier, writers=0, session=session, waited=True)
        self.receiving.lane_opened(lane)
        try:
            await self._take_mail(lane, record, carrier)
        finally:
            self.lanes.end(lane.number, Reason.FINISHED)
        if session is not None and carrier.owed:
            if self.keeper.get(session.session_id) is None:  # the whisper was here before the letter
                await self.keeper.save(session)
            await self.post.owe(session, carrier.owed)

    async def _take_mail(self, lane: Lane, record: Record, carrier: CameByMail) -> None:
        sending = self._sending_for(lane, record)
        awaited = sending is not None and sending.is_awaited(record.in_reply_to)
        if not await self._reader.take(lane, record):
            return  # anyone may leave what nobody here takes: it must not look as if there were no room
        if sending is not None and awaited:
            await sending.kept(record.in_reply_to)
        elif not await self.receiving.kept(lane, record.whisper_id) and not carrier.owed:
            raise NoRoom

    async def _live(self, session: Session, receipts: Sequence[Record]) -> Sequence[Record]:
        """Send receipts for letters to a peer that can be reached now. Returns those that did not leave."""
        lane = self._open_lane(session)
        if lane is not None:
            self.lanes.send(Send(lane.number, tuple(receipts), None), lambda send: None)
            return ()
        left = list(receipts)
        with suppress(CircuitFailed):
            while left and session.way_back:
                await self._answer(session, left[0])
                del left[0]
        return left

    # What the endpoint says first.

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        return self._context.clock

    @property
    def random_bytes(self) -> RandomBytes:
        """The node's source of chance."""
        return self._context.chance.bytes

    @property
    def privacy_class(self) -> int:
        """The class in which the endpoint speaks first."""
        return TALK.number

    def check_known(self, session: Session) -> None:
        """Closed if the endpoint is closed, or does not know this peer any more."""
        if self.lanes.nursery is None:
            raise Closed("This endpoint is not open.")
        if self.keeper.find(session.session_id) is not session:
            raise Closed("This peer was forgotten.")

    def speak(self, session: Session, record: Record, key: bytes | None) -> Receipt:
        """Say this to a peer first. TooMany, BadData, ValueError for a key of another whisper."""
        session.marks.answered = True
        self.keeper.save_soon(session)
        best = self._context.clock.best()
        deadline = self._context.clock.monotonic() + record.expires - best
        return self._known(session).sending.accept(record, deadline, key)

    def known(self) -> list[Session]:
        """The sessions on disk, the one used last coming first."""
        sessions = self.keeper.table.sessions
        return sorted(sessions, key=lambda session: session.history.used_at, reverse=True)

    async def keep(self, session: Session) -> None:
        """This session goes last. Closed, BadData."""
        self.check_known(session)
        session.marks.kept = True
        await self.keeper.save(session)

    async def forget(self, session: Session) -> None:
        """Erase this session and what waits for its peer. Closed, BadData."""
        known = self._calling.pop(session.session_id, None)
        if known is not None:
            known.close(OVER)
        for lane in self.lanes:
            if lane.session is session:
                self.lanes.end(lane.number, Reason.PEER_FORGOTTEN)
        self.keeper.forget(session)
        self.post.forget_peer(session)
        self._outboxes.forget_soon(session.session_id)
        await self.receiving.forget(session.session_id)

    def _known(self, session: Session) -> Called:
        known = self._calling.get(session.session_id)
        if known is None:
            calling = Calling(self._context, self.keeper, session)
            sending = Sending(
                self._context,
                self.lanes,
                calling,
                outbox=self._outboxes.of(session.session_id),
                idle_seconds=IDLE_SECONDS,
                opened=self._opened,
                mail=self.post.mail_for(session),
            )
            known = self._calling[session.session_id] = Called(calling, sending)
            self.lanes.soon(known.run)
            lane = self._open_lane(session)
            if lane is not None:
                known.adopt(lane)
        return known

    def _open_lane(self, session: Session) -> Lane | None:
        """A circuit that is joined to this peer now."""
        for lane in self.lanes:
            if lane.session is session and isinstance(lane.carrier, JoinedCircuit):
                return lane
        return None

    def _opened(self, lane: Lane) -> None:
        """The endpoint called a peer, and a lane is open."""
        self.receiving.lane_opened(lane)
        self._reader.start(lane)

    def _sending_of(self, lane: Lane) -> Sending | None:
        known = None if lane.session is None else self._calling.get(lane.session.session_id)
        return None if known is None else known.sending

    def _sending_for(self, lane: Lane, record: Record) -> Sending | None:
        """The Sender that sent what a record is about. A peer that was away may come back in a new session,
        and acknowledge there what was left for it in the one before. Nobody else knows the id."""
        own = self._sending_of(lane)
        if own is None or not own.sender.knows(record.in_reply_to):
            for known in self._calling.values():
                if known.sending.sender.knows(record.in_reply_to):
                    return known.sending
        return own

    def _call_back(self, session_id: bytes | None, reply: Record) -> None:
        """A reply waits for this peer, and the lane that its whisper came over has ended."""
        session = self.keeper.get(session_id)
        seconds = reply.expires - self._context.clock.best()
        if session is None or not (session.way_back or self._open_lane(session) or seconds > LEAST_SECONDS):
            return  # it is on disk, and leaves when the peer comes
        sending = self._known(session).sending
        if sending.sender.knows(reply.whisper_id):
            return
        try:
            sending.submit(reply, self._context.clock.monotonic() + seconds)
        except TooMany:
            self._context.drops.count(Reason.NO_ROOM_FOR_WHISPER)
        else:
            sending.restored_letter(reply.whisper_id)

    async def _answer(self, session: Session, record: Record) -> None:
        """Answer to a record that came alone. CircuitFailed. A receipt is tried once: without it, the record
        comes again. A reply is tried until it arrives."""
        if record.kind == WHISPER:
            self._call_back(session.session_id, record)
            return
        joined = await self._known(session).calling.answer(record)
        if joined is not None:
            self._serve(joined, session, None)

    # What peers say of their sessions.

    async def _way_back(self, lane: Lane, session: Session, record: Record) -> None:
        """The answer has the id of the record that it is for, so a late answer to an earlier one is known."""
        ways = decode_ways_untrusted(record.body)
        if ways is None:
            raise ProtocolError(Reason.WAY_BACK_SHAPE)  # an endpoint has none
        session.way_back = ways
        session.marks.confirmed = True  # only a peer that has the session on its disk says this
        await self.keeper.save(session)
        self._talk.send(lane, self._talk.record(WAY_BACK, RECEIVED_BODY, record.whisper_id))
        known = self._calling.get(session.session_id)
        if known is not None:
            known.sending.way_is_new()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            for session in [lane.session for lane in self.lanes if lane.session is not None]:
                self.keeper.used(session)
            self.keeper.tidy()
            for session_id, known in list(self._calling.items()):
                over = self.keeper.get(session_id) is None
                if over:
                    self._outboxes.forget_soon(session_id)
                if over or known.sending.sender.is_idle:
                    known.close(OVER)
                    del self._calling[session_id]
            try:
                await self._outboxes.tidy(self._context.clock.earliest())
            except BadData as error:
                logger.error("what is past its time could not be erased: %s", error)
