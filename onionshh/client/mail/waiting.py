"""What waits for a visitor in the mailboxes of its sessions: receipts, replies, and what the endpoint says
first (SPEC 14).

Each session has a mailbox in each period that the endpoint writes to. While the contact expects something,
the mailboxes are read now and then, after pauses that are drawn, so that relays do not see when it begins.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.pair_reading import PREVIOUS_EVERY, PairReading
from onionshh.client.mail.part_store import Parts
from onionshh.client.mail.reading import AGAIN_LEAST_SECONDS, AGAIN_MOST_SECONDS, NoRoom, read_older
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import MAIL_PERIODS, Session
from onionshh.errors import BadData, NoDirectory
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

PAUSE_SECONDS: Final = 600.0
"""The mean pause between two readings."""
PAUSE_LEAST_SECONDS: Final = 30.0
PAUSE_MOST_SECONDS: Final = 3600.0
FIRST_SECONDS: Final = (5.0, 30.0)
"""The first reading of a run comes sooner: somebody may wait for what came meanwhile."""
OLDER_SECONDS: Final = 600.0
"""How long the readings of earlier periods are spread over, at the start."""


class WaitingMail:
    """`sessions`: those whose mailboxes are read. `bring`: takes a record of a session, and returns once it
    is kept; NoRoom, BadData, ProtocolError for one of no use. `expects`: whether anything may wait for us."""

    def __init__(
        self,
        context: Context,
        sessions: VisitorSessions,
        bring: Callable[[Session, Record], Awaitable[None]],
        expects: Callable[[], bool],
        parts: Parts,
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._expects = expects
        self._reading = PairReading(context, bring, parts)
        self._count = 0

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_older)
            pause = self._context.chance.between(*FIRST_SECONDS)
            while True:
                await trio.sleep(pause)
                if self._expects():
                    await self._guarded(self.read)
                pause = self._context.chance.exponential(PAUSE_SECONDS)
                pause = min(max(pause, PAUSE_LEAST_SECONDS), PAUSE_MOST_SECONDS)

    async def read(self) -> None:
        """Read all mailboxes that the endpoint may write to now. What cannot be kept of one session keeps no
        other one waiting: NoRoom or BadData is raised at the end."""
        self._count += 1
        now = self._reading.periods(often=self._count % PREVIOUS_EVERY == 0)
        failure: NoRoom | BadData | None = None
        for session in self._sessions.with_mail:
            try:
                await self._read_one(session, now)
            except (NoRoom, BadData) as error:
                failure = error
        known = {session.session_id for session in self._sessions.with_mail}
        self._reading.forget_others(known, now[0] - MAIL_PERIODS)
        if failure is not None:
            raise failure

    async def _read_one(self, session: Session, periods: Sequence[int]) -> None:
        for period in periods:
            reader = self._reading.reader(session, period)
            if reader is not None:
                await reader.read()

    async def _read_older(self) -> None:
        """The mailboxes of periods that were over before this run, until all that lay there is taken."""
        while not await self._guarded(self._once_older):
            await trio.sleep(self._context.chance.between(AGAIN_LEAST_SECONDS, AGAIN_MOST_SECONDS))

    async def _once_older(self) -> None:
        first = self._reading.periods()[0]
        readers = [
            self._reading.reader(session, period)
            for session in self._sessions.with_mail
            for period in range(first - 1, max(session.mail.period, first - MAIL_PERIODS) - 1, -1)
        ]
        found = [reader for reader in readers if reader is not None]
        if found:
            await read_older(self._context, found, OLDER_SECONDS)

    async def _guarded(self, read: Callable[[], Awaitable[None]]) -> bool:
        """Returns whether nothing stood in the way."""
        try:
            await read()
        except BadData as error:
            logger.error("what lies in a mailbox could not be kept: %s", error)
        except NoRoom:
            self._context.drops.count(Reason.LETTER_WAITS)
        except NoDirectory:
            pass  # without a list of relays nothing can be asked
        else:
            return True
        return False
