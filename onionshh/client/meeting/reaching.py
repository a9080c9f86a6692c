"""The way to the other side of a meeting: by its ways back, once there is a session (SPEC 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.sending import NotReached, Opening
from onionshh.client.meeting.sessions import MeetingSessions
from onionshh.client.session.calling import NO_WAY, Calling
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session, SessionId
from onionshh.ids import WhisperId

NOT_MET: Final = "the other one has not come to the meeting so far"
CALLING_MOST: Final = 4


class MeetingReach:
    """As `Reach`. `sessions`: those of the meeting. `calls_back`: whether the other side can call us now."""

    found = None
    """There is no descriptor."""

    def __init__(self, context: Context, sessions: MeetingSessions, calls_back: Callable[[], bool]) -> None:
        self._context = context
        self._sessions = sessions
        self._calls_back = calls_back
        self._calling: dict[SessionId, Calling] = {}

    async def once(self, record: Record, *, more: bool) -> Opening:
        """As `Opener.once`. NotReached."""
        session = self._sessions.usable
        if session is None:
            met = self._sessions.current
            if met is None or not met.marks.confirmed:
                raise NotReached(Failure(NOT_MET, nobody=True))
            self._sessions.missed(met, gone=True)  # too many calls brought nothing
            raise NotReached(Failure(NO_WAY, nobody=True))
        try:
            return await self._of(session).once(record, more=more)
        except NotReached as error:
            self._sessions.missed(session, gone=error.failure.nobody)
            raise

    async def answer(self, session: Session, record: Record) -> JoinedCircuit | None:
        """As `Calling.answer`. CircuitFailed."""
        return await self._of(session).answer(record)

    def arrived(self, whisper: WhisperId) -> None:
        """As `Opener.arrived`."""
        for calling in self._calling.values():
            calling.arrived(whisper)

    def silent(self, whisper: WhisperId) -> None:
        """As `Opener.silent`."""
        for calling in self._calling.values():
            calling.silent(whisper)

    def _of(self, session: Session) -> Calling:
        calling = self._calling.get(session.session_id)
        if calling is None:
            calling = Calling(self._context, self._sessions.keeper, session, self._calls_back)
            self._calling[session.session_id] = calling
            while len(self._calling) > CALLING_MOST:
                del self._calling[next(iter(self._calling))]
        return calling
