"""A visitor's ways back: relays where the endpoint can reach it, to speak first (SPEC 12).

Each is an introduction circuit under a key that is made for this one session. The code that holds an
endpoint's introducers holds these too, two at a time, each for 2 to 4 hours. A seed is on disk before its
relay hears of the key, and the relay has taken the key before the endpoint hears of it.

`core/session/telling.py` decides when the endpoint is told. With the ways switched off, it is told to forget
those of an earlier run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.lanes import Lane, LaneSet
from onionshh.client.hosting.introducers import Held, Introducers, IntroducerStore, LookedAt
from onionshh.client.session.accepting import Accepting, Serves
from onionshh.client.session.talking import SessionTalk
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.session.way_store import WayStore
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import WAY_BACK, Record
from onionshh.core.endpoint.introducers import HeldIntroducer
from onionshh.core.session.session import Session
from onionshh.core.session.telling import USUAL, Haste, Telling
from onionshh.core.session.way_back import WAYS_MOST, WayBack, decode_ways_untrusted, encode_ways
from onionshh.errors import BadData, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.signals import Poke
from onionshh.reasons import Reason
from onionshh.wire import messages as m

logger = logging.getLogger("onionshh.client")

LIFE_SECONDS: Final = (2 * 3600, 4 * 3600)
HELD: Final = Held(Purpose.WAY_BACK, "a way back", LIFE_SECONDS)
UNANSWERED_MOST: Final = 8
"""With so many steps of the session unanswered, no cell is spent on telling: the rest is for whispers."""
LOOK_SECONDS: Final = 30.0
"""How often to look whether the lane has ended over which the endpoint was told."""


class WaysInMemory:
    """For a contact without a name: its ways end with it."""

    async def introducers(self, wall: int) -> list[HeldIntroducer]:
        """None."""
        return []

    async def keep_introducer(self, held: HeldIntroducer) -> None:
        """Nothing to do."""

    async def drop_introducer(self, held: HeldIntroducer) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How the endpoint is told: over open lanes, or with one cell alone, which raises CircuitFailed."""

    lanes: LaneSet
    talk: SessionTalk
    alone: Callable[[Session, Record], Awaitable[None]]


