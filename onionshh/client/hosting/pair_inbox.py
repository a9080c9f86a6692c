"""What known visitors left beside the inbox, because strangers had filled it or made it dear (SPEC 14).

Nobody but the two sides of a session knows the name of their mailbox, so no stranger can fill it. It is read
an hour apart on average: that of every peer that the program keeps, and those of some others, in turn. While
the inbox is crowded, more may have had to leave something there, so more are read. Of the others those come
first whose turn is longest ago. At the start of a run those that began first come first, and whoever comes
later is behind all that are there: a flood of strangers who make sessions keeps nobody out.

With a peer's turn go all periods since its last reading that went well, in a run's first one up to eight.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.mail.pair_reading import PREVIOUS_EVERY, PairReading
from onionshh.client.mail.part_store import Parts, keep_tidy
from onionshh.client.mail.reading import NoRoom
from onionshh.core.delivery.record import WHISPER, Record
from onionshh.core.session.session import MAIL_PERIODS, Session, SessionId
from onionshh.errors import BadData, Closed, NoDirectory, ProtocolError
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

PAUSE_SECONDS: Final = 3600.0
"""The mean pause between two readings."""
PAUSE_LEAST_SECONDS: Final = 600.0
PAUSE_MOST_SECONDS: Final = 3 * 3600.0
FIRST_SECONDS: Final = 60.0
"""The inbox is read first: whether it is crowded decides whose turn it is."""
SPREAD_SECONDS: Final = 600.0
"""One reading is spread over this time, so that relays do not see by their times that mailboxes have one
reader, and nobody else's cells wait."""
SESSIONS_MOST: Final = 64
OTHERS_MOST: Final = 4
"""Those that are not kept, while the inbox is not crowded. Each takes six circuits, as much as the inbox."""
AT_ONCE: Final = 4
SESSION_SECONDS: Final = 120.0
"""A slow relay may hold up one session for so long."""


class KnownPeers(Protocol):
    """The endpoint's sessions, and what takes their whispers."""

    def known(self) -> list[Session]:
        """The sessions on disk, the one used last coming first."""

    def session_of(self, session_id: bytes) -> Session | None:
        """The session with this id."""

    async def mailed(self, record: Record, session: Session | None) -> None:
        """As `Letterbox.mailed`."""


class PairInbox:
    """`run` reads. `crowded`: whether the inbox is, or was a while ago. `parts`: where parts wait."""

    def __init__(
        self, context: Context, peers: KnownPeers, crowded: Callable[[], bool], parts: Parts
    ) -> None:
        self._context = context
        self._peers = peers
        self._crowded = crowded
        self._parts = parts
        self._reading = PairReading(context, self.bring, parts)
        self._turn_at: dict[SessionId, float] = {}
        """When each session had its turn last, or was seen first: monotonic seconds."""
        self._whole: dict[SessionId, int] = {}
        """The period that was the present one when a session was read last and nothing stood in the way."""
        self._count = 0

    async def load(self) -> None:
        """Take up what is on disk. BadData."""
        await self._parts.load()

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        chance = self._context.chance
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_tidy, self._parts)
            await trio.sleep(FIRST_SECONDS)
            while True:
                await self.read()
                pause = chance.exponential(PAUSE_SECONDS)
                await trio.sleep(min(max(pause, PAUSE_LEAST_SECONDS), PAUSE_MOST_SECONDS))

    async def read(self) -> None:
        """Read the mailboxes of those whose turn it is. What stands in the way of one keeps no other one
        waiting."""
        self._count += 1
        since = 0.0 if self._count == 1 else self._context.clock.monotonic()
        for session in self._peers.known():
            self._turn_at.setdefault(session.session_id, since)
        turns = trio.CapacityLimiter(AT_ONCE)
        chosen = self._context.chance.shuffled(self.sessions())
        async with trio.open_nursery() as nursery:
            for session in chosen:
                nursery.start_soon(self._read_one, session, turns)
        known = {session.session_id for session in self._peers.known()}
        self._turn_at = {key: at for key, at in self._turn_at.items() if key in known}
        self._whole = {key: period for key, period in self._whole.items() if key in known}
        view = self._context.keeper.view
        oldest = 0 if view is None else view.period - MAIL_PERIODS
        self._reading.forget_others({session.session_id for session in chosen}, oldest)

    def sessions(self) -> Sequence[Session]:
        """Those whose turn it is, the kept ones first."""
        known = self._peers.known()
        kept = [session for session in known if session.marks.kept]
        others = [session for session in known if not session.marks.kept]
        others.sort(key=lambda one: (self._turn_at.get(one.session_id, 0.0), one.history.started_at))
        return [*kept, *others[: SESSIONS_MOST if self._crowded() else OTHERS_MOST]][:SESSIONS_MOST]

    async def bring(self, session: Session, record: Record) -> None:
        """Take a whisper that was found; a stranger's if the session is over by now. NoRoom, BadData, Closed,
        ProtocolError for anything else than a whisper."""
        if record.kind != WHISPER:
            raise ProtocolError(Reason.PAIR_SHAPE)
        await self._peers.mailed(record, self._peers.session_of(session.session_id))

    async def _read_one(self, session: Session, turns: trio.CapacityLimiter) -> None:
        await trio.sleep(self._context.chance.between(0.0, SPREAD_SECONDS))
        async with turns:
            self._turn_at[session.session_id] = self._context.clock.monotonic()  # whatever comes of it
            with trio.move_on_after(SESSION_SECONDS):
                try:
                    await self._read_periods(session)
                except NoRoom:
                    self._context.drops.count(Reason.LETTER_WAITS)
                except BadData as error:
                    logger.error("what lies in a mailbox could not be kept: %s", error)
                except (NoDirectory, Closed):
                    pass  # without a list of relays nothing can be asked

    async def _read_periods(self, session: Session) -> None:
        """The present period first: it may be the last that the time is enough for."""
        periods = self._reading.periods(often=self._count % PREVIOUS_EVERY == 0)
        now, last = periods[-1], self._whole.get(session.session_id)
        oldest = now - MAIL_PERIODS if last is None else min(periods[0], last)
        whole = True
        for period in range(now, max(oldest, session.mail.period) - 1, -1):
            reader = self._reading.reader(session, period)
            if reader is not None:
                read = await reader.read()
                whole = whole and (read.answered > 0 or not read.asked)
        if whole:
            self._whole[session.session_id] = now
