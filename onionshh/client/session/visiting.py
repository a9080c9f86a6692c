"""The sessions of one contact: the one in use, and the one before until the new one has answered (SPEC
12)."""

from __future__ import annotations

import logging

from onionshh.client.context import Context
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.session.session import SILENCES_MOST, Session
from onionshh.errors import BadData, Closed
from onionshh.net.signals import Broadcast

logger = logging.getLogger("onionshh.client")


class VisitorSessions:
    """`load` it once. A session may be used once the endpoint has shown that it is on its disk."""

    def __init__(self, context: Context, keeper: SessionKeeper) -> None:
        self._context = context
        self.keeper = keeper
        self.current: Session | None = None
        """The session in use, confirmed or not."""
        self.changed = Broadcast()
        """Sent when another session is in use, or this one was confirmed."""

    async def load(self) -> None:
        """Take up the session of an earlier run. BadData."""
        await self.keeper.load()
        self.current = max(
            self.keeper.table.sessions,
            key=lambda session: (session.marks.confirmed, session.history.started_at),
            default=None,
        )
        if self.current is not None and self.current.chains.spend.unanswered:
            # The run before ended while nothing came back. A run may be shorter than two silences: one more,
            # and we introduce ourselves anew.
            self.current.silences = SILENCES_MOST - 1

    @property
    def usable(self) -> Session | None:
        """The session to go on with. None: introduce."""
        session = self.current
        if session is None or self.keeper.is_over(session.session_id):
            return None
        return session if session.may_spend else None

    def begun(self, root: bytes, period: int) -> Session:
        """A new introduction was answered."""
        clock = self._context.clock
        session = Session.started(root, introduced=True, period=period, wall=clock.best())
        session.history.used_at = clock.earliest()
        return session

    async def begin_by_letter(self, root: bytes, period: int) -> Session:
        """The session that begins with a letter. It is kept when this returns, so that the endpoint's answers
        are looked for. It is in use once the endpoint has answered. BadData, Closed."""
        session = self.begun(root, period)
        await self.keeper.save(session)
        return session

    def has_begun(self, root: bytes) -> bool:
        """Whether the session with this root is kept, and the endpoint has shown nothing of it yet."""
        session = self.keeper.get(self.begun(root, 0).session_id)
        return session is not None and not session.marks.confirmed

    @property
    def with_mail(self) -> list[Session]:
        """The sessions whose mailbox the endpoint may write to: those that are kept."""
        return list(self.keeper.table.sessions)

    async def heard(self, session: Session | None) -> None:
        """A receipt or a reply came over an exchange of this session, or by its mailbox: the endpoint has it
        on disk. One that began earlier than the session in use is kept beside it: it began with a letter, and
        the endpoint may leave more in its mailbox."""
        if session is None or session.marks.confirmed:
            return
        before = self.current
        if before is None or not before.marks.confirmed or not _began_earlier(session, before):
            self.current = session
        if await self._keep_confirmed(session):
            if before is not None and before is not self.current:
                self.keeper.forget(before)
            self.changed.send()

    async def _keep_confirmed(self, session: Session) -> bool:
        """Whether it is on disk that the other end has this session, too."""
        # Sessions of which the other end has shown nothing make room first.
        session.marks.confirmed = session.marks.answered = True
        try:
            await self.keeper.save(session)
        except BadData as error:
            logger.error("a session could not be kept, so the next circuit needs an introduction: %s", error)
            session.marks.confirmed = False
        except Closed:
            session.marks.confirmed = False
        return session.marks.confirmed

    def forget(self) -> None:
        """Begin with a new introduction next time."""
        if self.current is not None:
            self.keeper.forget(self.current)
            self.current = None
            self.changed.send()


def _began_earlier(one: Session, other: Session) -> bool:
    return one.history.started_at < other.history.started_at
