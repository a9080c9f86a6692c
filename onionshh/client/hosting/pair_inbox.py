"""What known visitors left beside the inbox, because strangers had filled it or made it dear (SPEC 14).

Nobody but the two sides of a session knows the name of their mailbox, so no stranger can fill it. It is read
an hour apart on average: that of every peer that the program keeps, and those of some others, in turn. While
the inbox is crowded, more may have had to leave something there, so more are read. Of the others those come
first that were read longest ago, and of those never read the ones that began first: a flood of strangers who
make sessions gets in line behind them.

The first time that a peer is read in a run, so are its mailboxes of earlier periods.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.mail.pair_reading import PREVIOUS_EVERY, PairReading
from onionshh.client.mail.part_store import Parts
from onionshh.client.mail.reading import NoRoom
from onionshh.core.delivery.record import WHISPER, Record
from onionshh.core.mailbox.pair import FROM_VISITOR
from onionshh.core.session.session import MAIL_PERIODS, Session, SessionId
from onionshh.errors import BadData, Closed, NoDirectory, ProtocolError
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

PAUSE_SECONDS: Final = 3600.0
"""The mean pause between two readings."""
PAUSE_LEAST_SECONDS: Final = 600.0
PAUSE_MOST_SECONDS: Final = 3 * 3600.0
FIRST_SECONDS: Final = 600.0
"""The first reading begins within this time."""
SESSIONS_MOST: Final = 64
OTHERS_MOST: Final = 16
"""Those that are not kept, while the inbox is not crowded. Each takes six circuits."""
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
        self._reading = PairReading(context, FROM_VISITOR, self.bring, parts)
        self._read_at: dict[SessionId, float] = {}
        """When each session was read last in this run: monotonic seconds."""
        self._count = 0

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        chance = self._context.chance
        await trio.sleep(chance.between(0.0, FIRST_SECONDS))
        while True:
            await self.read()
            pause = chance.exponential(PAUSE_SECONDS)
            await trio.sleep(min(max(pause, PAUSE_LEAST_SECONDS), PAUSE_MOST_SECONDS))

    async def read(self) -> None:
        """Read the mailboxes of those whose turn it is. What stands in the way of one keeps no other one
        waiting."""
        self._count += 1
        turns = trio.CapacityLimiter(AT_ONCE)
        chosen = self._context.chance.shuffled(self.sessions())
        async with trio.open_nursery() as nursery:
            for session in chosen:
                nursery.start_soon(self._read_one, session, turns)
        known = {session.session_id for session in self._peers.known()}
        self._read_at = {key: at for key, at in self._read_at.items() if key in known}
        self._reading.forget_others({session.session_id for session in chosen}, 0)

    def sessions(self) -> Sequence[Session]:
        """Those whose turn it is, the kept ones first."""
        known = self._peers.known()
        kept = [session for session in known if session.marks.kept]
        others = [session for session in known if not session.marks.kept]
        others.sort(key=lambda one: (self._read_at.get(one.session_id, 0.0), one.history.started_at))
        return [*kept, *others[: SESSIONS_MOST if self._crowded() else OTHERS_MOST]][:SESSIONS_MOST]

    async def bring(self, session: Session, record: Record) -> None:
        """Take a whisper that was found; a stranger's if the session is over by now. NoRoom, BadData, Closed,
        ProtocolError for anything else than a whisper."""
        if record.kind != WHISPER:
            raise ProtocolError(Reason.PAIR_SHAPE)
        await self._peers.mailed(record, self._peers.session_of(session.session_id))

    async def _read_one(self, session: Session, turns: trio.CapacityLimiter) -> None:
        async with turns:
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
        periods = self._reading.periods(often=self._count % PREVIOUS_EVERY == 0)
        first = session.session_id not in self._read_at
        oldest = max(session.mail.period, periods[0] - MAIL_PERIODS) if first else periods[0]
        reached = True
        for period in range(oldest, periods[-1] + 1):
            reader = self._reading.reader(session, period)
            if reader is not None:
                reached = (await reader.read()).answered > 0 and reached
        if reached or not first:
            self._read_at[session.session_id] = self._context.clock.monotonic()
