"""What works behind a meeting: a correspondence whose two ends are alike (SPEC 14).

Neither has a descriptor or introducers. Each calls the other by its ways back. What cannot be said so is left
in the mailbox of their pair: whispers, receipts, and where one can be called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from onionshh.client.board.working import WorkingBoard
from onionshh.client.context import Context
from onionshh.client.correspondence import Correspondence, ReachesFar, Terms
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Lane
from onionshh.client.delivery.mailing import Mail, NotLeft
from onionshh.client.mail.leaving import Told, TooMuchMail
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.client.meeting.finding import Finding
from onionshh.client.meeting.folder import MeetingFolder
from onionshh.client.meeting.mail import MeetingMail
from onionshh.client.meeting.reaching import MeetingReach
from onionshh.client.meeting.sessions import MeetingSessions
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.base.classes import TALK
from onionshh.core.delivery.record import RECEIPT, REFUSED, WAY_BACK, Record
from onionshh.core.meeting.hello import Hello, meeting_topic
from onionshh.core.session.session import Session, SessionId
from onionshh.core.session.telling import SOON
from onionshh.core.session.way_back import RECEIVED_BODY, decode_ways_untrusted
from onionshh.errors import BadData, Closed, NetworkUnreachable, NoDirectory
from onionshh.geometry import WHISPER_ID
from onionshh.ids import WhisperId
from onionshh.net.background import background
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

TURN_SECONDS: Final = 30.0
"""After looking whether somebody else is there. It doubles until somebody shows himself."""
DOUBLINGS_MOST: Final = 4
NOTE_SECONDS: Final = 3600
"""How long the word where we can be called lies in the mailbox."""


class MeetingCorrespondence(Correspondence):
    """As `Correspondence`. `mine`: what it keeps."""

    def __init__(self, context: Context, secret: bytes, mine: MeetingFolder) -> None:
        self._mine = mine
        self._told: dict[SessionId, int] = {}
        """When the last record was made that said where the other side can be called, as its `expires`."""
        self.letters: MeetingMail | None = None
        super().__init__(context, Terms(b"", TALK, way_back=True, haste=SOON), mine.contact)
        self._board = WorkingBoard(context, meeting_topic(secret), None, mine.board)
        self.finding = Finding(context, secret, mine.meeting, self._board, self.begun, self.known.hopeful)

    async def load(self) -> None:
        """As `Correspondence.load`."""
        await super().load()
        await self._board.load()
        await self.finding.load()

    async def run(self, started: Callable[[], None]) -> None:
        """As `Correspondence.run`, and look for the other one meanwhile. ValueError also if this node watches
        too many boards already."""
        async with background() as nursery:

            def began() -> None:
                nursery.start_soon(self.finding.run)
                nursery.start_soon(self._turn_to_who_is_there)
                started()

            await nursery.start(self._run_board)
            self._board.watch()
            await super().run(began)

    async def _turn_to_who_is_there(self) -> None:
        """When the other side of the session in use cannot be called, tell it once more where we are. A third
        came and went, perhaps: go on with the last one whom we have met and who says hello. If there is none,
        meet whoever says hello anew."""
        sessions = self.known
        while True:
            await sessions.alone.wait()
            if self.ways is not None and sessions.current is not None:
                self.ways.tell_again(sessions.current)
            try:
                await self._turn_to_one_of(await self.finding.there())
            except Closed:
                return
            except (BadData, NetworkUnreachable, NoDirectory) as error:
                logger.info("who is at a meeting cannot be seen: %s", error)
            await trio.sleep(TURN_SECONDS * 2 ** min(sessions.looks, DOUBLINGS_MOST))
            sessions.looks += 1

    async def _turn_to_one_of(self, there: Sequence[Hello]) -> None:
        sessions, instances = self.known, {hello.instance for hello in there}
        for session in sessions.untried:
            if self.finding.instance_of(session) in instances:
                sessions.leave_for(session)
                if self.letters is not None:
                    self.letters.cannot_call(session)
                self.sending.way_is_new()
                return
        sessions.leave()
        await self.finding.meet_anew(there)

    async def _run_board(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._board.run(task_status.started)

    @property
    def known(self) -> MeetingSessions:
        """The sessions of this meeting."""
        if not isinstance(self.sessions, MeetingSessions):
            raise Closed("This meeting is not open.")
        return self.sessions

    def _make_sessions(self, keeper: SessionKeeper) -> MeetingSessions:
        return MeetingSessions(self._context, keeper)

    async def begun(self, session: Session) -> None:
        """A hello was answered. Keep the session, and show the other side that we have it. One that is kept
        goes on as it is: a crash came before it was shown. BadData, Closed, NotLeft, TooMuchMail."""
        keeper = self.known.keeper
        if keeper.is_over(session.session_id):
            return
        session = keeper.get(session.session_id) or session
        await keeper.save(session)
        if self.letters is not None:
            self.letters.look()
        # The other side knows the session by its first record. A receipt for nothing is the least one.
        until = self._context.clock.best() + NOTE_SECONDS
        proof = Record(self._random_id(), self._random_id(), until, TALK.number, RECEIPT, b"")
        await self._leave_note(session, proof)

    def _make_reach(self, calls_back: Callable[[], bool] = lambda: False) -> ReachesFar:
        return MeetingReach(self._context, self.known, calls_back)

    def _make_mail(self, sessions: VisitorSessions, told: Told) -> Mail:
        letters = self.mail = self.letters = MeetingMail(
            self._context,
            self._mine.database,
            self.known,
            self._mine.contact.mail_parts,
            told,
            bring=self.mailed,
            live=self._live,
            expects=lambda: True,
        )
        return letters

    async def _live(self, session: Session, receipts: Sequence[Record]) -> Sequence[Record]:
        """Send receipts to the other side now, if it can be called. Returns those that did not leave."""
        left = list(receipts)
        with suppress(CircuitFailed):
            while left:
                await super()._answer(session, left[0])
                del left[0]
        return left

    async def _answer(self, session: Session, record: Record) -> None:
        """Send a record in a cell of its own, or leave it in the mailbox. CircuitFailed."""
        try:
            await super()._answer(session, record)
        except CircuitFailed:
            try:
                if record.kind == WAY_BACK:
                    await self._leave_note(session, record)
                elif record.kind in (RECEIPT, REFUSED) and self.letters is not None:
                    await self.letters.post.owe(session, [record])
                else:
                    raise
            except (BadData, Closed):
                pass  # the other side asks again
            except (NotLeft, TooMuchMail):
                raise CircuitFailed(Reason.NOT_CONNECTED) from None

    async def _leave_note(self, session: Session, record: Record) -> None:
        """Leave this in the mailbox of the pair. NotLeft, TooMuchMail, BadData, Closed."""
        if self.letters is not None:
            until = self._context.clock.best() + NOTE_SECONDS
            letter = self._random_id()
            items = seal_for_pair(self._context, session, letter, [record], until)
            await self.letters.post.leaving.leave(letter, items, until)

    def _random_id(self) -> WhisperId:
        return WhisperId(self._context.chance.bytes(WHISPER_ID))

    async def mailed(self, session: Session, record: Record) -> None:
        """As in a correspondence. Only the other side can have written it, so it has the session."""
        await self._heard_of(session)
        if record.kind == WAY_BACK:
            if await self._ways_told(session, record) and self.ways is not None:
                self.ways.tell_again(session)  # it could not call us
        elif record.kind != RECEIPT or self.sending.sender.knows(record.in_reply_to):
            await super().mailed(session, record)

    async def _heard_of(self, session: Session) -> None:
        before = self.known.current
        await self.known.heard(session)
        if self.known.current is not before and self.letters is not None:
            self.letters.look()

    async def _way_back(self, lane: Lane, session: Session, record: Record) -> None:
        """The other side says where it can be called, or that it knows where we can."""
        if not await self._ways_told(session, record):
            await super()._way_back(lane, session, record)
        elif isinstance(lane.carrier, JoinedCircuit):
            self._talk.send(lane, self._talk.record(WAY_BACK, RECEIVED_BODY, record.whisper_id))

    async def _ways_told(self, session: Session, record: Record) -> bool:
        """Take where the other side can be called, unless something newer was said: what lies in a mailbox
        may be read late. False if the record says something else. ProtocolError, BadData."""
        ways = decode_ways_untrusted(record.body)
        if ways is None:
            return False
        await self._heard_of(session)
        if record.expires < self._told.get(session.session_id, 0):
            return True
        before, session.way_back = session.way_back, ways
        try:
            await self.known.keeper.save(session)
        except BaseException:
            session.way_back = before
            raise
        self._told = {one: said for one, said in self._told.items() if self.known.keeper.get(one) is not None}
        self._told[session.session_id] = record.expires
        self.sending.way_is_new()
        if self.letters is not None:
            self.letters.can_call(session)
        return True
