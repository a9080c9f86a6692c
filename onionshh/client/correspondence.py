"""What works behind a contact: lanes to one endpoint, a Sender, sessions, transfers, and what the endpoint
says first (SPEC 12, 13).

Without a name nothing of it is on disk. With one, the session and the outbox are (`contact_folder.py`). The
Receiver is made when something can use it: a program that iterates over the contact, or a name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.alone import CameAlone
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Carrier, Lane, LaneSet
from onionshh.client.delivery.mailing import Mail, MakesMail
from onionshh.client.delivery.outbox import InMemoryOutbox, Outbox
from onionshh.client.delivery.reading import Destinations, Reader
from onionshh.client.delivery.sending import Opener, Opening, Sending
from onionshh.client.delivery.transferring import CLOSED as TRANSFER_CLOSED
from onionshh.client.delivery.transferring import (
    GIVEN_UP,
    NO_RECEIPTS,
    Source,
    ToSend,
    Transferring,
)
from onionshh.client.mail.contact_mail import ContactMail
from onionshh.client.mail.leaving import Told
from onionshh.client.mail.reading import NoRoom
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.reach import Reach
from onionshh.client.session.going_on import path_info
from onionshh.client.session.info import SessionInfo
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.client.session.showing import Showing
from onionshh.client.session.talking import SessionTalk
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.transfer import Transfer
from onionshh.core.base.classes import PrivacyClass
from onionshh.core.delivery.record import PROVE, WHISPER, Record
from onionshh.core.delivery.way import IDLE_SECONDS, IDLE_WITHOUT_SESSION_SECONDS
from onionshh.core.session.session import Session
from onionshh.core.session.telling import USUAL, Haste
from onionshh.core.session.way_back import WAYS_MOST
from onionshh.errors import BadData, Full
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

if TYPE_CHECKING:
    from onionshh.client.contact_folder import ContactFolder
    from onionshh.client.listening import Listening
    from onionshh.client.session.ways import Ways

logger = logging.getLogger("onionshh.client")

CLOSED: Final = "the contact was closed before a receipt came"
OPENED_AGAIN: Final = "the contact was closed; the whisper goes out when it is opened again"
LINGER_SECONDS = 2.0
SWEEP_SECONDS = 60.0
KEPT_SECONDS: Final = 30.0
"""How long the disk may take for what lay in a mailbox, before it is read from there again."""
TRANSFERS_MOST: Final = 16
"""Of one contact at a time."""
SESSIONS_MOST = 16
"""One in use, one before it, some that were introduced meanwhile and never answered, and one for the letters
of each period."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a contact speaks to its endpoint."""

    address_key: bytes = field(repr=False)
    privacy: PrivacyClass
    hops: int | None = None
    background: bool = False
    session: bool = True
    sender: bytes | None = field(default=None, repr=False)
    """The address key of the identity that we show to the endpoint, if any."""
    way_back: bool = False
    store: bool = True
    """Whether whispers are left in the endpoint's inbox while it is away."""
    haste: Haste = USUAL
    """How soon the other end is told of our ways back."""


class ReachesFar(Opener, Protocol):
    """The way to the other end, as far as a correspondence needs it."""

    @property
    def found(self) -> CheckedDescriptor | None:
        """The other end's descriptor, if it has one and it was found."""

    async def answer(self, session: Session, record: Record) -> JoinedCircuit | None:
        """Send a receipt in a cell of its own. As `GoingOn.answer`, but raises CircuitFailed alone."""


class FarMail(Mail, Protocol):
    """The mail of a correspondence."""

    async def load(self) -> None:
        """Take up what was left in an earlier run. BadData."""

    async def run(self) -> None:
        """Leave letters and read mail, until cancelled."""

    def answered(self) -> None:
        """The other end has shown that it has a session."""