class Ways:
    """The ways back of one contact. `run` it. `called`: told when the endpoint calls. `store`: None without a
    name. `wanted`: 0 when they are switched off, else 2. `haste`: as in `Telling`."""

    def __init__(
        self,
        context: Context,
        sessions: VisitorSessions,
        called: Serves,
        voice: Voice,
        *,
        store: WayStore | None,
        wanted: int = WAYS_MOST,
        haste: Haste = USUAL,
    ) -> None:
        self._context = context
        self.sessions = sessions
        self._accepting = Accepting(context, sessions.keeper, called)
        self._voice = voice
        self._store = store
        self._wanted = wanted
        self._haste = haste
        self._telling: Telling | None = None
        self._held: Introducers | None = None
        self._poke = Poke()

    @property
    def call_us(self) -> bool:
        """Whether the endpoint has one of our ways on its disk that stands now."""
        if self._telling is None or self._held is None:
            return False
        stand = {entry.auth_key for entry in self._held.entries}
        return any(way.auth_key in stand for way in self._telling.known)

    def take_places(self) -> None:
        """Take our share of the node's ways back. ValueError if they are all taken."""
        self._context.shared.take_ways(self._wanted)

    def give_places(self) -> None:
        """Undo `take_places`."""
        self._context.shared.ways -= self._wanted

    def look(self) -> None:
        """A lane is open, or a session has changed."""
        self._poke.send()

    def tell_again(self, session: Session) -> None:
        """The other side of this session seems not to know our ways, though it said so."""
        if self._telling is not None and session is self.sessions.current:
            self._telling.doubt(self._now())
            self._poke.send()

    async def received(self, lane: Lane, session: Session, record: Record) -> None:
        """The endpoint says that it has our ways on its disk. ProtocolError if it says anything else."""
        if decode_ways_untrusted(record.body) is not None:
            raise ProtocolError(Reason.WAY_BACK_SHAPE)  # an endpoint has none
        if self._telling is not None and session is self.sessions.current:
            self._telling.received(record.whisper_id, self._now())
            self._poke.send()

    async def run(self) -> None:
        """Hold the ways of the session in use, until cancelled."""
        while True:
            session = self.sessions.current
            if session is None or not session.marks.confirmed:
                await self.sessions.changed.wait()
                continue
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve, session)
                while self.sessions.current is session:
                    await self.sessions.changed.wait()
                nursery.cancel_scope.cancel()
            self._telling = self._held = None

    # Inside.

    def _now(self) -> float:
        return self._context.clock.monotonic()

    async def _serve(self, session: Session) -> None:
        had_some, store = await self._restored(session)
        if not had_some and not self._wanted:
            return
        self._telling = telling = Telling(None if had_some else (), self._now(), self._haste)
        async with trio.open_nursery() as nursery:
            if self._wanted:
                self._held = Introducers(self._context, store, self._wanted, self._introduced, HELD)
                nursery.start_soon(self._held.run)
                nursery.start_soon(self._watch, self._held, telling)
            await self._tell(session, telling)

    async def _restored(self, session: Session) -> tuple[bool, IntroducerStore]:
        """Whether the endpoint may know ways of an earlier run, and where those of this one are kept."""
        if self._store is None:
            return False, WaysInMemory()
        try:
            await self._store.forget(besides=session.session_id)
            return await self._store.holds(session.session_id), self._store.of(session.session_id)
        except BadData as error:
            logger.error("the ways back of an earlier run cannot be read: %s", error)
            return True, self._store.of(session.session_id)

    async def _watch(self, held: Introducers, telling: Telling) -> None:
        """Follow which of them stand. While one is being replaced there may be more than can be told."""
        while True:
            entries = sorted(held.entries, key=lambda entry: entry.expiry, reverse=True)[:WAYS_MOST]
            ways = [
                WayBack(RelayId(entry.relay_id), AuthKey(entry.auth_key), entry.expiry) for entry in entries
            ]
            telling.stand(ways, self._now())
            self._poke.send()
            await held.changed()

    async def _introduced(self, body: bytes, auth_key: bytes, looked_at: LookedAt) -> None:
        message = m.introduced_untrusted(body)
        if isinstance(message, m.Resume):
            await self._accepting.resumed(message, looked_at)
        else:
            # Nobody has a descriptor with this key in it.
            self._context.drops.count(Reason.WAY_BACK_INTRODUCTION)
            looked_at(False)

    async def _tell(self, session: Session, telling: Telling) -> None:
        while True:
            if telling.done and not self._wanted:
                await self._forget()
            for lane in self._voice.lanes:
                if lane.session is session and isinstance(lane.carrier, JoinedCircuit):
                    if telling.may_say(lane.number, self._now()):
                        record = self._record(telling)
                        telling.said(record.whisper_id, lane.number, self._now())
                        self._voice.talk.send(lane, record)
                    break
            else:
                # Without a way that stands, nobody could answer to one cell.
                if telling.ours and telling.may_say_alone(self._now()):
                    await self._tell_alone(session, telling)
            wait = telling.next_deadline(self._now()) - self._now()
            with trio.move_on_after(wait if wait > 0 else LOOK_SECONDS):
                await self._poke.wait()

    async def _tell_alone(self, session: Session, telling: Telling) -> None:
        record = self._record(telling)
        telling.said(record.whisper_id, None, self._now())
        if session.chains.spend.unanswered < UNANSWERED_MOST:
            with suppress(CircuitFailed):  # the next time comes by itself
                await self._voice.alone(session, record)

    def _record(self, telling: Telling) -> Record:
        return self._voice.talk.record(WAY_BACK, encode_ways(telling.ours))

    async def _forget(self) -> None:
        if self._store is not None:
            try:
                await self._store.forget()
            except BadData as error:
                logger.error("ways back that are over could not be erased: %s", error)
