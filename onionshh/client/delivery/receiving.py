"""Carries out what a Receiver decides: commits rows, offers whispers, sends receipts and replies.

Nothing is decided here. The Receiver of an endpoint and that of a contact have the same driver. When the
program finishes a whisper, the commit runs in the program's own task. So a cancellation takes effect before
the commit or after it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.driver import Driver
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.hosting.whisper_store import WhisperStore, nothing_else
from onionshh.client.receipt import Outcome, Receipt
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.actions import (
    Action,
    CallBack,
    Count,
    EndLane,
    Erase,
    Judge,
    LaneId,
    Offer,
    Pause,
    Remember,
    Repeat,
    RepeatAll,
    Resume,
    Send,
    Tell,
)
from onionshh.core.delivery.incoming import Stage, Taken
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.receiver import Receiver
from onionshh.core.delivery.record import RECEIPT, REFUSED, Record, about
from onionshh.core.delivery.replies import CLOSED
from onionshh.core.session.session import Session
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net.signals import Broadcast, Poke

logger = logging.getLogger("onionshh.client")

LOOK_SECONDS = 10.0
"""How often to look for idle lanes."""
TIDY_SECONDS = 60.0
"""How often to look for what has expired on disk."""


class _Wish:
    """A task of the program that waits for a whisper."""

    def __init__(self) -> None:
        self.offered: Offer | None = None
        self.came = trio.Event()


class CallsBack(Protocol):
    """Brings a reply over to a peer that has no lane to us now."""

    def __call__(self, session: bytes, reply: Record, /) -> None: ...


def nobody_calls(session: bytes, reply: Record, /) -> None:
    """For an end that calls nobody: the reply waits until the peer comes."""


class Receiving(Driver):
    """One Receiver. `load` it, then `run` it. `sessions`: whose rows are written together with whispers."""

    def __init__(
        self,
        context: Context,
        lanes: LaneSet,
        store: WhisperStore,
        sessions: SessionKeeper,
        *,
        give_up_after: int | None = None,
        receipts: bool = True,
        lanes_wait: bool = True,
        call_back: CallsBack = nobody_calls,
    ) -> None:
        self._context = context
        self._store = store
        self._sessions = sessions
        self._call_back = call_back
        self._receiver = Receiver(
            context.chance.bytes, give_up_after=give_up_after, receipts=receipts, lanes_wait=lanes_wait
        )
        super().__init__(self._receiver, context.clock, lanes)
        self._outcomes: dict[WhisperId, Outcome] = {}
        self._wishes: deque[_Wish] = deque()
        self._closed = False
        self._lane_came = Poke()
        self._written = Broadcast()
        """Sent when rows were written, or could not be."""

    @property
    def receiver(self) -> Receiver:
        """The machine behind it, for its numbers."""
        return self._receiver

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        seen, replies = await self._store.tidy(self._context.clock.earliest())
        self._receiver.inbox.restored(await self._store.held())
        self._receiver.counted(seen, replies, self._best(), self.now())

    async def run(self) -> None:
        """Serve, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tidy)
                nursery.start_soon(self._end_idle_lanes)
                await self.keep_time()
        finally:
            self._closed = True
            self._written.send()
            self.do(self._receiver.close())
            for wish in self._wishes:
                wish.came.set()

    def lane_opened(self, lane: Lane) -> None:
        """Serve this lane from now on."""
        self._lane_came.send()
        session = None if lane.session is None else lane.session.session_id
        self.do(self._receiver.lane_opened(lane.number, self._best(), self.now(), session))

    def hold_back(self, session: Session, held: bool) -> None:
        """Whether the whispers of this session are held back now: who sent them is being checked."""
        if held:
            self._receiver.inbox.hold_back(session.session_id)
        elif not self._closed:
            self.do(self._receiver.inbox.let_through(session.session_id, self._best()))

    # For the program.

    async def next(self) -> tuple[Taken, int] | None:
        """The next whisper that nobody holds, and how often it was shown, this time included. None once
        closed. BadData when it cannot be read."""
        while not self._closed:
            offer = await self._offered()
            if offer is None:
                return None
            taken = offer.taken
            try:
                taken = taken or await self._store.show(offer.whisper)
            except BaseException:
                self._not_shown(offer)
                raise
            if taken is not None:
                return taken, offer.shown
            self._receiver.inbox.forget(offer.whisper)
        return None

    async def given_up(self) -> list[tuple[Taken, int]]:
        """The whispers set aside that the program does not hold. From now on it holds them. BadData."""
        found: list[tuple[Taken, int]] = []
        aside = self._receiver.inbox.take_aside()
        try:
            for offer in aside:
                taken = offer.taken or await self._store.look(offer.whisper)
                if taken is None:
                    self._receiver.inbox.forget(offer.whisper)
                else:
                    found.append((taken, offer.shown))
        except BaseException:
            for offer in aside:
                self.let_go(offer.whisper)
            raise
        return found

    async def _offered(self) -> Offer | None:
        wish = _Wish()
        self._wishes.append(wish)
        self.do(self._receiver.inbox.want(self._best()))
        try:
            if wish.offered is None:
                await wish.came.wait()
            else:
                await trio.lowlevel.checkpoint()
        except BaseException:
            if wish.offered is not None:
                self._not_shown(wish.offered)
            else:
                self._wishes.remove(wish)
                self._receiver.inbox.unwant()
            raise
        return wish.offered

    def _not_shown(self, offer: Offer) -> None:
        if not self._closed:
            self.do(self._receiver.inbox.not_shown(offer.whisper, self._best()))

    def let_go(self, whisper_id: WhisperId) -> None:
        """The program does not hold it any more, and has not finished it."""
        if not self._closed:
            self.do(self._receiver.inbox.let_go(whisper_id, self._best()))

    async def finish(
        self,
        whisper_id: WhisperId,
        reply: Record | None = None,
        *,
        also: Callable[[sqlite3.Connection], None] = nothing_else,
    ) -> Receipt:
        """Finish a whisper, with a reply or without. Both are on disk when this returns, with what `also`
        writes. BadData, Closed."""
        now, clock = self.now(), self._context.clock
        outcome = Outcome("" if reply is None else reply.whisper_id.hex())
        outcome.record = reply
        outcome.settle(None)  # a reply gets no answer
        lives_until = 0.0 if reply is None else now + reply.expires - clock.best()
        remember = self._receiver.finish(whisper_id, reply, lives_until)
        if reply is not None:
            self._outcomes[reply.whisper_id] = outcome
        try:
            await self._commit(remember, also)
        except BaseException:
            if reply is not None:
                self._outcomes.pop(reply.whisper_id, None)
            raise
        if self._closed:
            outcome.conclude("failed", CLOSED)
        return Receipt(outcome)

    def stored(self, reply: WhisperId, copies: int, enough: bool) -> None:
        """So many relays keep this reply for a peer that is away. `enough`: that is enough."""
        outcome = self._outcomes.get(reply)
        if outcome is not None:
            outcome.course.copies = copies
            outcome.tell("stored" if enough else outcome.status, outcome.why)

    # Time.

    def _best(self) -> int:
        return self._context.clock.best()

    async def _end_idle_lanes(self) -> None:
        """While there are lanes: nobody is woken for nothing."""
        while True:
            if not self._receiver.lanes:
                await self._lane_came.wait()
            await trio.sleep(LOOK_SECONDS)
            self.do(self._receiver.tidy(self.now()))

    async def _tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_SECONDS)
            self.do(self._receiver.tidy(self.now()))
            try:
                seen, replies = await self._store.tidy(self._context.clock.earliest())
            except BadData as error:
                logger.error("%s", error)
            else:
                self.do(self._receiver.counted(seen, replies, self._best(), self.now()))

    # Actions.

    def carry_out(self, action: Action) -> None:
        match action:
            case Send():
                self.send(action)
            case Offer():
                wish = self._wishes.popleft()
                wish.offered = action
                wish.came.set()
            case Remember():
                self.lanes.soon(self._keep, action)
            case Tell(reply, state, why):
                self._tell(reply, state, why)
            case Erase(reply):
                self._store.erase_reply(reply)
            case Judge(lane, record):
                self.lanes.soon(self._judge, lane, record)
            case Repeat(lane, whisper):
                self.lanes.soon(self._repeat, lane, self._store.replies_to(whisper))
            case RepeatAll(session):
                self.lanes.soon(self.bring_replies, session)
            case CallBack(session, record):
                self._call_back(session, record)
            case Pause(number) | Resume(number):
                paused = self.lanes.get(number)
                if paused is not None:
                    paused.pause(isinstance(action, Pause))
            case EndLane(number, reason):
                self.lanes.end(number, reason, by=self)
            case Count(reason):
                self._context.drops.count(reason)

    def _tell(self, reply: WhisperId, state: State, why: str) -> None:
        outcome = self._outcomes.get(reply)
        if outcome is None:
            return
        if state is State.OUT:
            outcome.status = "sent"
            return
        del self._outcomes[reply]
        if state is State.DELIVERED:
            outcome.conclude("delivered")
        else:
            outcome.conclude("expired" if state is State.EXPIRED else "failed", why)

    # The disk.

    async def _commit(
        self, remember: Remember, also: Callable[[sqlite3.Connection], None] = nothing_else
    ) -> None:
        sessions = self._sessions.unwritten(remember.rows)

        def write(connection: sqlite3.Connection) -> None:
            sessions.write(connection)
            also(connection)

        try:
            dropped = await self._store.commit(remember.rows, also=write)
        except BaseException:
            self.do(self._receiver.not_remembered(remember.token, self._best(), self.now()))
            self._written.send()
            raise
        sessions.written()
        self.do(self._receiver.remembered(remember.token, self._best(), self.now()))
        self._receiver.replies.dropped(dropped)
        self._written.send()

    async def _keep(self, remember: Remember) -> None:
        try:
            await self._commit(remember)
        except BadData as error:
            # It is not on disk, so not acknowledged: its sender keeps it and sends it again.
            logger.error("a whisper could not be kept: %s", error)
        except Closed:
            pass

    async def _repeat(self, number: LaneId, reading: Awaitable[list[Record]]) -> None:
        with suppress(Closed):
            try:
                replies = await reading
            except BadData as error:
                logger.error("a reply could not be read: %s", error)
                return
            for reply in replies:
                self.do(self._receiver.repeated(number, reply))

    async def bring_replies(self, session: bytes) -> None:
        """Bring over all replies that wait for the peer of this session."""
        with suppress(Closed):
            try:
                replies = await self._store.replies_for(session)
            except BadData as error:
                logger.error("a reply could not be read: %s", error)
                return
            for reply in replies:
                self._call_back(session, reply)

    async def forget(self, session: bytes) -> None:
        """Erase the replies that wait for this session's peer. BadData, Closed."""
        self._receiver.replies.dropped(await self._store.forget_session(session))

    # Records.

    async def bring(self, lane: Lane, record: Record) -> bool:
        """A record for the Receiver came over this lane. Returns whether it is about a whisper that was
        accepted, now or before. Closed, BadData."""
        self.lanes.used(lane.number, self)
        if record.kind in (RECEIPT, REFUSED):
            self._record_in(lane, record, known=False, refuse=None)
            return False
        refuse = lane.carrier.why_refused(record)
        async with self._store.known(about(record)) as known:
            self._record_in(lane, record, known=known, refuse=refuse)
            return known or self._receiver.inbox.get(about(record)) is not None

    async def kept(self, lane: Lane, whisper: WhisperId) -> bool:
        """Wait until a whisper that was brought over this lane just now is on disk. False if it was not
        accepted, or the disk does not take it. Closed, BadData."""
        while (incoming := self._receiver.inbox.get(whisper)) is not None:
            if incoming.stage is Stage.KEPT:
                return True
            if self._closed:
                raise Closed("The endpoint was closed before this was on disk.")
            if self.lanes.get(lane.number) is not lane:
                return False
            await self._written.wait()
        async with self._store.known(whisper) as known:  # finished by now, or never accepted
            return known

    def _record_in(self, lane: Lane, record: Record, *, known: bool, refuse: int | None) -> None:
        self.do(
            self._receiver.record_in(
                lane.number,
                record,
                known=known,
                refuse=refuse,
                more=lane.carrier.more_is_coming,
                received_at=float(self._context.clock.wall()),
                best=self._best(),
                now=self.now(),
                waited=lane.waited,
            )
        )

    async def _judge(self, number: LaneId, record: Record) -> None:
        lane = self.lanes.get(number)
        if lane is None:
            return
        try:
            await self.bring(lane, record)
        except Closed:
            pass
        except BadData as error:
            logger.error("a whisper could not be looked up: %s", error)
            self.lanes.lost(lane)

    def lane_gone(self, number: LaneId) -> None:
        self._written.send()
        self.do(self._receiver.lane_lost(number, self._best(), self.now()))
