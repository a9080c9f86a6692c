"""What waits in the mailboxes of sessions (SPEC 14): for a visitor receipts, replies, and what the endpoint
says first; for an endpoint whispers for which its inbox had no room.

Each session has a mailbox in each period that the other side writes to. While something is expected, the
mailboxes are read now and then, after pauses that are drawn, so that relays do not see when it begins. A
record that was found is brought like one from a circuit. Relays are asked to erase it only once it is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.part_store import Parts
from onionshh.client.mail.reading import (
    AGAIN_LEAST_SECONDS,
    AGAIN_MOST_SECONDS,
    MailboxReader,
    NoRoom,
    read_older,
)
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.pair import (
    FROM_VISITOR,
    open_pair_untrusted,
    pair_key,
    pair_mailbox,
    unpack_records_untrusted,
)
from onionshh.core.session.session import MAIL_PERIODS, Session, SessionId
from onionshh.errors import BadData, NoDirectory, ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.mailbox import Item, Mailbox

logger = logging.getLogger("onionshh.client")

PAUSE_SECONDS: Final = 600.0
"""The mean pause between two readings."""
PREVIOUS_EVERY: Final = 6
"""The mailboxes of the period that is over are read with each of so many readings."""
PAUSE_LEAST_SECONDS: Final = 30.0
PAUSE_MOST_SECONDS: Final = 3600.0
OLDER_SECONDS: Final = 600.0
"""How long the readings of earlier periods are spread over, at the start."""


class WaitingMail:
    """`sessions`: those whose mailboxes are read. `direction`: who writes there. `bring`: takes a record of a
    session, and returns once it is kept; NoRoom, BadData, ProtocolError for one of no use. `expects`: whether
    anything may wait for us. `pause_seconds`: the mean pause, `PAUSE_SECONDS` without it."""

    def __init__(
        self,
        context: Context,
        sessions: Callable[[], Sequence[Session]],
        direction: int,
        bring: Callable[[Session, Record], Awaitable[None]],
        expects: Callable[[], bool],
        parts: Parts,
        *,
        pause_seconds: float | None = None,
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._direction = direction
        self._bring = bring
        self._expects = expects
        self._parts = parts
        self._pause_seconds = pause_seconds
        self._readers: dict[tuple[SessionId, int], MailboxReader] = {}
        self._count = 0

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_older)
            while True:
                pause = self._context.chance.exponential(self._pause_seconds or PAUSE_SECONDS)
                await trio.sleep(min(max(pause, PAUSE_LEAST_SECONDS), PAUSE_MOST_SECONDS))
                if self._expects():
                    await self._guarded(self.read)

    async def read(self) -> None:
        """Read all mailboxes that the other side may write to now. What cannot be kept of one session keeps
        no other one waiting: NoRoom or BadData is raised at the end."""
        self._count += 1
        now = self._periods(often=self._count % PREVIOUS_EVERY == 0)
        failure: NoRoom | BadData | None = None
        for session in self._sessions():
            try:
                await self._read_one(session, now)
            except (NoRoom, BadData) as error:
                failure = error
        if failure is not None:
            raise failure
        known = {session.session_id for session in self._sessions()}
        for session_id, period in list(self._readers):
            if session_id not in known or period < now[0] - MAIL_PERIODS:
                del self._readers[session_id, period]

    async def _read_one(self, session: Session, periods: Sequence[int]) -> None:
        for period in periods:
            reader = self._reader(session, period)
            if reader is not None:
                await reader.read()

    async def _read_older(self) -> None:
        """The mailboxes of periods that were over before this run, until all that lay there is taken. An
        endpoint was away until now, so it reads that of the present one too."""
        while not await self._guarded(self._once_older):
            await trio.sleep(self._context.chance.between(AGAIN_LEAST_SECONDS, AGAIN_MOST_SECONDS))

    async def _once_older(self) -> None:
        first = self._periods()[0]
        last = self._context.view.period if self._direction == FROM_VISITOR else first - 1
        readers = [
            self._reader(session, period)
            for session in self._sessions()
            for period in range(last, max(session.mail.period, first - MAIL_PERIODS) - 1, -1)
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

    def _periods(self, *, often: bool = False) -> tuple[int, ...]:
        """The present period; soon after its start, or if `often`, also the one before: a writer with an
        earlier consensus still writes to it, or one that could not reach a relay. Oldest first.
        NoDirectory."""
        view = self._context.view
        params, valid_after = view.params, view.consensus.valid_after
        begun = valid_after % params.period_seconds < params.valid_seconds + params.interval_seconds
        return (view.period - 1, view.period) if begun or often else (view.period,)

    def _reader(self, session: Session, period: int) -> MailboxReader | None:
        """The reader of a session's mailbox. None if the session had none in this period."""
        key = session.session_id, period
        if key not in self._readers:
            mail_key = session.mail.key_of(period)
            if mail_key is None:
                return None
            mailbox = pair_mailbox(mail_key, self._direction, period)
            sign = pair_key(mail_key, self._direction).sign
            self._readers[key] = MailboxReader(
                self._context, mailbox, sign, partial(self._take, session, mail_key, mailbox)
            )
        return self._readers[key]

    async def _take(self, session: Session, mail_key: bytes, mailbox: Mailbox, item: Item) -> None:
        """One item of a session's mailbox. It is kept when this returns, or it is of no use. BadData."""
        try:
            part = open_pair_untrusted(mail_key, mailbox, item.item_id, item.value)
            name = session.session_id + part.letter_id
            whole = await self._parts.add(name, part.part, part.parts, part.chunk, item.expires)
        except ProtocolError as error:
            self._context.drops.count(error.reason)
            return
        if whole is not None:
            await self._bring_all(session, whole)
            await self._parts.done(name)

    async def _bring_all(self, session: Session, packed: bytes) -> None:
        try:
            for encoded in unpack_records_untrusted(packed):
                await self._bring(session, Record.decode_untrusted(encoded))
        except ProtocolError as error:  # only the other side can have written this, and it never does
            self._context.drops.count(error.reason)
