"""Reads the pair mailboxes of sessions: what the other side left, each record once (SPEC 14).

A record that was found is brought like one from a circuit. Relays are asked to erase it only once it is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

from onionshh.client.context import Context
from onionshh.client.mail.part_store import Parts
from onionshh.client.mail.reading import MailboxReader
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.pair import (
    open_pair_untrusted,
    pair_key,
    pair_mailbox,
    reads_from,
    unpack_records_untrusted,
)
from onionshh.core.session.session import Session, SessionId
from onionshh.errors import ProtocolError
from onionshh.geometry import SESSION_ID, WHISPER_ID
from onionshh.wire.mailbox import Item, Mailbox

PREVIOUS_EVERY: Final = 6
"""The mailboxes of the period that is over are read with each of so many readings."""
_NAME_BYTES: Final = SESSION_ID + WHISPER_ID


def is_pair_name(name: bytes) -> bool:
    """Whether parts of this name lay in a pair mailbox: a session's id, and that of a letter."""
    return len(name) == _NAME_BYTES


class PairReading:
    """What is read of each session is what the other side writes. `bring`: takes a record of a session, and
    returns once it is kept; NoRoom, BadData, ProtocolError for one of no use. `parts`: where parts wait for
    the others."""

    def __init__(
        self,
        context: Context,
        bring: Callable[[Session, Record], Awaitable[None]],
        parts: Parts,
    ) -> None:
        self._context = context
        self._bring = bring
        self._parts = parts
        self._readers: dict[tuple[SessionId, int], MailboxReader] = {}

    def periods(self, *, often: bool = False) -> tuple[int, ...]:
        """The present period; soon after its start, or if `often`, also the one before: a writer with an
        earlier consensus still writes to it, or one that could not reach a relay. Oldest first.
        NoDirectory."""
        view = self._context.view
        params, valid_after = view.params, view.consensus.valid_after
        begun = valid_after % params.period_seconds < params.valid_seconds + params.interval_seconds
        return (view.period - 1, view.period) if begun or often else (view.period,)

    def reader(self, session: Session, period: int) -> MailboxReader | None:
        """The reader of a session's mailbox. None if the session had none in this period."""
        key = session.session_id, period
        if key not in self._readers:
            mail_key = session.mail.key_of(period)
            if mail_key is None:
                return None
            direction = reads_from(session.introduced)
            mailbox = pair_mailbox(mail_key, direction, period)
            sign = pair_key(mail_key, direction).sign
            self._readers[key] = MailboxReader(
                self._context, mailbox, sign, partial(self._take, session, mail_key, mailbox)
            )
        return self._readers[key]

    def forget_others(self, sessions: Collection[SessionId], oldest: int) -> None:
        """Let go of the readers of other sessions than these, and of periods before `oldest`."""
        for session_id, period in list(self._readers):
            if session_id not in sessions or period < oldest:
                del self._readers[session_id, period]

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
