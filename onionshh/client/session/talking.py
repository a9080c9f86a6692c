"""What the two sides of a session say about the session itself, over any of its lanes (SPEC 12).

These records get no receipt. Each may come twice, and does no harm then.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.actions import Send
from onionshh.core.delivery.record import (
    NO_ID,
    PROVE,
    REFRESH,
    REFRESHED,
    TTL_DEFAULT_SECONDS,
    WAY_BACK,
    Record,
)
from onionshh.core.session.session import Session
from onionshh.errors import BadData
from onionshh.geometry import WHISPER_ID
from onionshh.ids import WhisperId

logger = logging.getLogger("onionshh.client")

Said = Callable[[Lane, Session, bytes], Awaitable[None]]
"""Called with a record's body. Raises ProtocolError for a wrong one: then the lane ends."""


async def nobody_minds(lane: Lane, session: Session, body: bytes) -> None:
    """For a side that does not take this kind."""


class SessionTalk:
    """Renews the sessions of one endpoint or contact. `way_back`: who takes what is said of ways back."""

    def __init__(
        self,
        context: Context,
        keeper: SessionKeeper,
        lanes: LaneSet,
        *,
        way_back: Said = nobody_minds,
    ) -> None:
        self._context = context
        self._keeper = keeper
        self._lanes = lanes
        self._takes: dict[int, Said] = {
            REFRESH: self._refresh,
            REFRESHED: self._refreshed,
            WAY_BACK: way_back,
            PROVE: nobody_minds,
        }

    def check_senders(self, prove: Said) -> None:
        """From now on proofs of who the other side is go there."""
        self._takes[PROVE] = prove

    def lane_opened(self, lane: Lane) -> None:
        """A session's lane is open: renew the session if that is due."""
        session = lane.session
        if session is None or not session.marks.confirmed or not self._kept(session):
            return
        if session.refresh_due(self._context.clock.best()):
            self.say(lane, REFRESH, session.offer(self._context.chance.bytes))

    async def take(self, lane: Lane, record: Record) -> None:
        """A record of this kind came. Raises ProtocolError, Closed."""
        session = lane.session
        if session is None or not (self._kept(session) or record.kind == PROVE):
            return  # the other side knows no more than we do: nothing of this exchange is on disk
        try:
            await self._takes[record.kind](lane, session, record.body)
        except BadData as error:
            logger.error("a session could not be written to disk: %s", error)

    def say(self, lane: Lane, kind: int, body: bytes) -> None:
        """Send a record of one of these kinds."""
        record = Record(
            WhisperId(self._context.chance.bytes(WHISPER_ID)),
            NO_ID,
            self._context.clock.best() + TTL_DEFAULT_SECONDS,
            0,
            kind,
            body,
        )
        self._lanes.send(Send(lane.number, (record,), None), lambda send: None)

    def _kept(self, session: Session) -> bool:
        return self._keeper.get(session.session_id) is session

    async def _refresh(self, lane: Lane, session: Session, body: bytes) -> None:
        """The asking side waits; its answer leaves once it is on disk."""
        answer = self._keeper.table.answer_refresh_untrusted(session, body, self._context.chance.bytes)
        if answer is not None:
            await self._keeper.save(session)
            self.say(lane, REFRESHED, answer)

    async def _refreshed(self, lane: Lane, session: Session, body: bytes) -> None:
        wall = self._context.clock.best()
        if self._keeper.table.refreshed_untrusted(session, body, wall):
            await self._keeper.save(session)
