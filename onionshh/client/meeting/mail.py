"""What the two of a meeting leave for each other in their pair mailboxes (SPEC 14).

Until each knows where the other can be called, their mailbox is the only way. So it is watched then: its
relays answer as soon as something comes. Later it is read now and then, as a contact does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.hosting.pair_mail import PairMail
from onionshh.client.hosting.post import Post
from onionshh.client.mail.leaving import Told
from onionshh.client.mail.pair_reading import PairReading
from onionshh.client.mail.part_store import Parts, keep_tidy
from onionshh.client.mail.reading import MailboxReader, NoRoom
from onionshh.client.mail.waiting import WaitingMail
from onionshh.client.meeting.reaching import NOT_MET
from onionshh.client.meeting.sessions import MeetingSessions
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session, SessionId
from onionshh.errors import BadData, Closed, NoDirectory
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.signals import Poke
from onionshh.reasons import Reason

LOOK_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 30.0
_Target = tuple[SessionId, int]


class MeetingMail:
    """The `Mail` of a meeting's Sender. `bring`: takes a record of a session, and returns once it is kept.
    `live`: as in `Post`. `expects`: as in `WaitingMail`. `told`: what becomes of letters."""

    def __init__(
        self,
        context: Context,
        database: Database,
        sessions: MeetingSessions,
        parts: Parts,
        told: Told,
        *,
        bring: Callable[[Session, Record], Awaitable[None]],
        live: Callable[[Session, Sequence[Record]], Awaitable[Sequence[Record]]],
        expects: Callable[[], bool],
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._told = told
        self._parts = parts
        self.post = Post(context, database, sessions.keeper, live=live, stored=_nobody_counts)
        self._waiting = WaitingMail(context, sessions, bring, expects, parts)
        self._reading = PairReading(context, bring, parts)
        self._watched: dict[_Target, trio.CancelScope] = {}
        self._look = Poke()
        self._callable: set[SessionId] = set()
        """Sessions of which it is on disk where the other side can be called."""

    # As `Mail`.

    @property
    def receipts(self) -> bool:
        """As `Mail.receipts`."""
        return True

    async def leave(self, record: Record) -> None:
        """As `Mail.leave`, in the mailbox of the session in use."""
        session = self._sessions.current
        if session is None or not session.marks.confirmed:
            raise NotLeft(NOT_MET, AGAIN_SECONDS)
        await PairMail(self.post, session, self._told).leave(record)

    async def recall(self, whisper: WhisperId) -> bool:
        """As `Mail.recall`."""
        return await self.post.recall(whisper)

    def has(self, whisper: WhisperId) -> bool:
        """As `Mail.has`."""
        if not self.post.leaving.is_left(whisper):
            return False
        self.post.tell(whisper, self._told)
        return True

    # Its own work.

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self._parts.load()
        await self.post.load()
        self._callable = {one.session_id for one in self._sessions.with_mail if one.way_back}

    def answered(self) -> None:
        """The other side has shown that it has a session: nothing more need be done for that."""
        self._look.send()

    def look(self) -> None:
        """A session has begun."""
        self._look.send()

    def can_call(self, session: Session) -> None:
        """It is on disk where the other side of this session can be called."""
        self._callable.add(session.session_id)
        self._look.send()

    def cannot_call(self, session: Session) -> None:
        """It has to be heard anew where the other side of this session can be called."""
        self._callable.discard(session.session_id)
        self._look.send()

    async def run(self) -> None:
        """Leave, read and watch, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.post.run)
            nursery.start_soon(self._waiting.run)
            nursery.start_soon(keep_tidy, self._parts)
            while True:
                self._aim(nursery)
                with trio.move_on_after(LOOK_SECONDS):
                    await self._look.wait()

    def _aim(self, nursery: trio.Nursery) -> None:
        """Watch the mailboxes of those whose other side we could not call now."""
        wanted: dict[_Target, MailboxReader] = {}
        earliest = self._context.clock.earliest()
        try:
            periods = self._reading.periods()
            for session in self._sessions.with_mail:
                # To those that are not in use nothing is said of where they can call us, nor do they say it.
                there = session is self._sessions.current and session.session_id in self._callable
                if there and any(way.expires > earliest for way in session.way_back):
                    continue
                for period in {*periods, max(session.mail.period, periods[-1])}:
                    reader = self._reading.reader(session, period)
                    if reader is not None:
                        wanted[session.session_id, period] = reader
        except NoDirectory:
            return
        self._callable &= {session.session_id for session in self._sessions.with_mail}
        for target in self._watched.keys() - wanted.keys():
            self._watched.pop(target).cancel()
        for target in wanted.keys() - self._watched.keys():
            scope = self._watched[target] = trio.CancelScope()
            nursery.start_soon(self._watch, wanted[target], scope)

    async def _watch(self, reader: MailboxReader, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    await reader.watch()
                except NoRoom:
                    self._context.drops.count(Reason.LETTER_WAITS)
                except (BadData, NoDirectory):
                    pass
                except Closed:
                    return
                await trio.sleep(AGAIN_SECONDS)


def _nobody_counts(letter: WhisperId, copies: int, enough: bool) -> None:
    """Replies are whispers of the one Sender here, which hears of their copies by itself."""
