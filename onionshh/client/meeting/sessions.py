"""The sessions of a meeting: the one in use is that in which the other side showed itself last (SPEC 14).

Usually there is one. There are more when the other side was restarted, or when a third who knows the secret
came. Each is with another instance. The last few are kept: the one in use may be with somebody who has gone,
while the one before is with somebody who is there.
"""

from __future__ import annotations

from math import inf
from typing import Final

from onionshh.client.context import Context
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.session.session import Session, SessionId
from onionshh.net.signals import Poke

BESIDE_MOST: Final = 3
"""Sessions that were in use before, and are kept. Their mailboxes are watched."""
SHOWN_SECONDS: Final = 30.0
"""Who showed himself so lately is there: where he can be called may not be told yet."""
MISSED_MOST: Final = 3
"""After so many calls in a row without an answer, somebody else may be there."""


class MeetingSessions(VisitorSessions):
    """As `VisitorSessions`. `alone`: sent when the other side of the session in use cannot be called.
    `looks`: how often it was looked who is there, since somebody showed himself."""

    def __init__(self, context: Context, keeper: SessionKeeper) -> None:
        super().__init__(context, keeper)
        self._shown: list[SessionId] = []
        """The sessions that were shown, the last one last."""
        self._left: set[SessionId] = set()
        """Those that were left for another one, and have not been shown since."""
        self._missed = 0
        self._heard_at = -inf
        self.alone = Poke()
        self.looks = 0

    async def load(self) -> None:
        """As `VisitorSessions.load`."""
        await super().load()
        for session in self.keeper.table.sessions:
            session.silences = 0  # nobody could be met instead
        shown = [session for session in self.keeper.table.sessions if session.marks.confirmed]
        shown.sort(key=lambda session: session.history.started_at)
        self._shown = [session.session_id for session in shown]

    @property
    def beside(self) -> list[Session]:
        """The sessions that were in use before, the last one first."""
        found = (self.keeper.get(session_id) for session_id in reversed(self._shown))
        return [session for session in found if session is not None and session is not self.current]

    @property
    def untried(self) -> list[Session]:
        """Those of them in which somebody may be there."""
        return [session for session in self.beside if session.session_id not in self._left]

    async def heard(self, session: Session | None) -> None:
        """The other side of this session has shown itself: it is in use from now on."""
        if session is None or self.keeper.is_over(session.session_id):
            return
        if not session.marks.confirmed and not await self._keep_confirmed(session):
            return
        self._left.discard(session.session_id)
        session.silences = 0
        self._missed = self.looks = 0
        self._heard_at = self._context.clock.monotonic()
        if session is not self.current or session.session_id not in self._shown:
            self._use(session)

    def was_left(self, session: Session) -> bool:
        """Whether its other side could not be called, and has not shown itself since."""
        return session.session_id in self._left

    def hopeful(self, session_id: bytes) -> Session | None:
        """A session that is kept, and was not left."""
        session = self.keeper.get(session_id)
        return None if session is None or self.was_left(session) else session

    def leave(self) -> None:
        """The other side of the session in use has gone. What is said waits for it until somebody comes."""
        if self.current is not None:
            self._left.add(self.current.session_id)

    def leave_for(self, session: Session) -> None:
        """Go on with this session: the other side of the one in use has gone."""
        self.leave()
        self._use(session)

    def missed(self, session: Session, *, gone: bool) -> None:
        """A call to the other side of this session brought nothing. `gone`: no call can bring anything."""
        if session is self.current and self._context.clock.monotonic() >= self._heard_at + SHOWN_SECONDS:
            self._missed += 1
            if gone or self._missed >= MISSED_MOST:
                self.alone.send()

    def _use(self, session: Session) -> None:
        self._shown = [*(one for one in self._shown if one != session.session_id), session.session_id]
        self.current, self._missed = session, 0
        # Those of somebody who has gone make room first.
        beside = sorted(self.beside, key=self.was_left)
        for before in beside[BESIDE_MOST:]:
            self.keeper.forget(before)
        self._shown = [one for one in self._shown if self.keeper.get(one) is not None]
        self._left.intersection_update(self._shown)
        self.changed.send()
