"""The mail of one contact: letters to the endpoint, and what the endpoint left for the contact (SPEC 14).

Letters go into the endpoint's inbox. Any stranger may fill that, or make it dear. Then a letter of somebody
whom the endpoint knows goes into the pair mailbox of their session, whose name nobody else has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from onionshh.client.context import Context
from onionshh.client.mail.deposits import Deposits, DepositsInMemory, SealedItem
from onionshh.client.mail.leaving import Leaving, NotStored, Told
from onionshh.client.mail.letters import Letters
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.client.mail.part_store import Parts, PartsInMemory, keep_tidy
from onionshh.client.mail.seed_store import Seeds, SeedsInMemory
from onionshh.client.mail.waiting import WaitingMail
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.steps import steps
from onionshh.core.delivery.record import Record
from onionshh.core.mailbox.pair import FROM_ENDPOINT, FROM_VISITOR
from onionshh.core.session.session import Session
from onionshh.ids import WhisperId
from onionshh.wire.mailbox import INBOX

if TYPE_CHECKING:
    from onionshh.client.contact_folder import ContactFolder


class ContactMail:
    """The `Mail` of a contact's Sender. `load` it, `run` it. `folder`: that of a named contact, else None.
    `bring` and `expects`: as in `WaitingMail`."""

    def __init__(
        self,
        context: Context,
        address_key: bytes,
        sessions: VisitorSessions,
        folder: ContactFolder | None,
        told: Told,
        *,
        bring: Callable[[Session, Record], Awaitable[None]],
        expects: Callable[[], bool],
    ) -> None:
        self._context = context
        self._sessions = sessions
        self._told = told
        self._beside: set[WhisperId] = set()
        """Letters that the inbox did not take, and that the pair mailbox may."""
        seeds: Seeds = SeedsInMemory() if folder is None else folder.seeds
        self._letters = Letters(context, address_key, sessions, seeds)
        deposits: Deposits = DepositsInMemory() if folder is None else folder.deposits
        self._leaving = Leaving(context, deposits, self)
        self._parts: Parts = PartsInMemory(context) if folder is None else folder.mail_parts
        self._waiting = WaitingMail(
            context, lambda: sessions.with_mail, FROM_ENDPOINT, bring, expects, self._parts
        )

    async def load(self) -> None:
        """Take up what was left in an earlier run. BadData."""
        await self._parts.load()
        await self._letters.load()
        await self._leaving.restore()

    async def run(self) -> None:
        """Leave letters and read mail, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._waiting.run)
            nursery.start_soon(keep_tidy, self._parts)
            await self._leaving.run()

    def answered(self) -> None:
        """The endpoint has shown that it has a session."""
        self._letters.answered()

    @property
    def receipts(self) -> bool:
        """As `Mail.receipts`."""
        return self._letters.receipts

    async def leave(self, record: Record) -> None:
        """As `Mail.leave`."""
        if not self.has(record.whisper_id):
            items = self._for_pair(record) or await self._letters.seal(record)
            await self._leaving.leave(record.whisper_id, items, record.expires)

    async def recall(self, whisper: WhisperId) -> bool:
        """As `Mail.recall`."""
        self._beside.discard(whisper)
        return await self._leaving.recall(whisper)

    def has(self, whisper: WhisperId) -> bool:
        """As `Mail.has`."""
        return self._leaving.is_left(whisper)

    def _for_pair(self, record: Record) -> list[SealedItem]:
        """Its parts for the pair mailbox, if the inbox did not take it. NotLeft."""
        session = self._session
        if record.whisper_id not in self._beside or session is None:
            return []
        self._beside.discard(record.whisper_id)
        return seal_for_pair(
            self._context, session, FROM_VISITOR, record.whisper_id, [record], record.expires
        )

    @property
    def _session(self) -> Session | None:
        """The session that the endpoint has shown to have. It has a mailbox now."""
        session, view = self._sessions.current, self._context.keeper.view
        if session is None or view is None or not session.marks.confirmed:
            return None
        return session if session.mail.key_of(view.period) is not None else None

    # As `Told`.

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """As `Told.proving`."""
        self._told.proving(letter, seconds, tries)

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """As `Told.stored`."""
        self._told.stored(letter, copies, enough)

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        """As `Told.not_stored`. Where there is a pair mailbox, it is tried before anybody is told."""
        elsewhere = why is not NotStored.REFUSED and self._session is not None
        if elsewhere and self._leaving.waits_for(letter, INBOX):
            steps.debug("the inbox is full or too dear; we leave it in the mailbox of our session")
            self._leaving.forget(letter)
            self._beside.add(letter)
            self.lapsed(letter)
        else:
            self._told.not_stored(letter, why)

    def lapsed(self, letter: WhisperId) -> None:
        """As `Told.lapsed`."""
        self._told.lapsed(letter)
