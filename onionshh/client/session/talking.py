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

Said = Callable[[Lane, Session, Record], Awaitable[None]]
"""Raises ProtocolError for a wrong record: then the lane ends."""


async def nobody_minds(lane: Lane, session: Session, record: Record) -> None:
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
            await self._takes[record.kind](lane, session, record)
        except BadData as error:
            logger.error("a session could not be written to disk: %s", error)

    def say(self, lane: Lane, kind: int, body: bytes) -> None:
        """Send a record of one of these kinds."""
        self.send(lane, self.record(kind, body))

    def record(self, kind: int, body: bytes, record_id: WhisperId | None = None) -> Record:
        """A record of one of these kinds, under this id or a random one."""
        expires = self._context.clock.best() + TTL_DEFAULT_SECONDS
        record_id = record_id or WhisperId(self._context.chance.bytes(WHISPER_ID))
        return Record(record_id, NO_ID, expires, 0, kind, body)

    def send(self, lane: Lane, record: Record) -> None:
        """Send this record over this lane, if it still exists."""
        self._lanes.send(Send(lane.number, (record,), None), lambda send: None)

    def _kept(self, session: Session) -> bool:
        return self._keeper.get(session.session_id) is session

    async def _refresh(self, lane: Lane, session: Session, offer: Record) -> None:
        """The asking side waits; its answer leaves once it is on disk."""
        random_bytes = self._context.chance.bytes
        answer = self._keeper.table.answer_refresh_untrusted(session, offer.body, random_bytes)
        if answer is not None:
            await self._keeper.save(session)
            self.say(lane, REFRESHED, answer)

    async def _refreshed(self, lane: Lane, session: Session, answer: Record) -> None:
        wall = self._context.clock.best()
        if self._keeper.table.refreshed_untrusted(session, answer.body, wall):
            await self._keeper.save(session)