class Correspondence:
    """`load` it, then `run` it. `folder`: where a named contact keeps what it has."""

    def __init__(self, context: Context, terms: Terms, folder: ContactFolder | None = None) -> None:
        self._context = context
        self.folder = folder
        self._terms = terms
        self._reader = Reader(LaneSet(), self._destinations(), context.drops)
        store = SessionsInMemory() if folder is None else folder.sessions
        self.sessions = (
            self._make_sessions(SessionKeeper(context, store, SESSIONS_MOST)) if terms.session else None
        )
        self._reach = self._make_reach(lambda: self.ways is not None and self.ways.call_us)
        outbox = InMemoryOutbox() if folder is None else folder.outbox
        self.mail: FarMail | None = None
        makes_mail = None
        if terms.store and self.sessions is not None:
            makes_mail = partial(self._make_mail, self.sessions)
        self.sending = self._make_sending(self._reach, self._reach, outbox, makes_mail)
        self.transfers: list[Transferring] = []
        self.listening: Listening | None = None
        keeper = self.sessions.keeper if self.sessions else SessionKeeper(context, SessionsInMemory(), 0)
        self._talk = SessionTalk(context, keeper, self.lanes, way_back=self._way_back)
        self.ways = self._make_ways(terms.way_back) if terms.way_back or folder is not None else None

    @property
    def lanes(self) -> LaneSet:
        """The lanes to the endpoint."""
        return self._reader.lanes

    def _destinations(self) -> Destinations:
        return Destinations(
            self._sending_for,
            lambda: None if self.listening is None else self.listening.receiving,
            lambda lane, record: self._talk.take(lane, record),
            heard=self._heard,
            shows_replies=lambda lane: self._shows_replies,
        )

    @property
    def _shows_replies(self) -> bool:
        return self.listening is not None and self.listening.shows_replies

    def _make_sessions(self, keeper: SessionKeeper) -> VisitorSessions:
        return VisitorSessions(self._context, keeper)

    def _make_mail(self, sessions: VisitorSessions, told: Told) -> Mail:
        mail = self.mail = ContactMail(
            self._context,
            self._terms.address_key,
            sessions,
            self.folder,
            told,
            bring=self.mailed,
            expects=lambda: self._shows_replies or self.sending.sender.awaits_mail,
            record=lambda whisper: self.sending.sender.record(whisper),
        )
        return mail

    def _make_ways(self, wanted: bool) -> Ways | None:
        """What holds our ways back; if none are wanted, what tells the endpoint to forget those of an earlier
        run. None without a session."""
        if self.sessions is None:
            return None
        # A contact without a name or a way back needs nothing of what hosting needs.
        from onionshh.client.session.ways import Voice, Ways

        return Ways(
            self._context,
            self.sessions,
            self.called,
            Voice(self.lanes, self._talk, self._answer),
            store=None if self.folder is None else self.folder.ways,
            wanted=WAYS_MOST if wanted else 0,
            haste=self._terms.haste,
        )

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        if self.sessions is not None:
            await self.sessions.load()
        if self.ways is not None:
            await self._listening(self.ways.sessions).load()
        if self.mail is not None:
            await self.mail.load()
        if self.folder is not None:
            await self._tidy(self.folder)

    async def run(self, started: Callable[[], None]) -> None:
        """Deliver, until cancelled. `started` is called once whispers may be submitted. ValueError if the
        node has no ways back left, BadData."""
        folder, earliest = self.folder, self._context.clock.earliest()
        rows = [] if folder is None else await folder.outbox.load(earliest)
        if self.ways is not None:
            self.ways.take_places()
        try:
            async with trio.open_nursery() as nursery:
                self.lanes.nursery = nursery
                self.sending.restore(rows)
                started()
                if self.listening is not None:
                    nursery.start_soon(self.listening.run)
                if self.ways is not None:
                    nursery.start_soon(self.ways.run)
                if self.mail is not None:
                    nursery.start_soon(self.mail.run)
                nursery.start_soon(self._sweep)
                if folder is not None:
                    nursery.start_soon(folder.database.keep_erased)
                await self.sending.keep_time()
        finally:
            self.lanes.nursery = None
            if self.ways is not None:
                self.ways.give_places()
            for lane in self.lanes:
                self._context.nursery.start_soon(self._let_go, lane.carrier)

    @property
    def session(self) -> SessionInfo | None:
        """The session in use, once the endpoint has it on its disk."""
        current = None if self.sessions is None else self.sessions.current
        if current is None or not current.marks.confirmed:
            return None
        history = current.history
        return SessionInfo(
            started_at=history.started_at,
            exchanges=history.exchanges,
            resumed=history.resumed,
            refreshed_at=history.refreshed_at,
            way_back=self.ways is not None and self.ways.call_us,
        )

    def listen(self) -> Listening:
        """What the endpoint says first, and late replies, for a program that iterates. ValueError if the
        endpoint cannot speak first."""
        if self.sessions is None:
            raise ValueError(
                "An endpoint speaks first in a session, and this contact does without: session=False."
            )
        new = self.listening is None
        listening = self._listening(self.sessions)
        if new:
            self.lanes.soon(listening.run)
        if not listening.shows_replies:
            listening.shows_replies = True
            self.lanes.soon(listening.take_up)
        return listening

    def _listening(self, sessions: VisitorSessions) -> Listening:
        if self.listening is None:
            # A contact that nobody iterates over needs no database.
            from onionshh.client.listening import Listening

            self.listening = Listening(self._context, self.lanes, sessions.keeper, self.sending, self.folder)
        return self.listening

    def close(self) -> None:
        """Take nothing more on, and try nothing more. What a named contact has on disk stays there."""
        for transferring in list(self.transfers):
            transferring.close(TRANSFER_CLOSED)
        if self.folder is not None and self.folder.database.lasts:
            self.sending.close(OPENED_AGAIN, keep=True)
        else:
            self.sending.close(CLOSED)

    def transfer(self, source: Source, size: int | None, ttl_seconds: float) -> Transfer:
        """Send this in parts. Full, TooLarge, ValueError if the endpoint is known to send no receipts."""
        found, clock = self._reach.found, self._context.clock
        if found is not None and found.descriptor.sends_no_receipts:
            raise ValueError(f"This cannot be sent: {NO_RECEIPTS}.")
        if len(self.transfers) >= TRANSFERS_MOST:
            raise Full(
                f"{TRANSFERS_MOST} transfers of this contact are on their way; send more once one is over."
            )
        expires = clock.best() + math.ceil(ttl_seconds)
        number = self._terms.privacy.number
        what = ToSend(source, size, expires, clock.monotonic() + ttl_seconds, number)
        reach = self._make_reach()
        transferring = Transferring(
            self._context,
            what,
            reach,
            lambda way, outbox: self._make_sending(way, reach, outbox),
            self.transfers.remove,
        )
        self.transfers.append(transferring)
        self.lanes.soon(transferring.run)
        return Transfer(transferring.course, lambda: transferring.close(GIVEN_UP))

    def _make_reach(self, calls_back: Callable[[], bool] = lambda: False) -> ReachesFar:
        context, terms = self._context, self._terms
        return Reach(
            context,
            terms.address_key,
            draw_hops=lambda: terms.privacy.draw_hops(context.chance, terms.hops),
            privacy_class=terms.privacy.number,
            sessions=self.sessions,
            calls_back=calls_back,
            shows_first=terms.sender is not None,
            worked=self._worked,
        )

    def _worked(self, whisper: WhisperId, seconds: float, tries: int) -> None:
        """This machine worked for a whisper to be let in."""
        self.sending.worked(whisper, seconds, tries)

    def _make_sending(
        self, opener: Opener, reach: ReachesFar, outbox: Outbox, mail: MakesMail | None = None
    ) -> Sending:
        """The driver of a Sender. Its lanes are opened by `opener`, which uses `reach`."""
        return Sending(
            self._context,
            self.lanes,
            opener,
            outbox=outbox,
            idle_seconds=IDLE_SECONDS if self._terms.session else IDLE_WITHOUT_SESSION_SECONDS,
            opened=lambda lane: self._opened(lane, reach),
            mail=mail,
        )

    # Lanes.

    def _sending_for(self, lane: Lane, record: Record) -> Sending:
        """The Sender that sent what a record is about. Whatever no transfer knows belongs to whispers."""
        for transferring in self.transfers:
            if transferring.sending.sender.knows(record.in_reply_to):
                return transferring.sending
        return self.sending

    def _opened(self, lane: Lane, reach: ReachesFar) -> None:
        """We opened a lane."""
        if self._terms.background and isinstance(lane.carrier, JoinedCircuit):
            lane.carrier.circuit.leave_room()
        self._serve(lane)
        self._reader.start(lane)
        self._talk.lane_opened(lane)
        sender = self._terms.sender
        if sender is not None and lane.session is not None:
            showing = Showing(self._context, sender, self._terms.address_key)
            body = showing.body(lane.session, reach.found)
            if body is not None:
                self._talk.say(lane, PROVE, body)

    def called(self, joined: JoinedCircuit | None, session: Session, record: Record | None) -> None:
        """The endpoint went on with the session, by our way back."""
        if self.lanes.nursery is None:
            if joined is not None:
                joined.close(Reason.CONTACT_CLOSED)
            return
        if joined is not None:
            lane = self.lanes.add(joined, writers=1, session=session)
            paths = (path_info(joined.circuit),)
            self.sending.adopt(lane, Opening(joined, False, paths, session, resumed=True))
            self._talk.lane_opened(lane)
        elif record is not None:
            carrier = CameAlone(record, lambda answer: self._answer(session, answer), self._context.clock)
            lane, record = self.lanes.add(carrier, writers=1, session=session), None
        else:
            return
        self._serve(lane)
        self._reader.start(lane, record)

    def _serve(self, lane: Lane) -> None:
        """Those who hear what the endpoint says first, and those who talk of ways back, may use it."""
        if self.listening is not None:
            self.listening.receiving.lane_opened(lane)
        if self.ways is not None:
            self.ways.look()

    async def _way_back(self, lane: Lane, session: Session, record: Record) -> None:
        if self.ways is not None:
            await self.ways.received(lane, session, record)

    async def _answer(self, session: Session, record: Record) -> None:
        joined = await self._reach.answer(session, record)
        if joined is not None:
            self.called(joined, session, None)

    async def mailed(self, session: Session, record: Record) -> None:
        """A record lay in a mailbox of this session. It is kept when this returns, or of no use. NoRoom,
        BadData, Closed, and ProtocolError for a record of no use."""
        carrier = CameAlone(record, lambda answer: self._answer(session, answer), self._context.clock)
        lane = self.lanes.add(carrier, writers=1, session=session, waited=True)
        self._serve(lane)
        try:
            if await self._reader.take(lane, await carrier.receive()):
                with trio.move_on_after(KEPT_SECONDS) as scope:
                    await self._kept(lane, record)
                if scope.cancelled_caught:
                    raise BadData("what came could not be kept in time")
        finally:
            self._reader.start(lane)  # until its answers have left

    async def _kept(self, lane: Lane, record: Record) -> None:
        """Wait until a record that was brought over this lane just now is on disk, or is refused. NoRoom,
        BadData, Closed."""
        await self._sending_for(lane, record).kept(record.in_reply_to)
        listening = self.listening
        if listening is None or record.kind != WHISPER or self.sending.is_awaited(record.in_reply_to):
            return
        if lane.carrier.why_refused(record) is None and not await listening.receiving.kept(
            lane, record.whisper_id
        ):
            raise NoRoom

    async def _heard(self, lane: Lane, record: Record) -> None:
        """A receipt or an answer came: the endpoint has our session on its disk."""
        if self.sessions is not None:
            await self.sessions.heard(lane.session)
            if self.mail is not None and lane.session is not None and lane.session.marks.confirmed:
                self.mail.answered()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            if self.sessions is not None:
                for session in [lane.session for lane in self.lanes if lane.session is not None]:
                    self.sessions.keeper.used(session)
                self.sessions.keeper.tidy()
            if self.folder is not None:
                await self._tidy(self.folder)

    async def _tidy(self, folder: ContactFolder) -> None:
        try:
            await folder.outboxes.tidy(self._context.clock.earliest())
        except BadData as error:  # a full disk: what is on it can still be read and delivered
            logger.error("what is past its time could not be erased: %s", error)

    async def _let_go(self, carrier: Carrier) -> None:
        """Close it a moment late: a circuit's end overtakes what waits in it, perhaps our last receipt."""
        try:
            if not self._context.closed.is_set():
                await trio.sleep(LINGER_SECONDS)
        finally:
            carrier.close(Reason.CONTACT_CLOSED)
